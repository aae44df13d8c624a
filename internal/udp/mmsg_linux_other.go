//go:build linux && !386 && !amd64

package udp

import "syscall"

// sysSendmmsg is in package syscall here.
const sysSendmmsg = syscall.SYS_SENDMMSG
