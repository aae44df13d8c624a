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

	receiver receiver
	overflow overflow
	errors   errorQueue
	sender   sender

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
	s.enlargeBuffers()
	// A socket that is bound to one address needs not be told which it was.
	info := !s.bound.IsValid() && requestPacketInfo(raw, s.v6)
	runs := requestRuns(raw)
	if overflows := s.overflow.request(raw); info || runs || overflows {
		s.control = make([]byte, controlSize)
	}
	s.receiver.init(s)
	s.sender.init(s)
	return s, nil
}

// readOne reads by package net.
func (s *socket) readOne(d []Datagram) (int, error) {
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
	s.fill(slot, buf[:n], unmap(from), s.control[:controlLen])
	return 1, nil
}

// fill fills in a slot with what came with control messages.
func (s *socket) fill(slot *Datagram, data []byte, remote netip.AddrPort, control []byte) {
	local := s.bound
	if !local.IsValid() {
		local = packetInfo(control)
	}
	slot.fill(data, remote, local)
	if size := segmentSize(control); size > 0 && size < len(data) {
		slot.Segment = size
	}
	if n := s.overflow.news(control); n > 0 {
		s.stats.overflows.Add(n)
	}
}
