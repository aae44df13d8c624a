//go:build linux && !386 && !amd64

package udp

import "syscall"

const sysSendmmsg = syscall.SYS_SENDMMSG
