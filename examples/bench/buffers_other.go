//go:build !linux

package main

import (
	"errors"
	"net"
)

// readBuffers returns the buffers that a socket has, as they would be set.
func readBuffers(*net.UDPConn) (buffers, error) {
	return buffers{}, errors.New("-rcvbuf and -sndbuf are for Linux: elsewhere it is not known what becomes of them")
}
