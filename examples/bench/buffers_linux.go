package main

import (
	"net"
	"os"
	"syscall"
)

// readBuffers returns the buffers that a socket has, as they would be set.
func readBuffers(socket *net.UDPConn) (b buffers, err error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return b, err
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		if b.recv, optErr = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF); optErr == nil {
			b.send, optErr = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
		}
	})
	if err == nil && optErr != nil {
		err = os.NewSyscallError("getsockopt", optErr)
	}
	b.recv /= 2 // of which the kernel tells the double
	b.send /= 2
	return b, err
}
