//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package udp

import "syscall"

func bufferSizes(raw syscall.RawConn) (recv, send int) {
	_ = raw.Control(func(fd uintptr) {
		recv = bufferSize(int(fd), syscall.SO_RCVBUF)
		send = bufferSize(int(fd), syscall.SO_SNDBUF)
	})
	return recv, send
}

// bufferSize returns 0 if the size is not known.
func bufferSize(fd, option int) int {
	size, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, option)
	if err != nil {
		return 0
	}
	return size
}
