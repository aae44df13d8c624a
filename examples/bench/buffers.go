package main

import (
	"cmp"
	"fmt"
	"net"
)

// buffers are the sizes of the buffers that UDP sockets are to have, in bytes as
// the options SO_RCVBUF and SO_SNDBUF take them. Zero: what the contestant asks
// for by itself.
//
// They are set when a contestant has set its own: that is the same for all, and
// what they get by force (SO_RCVBUFFORCE, as root) is gone. Linux reports twice
// the size, needs the rest for itself, and has net.core.rmem_max and wmem_max for
// the largest that may be asked for: 212,992 bytes where nobody has changed it.
type buffers struct{ recv, send int }

// bufferSetter is a socket, or what has one.
type bufferSetter interface {
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

// enough is the size of the socket buffers of raw and kcp, in bytes: what this
// library and quic-go ask for by themselves. The system caps it.
const enough = 7 << 20

// apply sets the buffers of a socket.
func (b buffers) apply(socket bufferSetter) error {
	if b.recv > 0 {
		if err := socket.SetReadBuffer(b.recv); err != nil {
			return err
		}
	}
	if b.send > 0 {
		return socket.SetWriteBuffer(b.send)
	}
	return nil
}

// enlarge asks for large buffers, for those contestants that leave that to their
// users, or sets those that are to be. Less than enough is no failure.
func (b buffers) enlarge(socket bufferSetter) error {
	_ = socket.SetReadBuffer(cmp.Or(b.recv, enough))
	_ = socket.SetWriteBuffer(cmp.Or(b.send, enough))
	return b.apply(socket)
}

// check returns an error if the system does not allow the buffers: it caps them
// without a word.
func (b buffers) check() error {
	if b == (buffers{}) {
		return nil
	}
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer socket.Close()
	if err := b.apply(socket); err != nil {
		return err
	}
	got, err := readBuffers(socket)
	if err != nil {
		return err
	}
	if b.recv > 0 && got.recv != b.recv {
		return fmt.Errorf("a receive buffer (-rcvbuf) of %d bytes becomes one of %d here; on Linux net.core.rmem_max limits it", b.recv, got.recv)
	}
	if b.send > 0 && got.send != b.send {
		return fmt.Errorf("a send buffer (-sndbuf) of %d bytes becomes one of %d here; on Linux net.core.wmem_max limits it", b.send, got.send)
	}
	return nil
}
