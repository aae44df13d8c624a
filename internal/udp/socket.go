package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// socket is the port over a *net.UDPConn.
type socket struct {
	conn  *net.UDPConn
	raw   syscall.RawConn
	v6    bool       // AF_INET6, perhaps for IPv4 peers as well
	bound netip.Addr // zero: a wildcard
	stats *counters

	sender sender

	// control is where the reader gets control messages: of no length if none
	// were asked for.
	control []byte
}

func newSocket(conn *net.UDPConn, stats *counters) (*socket, error) {
	if conn == nil {
		return nil, errors.New("the *net.UDPConn is nil")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	if err := raw.Control(func(uintptr) {}); err != nil {
		return nil, err
	}
	if peer := conn.RemoteAddr(); peer != nil {
		return nil, fmt.Errorf("the socket is connected, to %v", peer)
	}
	s := &socket{
		conn:  conn,
		raw:   raw,
		bound: boundAddr(conn.LocalAddr()),
		stats: stats,
	}
	// Package net keeps the address in the length of the socket's family.
	if local, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		s.v6 = len(local.IP) == net.IPv6len
	}
	// A socket that is bound to one address needs not be told which it was.
	info := !s.bound.IsValid() && requestPacketInfo(raw, s.v6)
	if runs := requestRuns(raw); runs || info {
		s.control = make([]byte, controlSize)
	}
	s.sender.init(s)
	return s, nil
}

func (s *socket) read(d []Datagram) (int, error) {
	slot := &d[0]
	buf := slot.buffer()
	if len(s.control) == 0 {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return 0, err
		}
		slot.fill(buf[:n], unmap(from), s.bound)
		return 1, nil
	}
	n, controlLen, _, from, err := s.conn.ReadMsgUDPAddrPort(buf, s.control)
	if err != nil {
		return 0, err
	}
	local := s.bound
	if !local.IsValid() {
		local = packetInfo(s.control[:controlLen])
	}
	slot.fill(buf[:n], unmap(from), local)
	if size := segmentSize(s.control[:controlLen]); size > 0 && size < n {
		slot.Segment = size
	}
	return 1, nil
}
