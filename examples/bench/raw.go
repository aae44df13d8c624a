package main

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// rawContestant is UDP without any protocol: what is lost is lost, and the
// sender does not know. It shows what the system can do at best. On Linux it
// sends runs of datagrams with one call (UDP_SEGMENT) and receives them as such
// (UDP_GRO).
type rawContestant struct {
	buffers   buffers
	noOffload bool // as elsewhere
}

// runLength is the number of full datagrams in a run: what fits in 64 KB.
const runLength = 44

func (c rawContestant) listen(host string) (net.Listener, error) {
	socket, err := openUDP(host, false)
	if err != nil {
		return nil, err
	}
	run, err := c.prepare(socket, host)
	if err != nil {
		return nil, err
	}
	return &rawListener{socket: socket, run: run, closed: make(chan struct{})}, nil
}

func (c rawContestant) open(host string) (dialer, error) { return rawDialer{host, c}, nil }

// prepare sets the options of a socket. It returns how many bytes can be sent at
// once.
func (c rawContestant) prepare(socket *net.UDPConn, host string) (run int, err error) {
	run = datagram(host)
	if err = c.buffers.enlarge(socket); err == nil && !c.noOffload {
		run, err = offload(socket, run)
	}
	if err != nil {
		_ = socket.Close()
	}
	return run, err
}

type rawDialer struct {
	host string
	rawContestant
}

func (d rawDialer) dial(_ context.Context, address string) (net.Conn, error) {
	server, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	socket, err := openUDP(d.host, true)
	if err != nil {
		return nil, err
	}
	run, err := d.prepare(socket, d.host)
	if err != nil {
		return nil, err
	}
	// One byte tells the server who we are.
	if _, err := socket.WriteToUDPAddrPort(make([]byte, 1), server); err != nil {
		_ = socket.Close()
		return nil, err
	}
	return &rawConn{UDPConn: socket, peer: server, run: run}, nil
}

func (rawDialer) Close() error { return nil }

// rawListener has one connection, as there is nothing to tell several apart.
type rawListener struct {
	socket *net.UDPConn
	run    int

	accept    sync.Mutex // held for good once a connection was accepted
	closeOnce sync.Once
	closed    chan struct{}
}

// Accept implements net.Listener.
func (l *rawListener) Accept() (net.Conn, error) {
	if !l.accept.TryLock() {
		<-l.closed
		return nil, net.ErrClosed
	}
	_, peer, err := l.socket.ReadFromUDPAddrPort(make([]byte, 1))
	if err != nil {
		return nil, err
	}
	return &rawConn{UDPConn: l.socket, peer: peer, run: l.run}, nil
}

// Close implements net.Listener.
func (l *rawListener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return l.socket.Close()
}

// Addr implements net.Listener.
func (l *rawListener) Addr() net.Addr { return l.socket.LocalAddr() }

// rawConn sends to one peer and receives from anyone.
type rawConn struct {
	*net.UDPConn
	peer netip.AddrPort
	run  int
}

// Write implements net.Conn.
func (c *rawConn) Write(b []byte) (n int, err error) {
	for len(b) > n && err == nil {
		var m int
		m, err = c.WriteToUDPAddrPort(b[n:min(len(b), n+c.run)], c.peer)
		n += m
	}
	return n, err
}
