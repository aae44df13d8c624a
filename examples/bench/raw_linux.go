package main

import (
	"net"
	"os"
	"syscall"
)

// Of linux/udp.h; package syscall has them not.
const (
	solUDP     = 17
	udpSegment = 103
	udpGRO     = 104
)

// offload has the system cut what is sent into datagrams of size bytes, and join
// what is received. It returns how many bytes can be sent at once.
func offload(socket *net.UDPConn, size int) (run int, err error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		if optErr = syscall.SetsockoptInt(int(fd), solUDP, udpSegment, size); optErr == nil {
			optErr = syscall.SetsockoptInt(int(fd), solUDP, udpGRO, 1)
		}
	})
	if err == nil && optErr != nil {
		err = os.NewSyscallError("setsockopt", optErr)
	}
	return runLength * size, err
}
