package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// contestant is one way to carry bytes between two processes.
type contestant interface {
	// listen opens a free port of host.
	listen(host string) (net.Listener, error)

	// open returns what dials host. Where connections share a port on the
	// dialling side, too, that is one port.
	open(host string) (dialer, error)
}

// dialer opens connections.
type dialer interface {
	dial(ctx context.Context, address string) (net.Conn, error)
	Close() error
}

// contestantNames are all contestants, in the order of the tables.
var contestantNames = []string{"utp", "tcp", "raw", "quic", "kcp"}

// newContestant returns the one that s names, as it says.
func newContestant(s *spec) (contestant, error) {
	b := buffers{s.RcvBuf, s.SndBuf}
	switch s.Contestant {
	case "utp":
		return utpContestant{b}, nil
	case "tcp":
		return tcpContestant{}, nil
	case "raw":
		return rawContestant{b, s.NoOffload}, nil
	case "quic":
		return quicContestant{b}, nil
	case "kcp":
		return kcpContestant{b}, nil
	}
	return nil, fmt.Errorf("there is no contestant %q", s.Contestant)
}

// datagram is the largest datagram on the path to a host, in bytes of UDP
// payload: what fills a packet of 1500 bytes.
func datagram(host string) int {
	if isIPv6(host) {
		return 1452
	}
	return 1472
}

func isIPv6(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Is6() && !ip.Is4In6()
}

// openUDP opens a UDP port: a free one at host, or, for dialling it, at all
// addresses of its family.
func openUDP(host string, toDial bool) (*net.UDPConn, error) {
	network := "udp4"
	if isIPv6(host) {
		network = "udp6"
	}
	if toDial {
		host = ""
	}
	address, err := net.ResolveUDPAddr(network, net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	return net.ListenUDP(network, address)
}
