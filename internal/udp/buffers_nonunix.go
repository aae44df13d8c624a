//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package udp

import "syscall"

func bufferSizes(syscall.RawConn) (recv, send int) { return 0, 0 }
