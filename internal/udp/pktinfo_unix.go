//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package udp

import (
	"net/netip"
	"syscall"
)

// Packet info is the address of ours in a control message: with a datagram that
// was received, the one it was sent to; with one to send, the one it leaves
// from. RFC 3542, Section 6, has it for IPv6, as struct in6_pktinfo {address,
// interface}. For IPv4 each system has its own: the files beside this one, which
// also say what is known of IPv4 on an AF_INET6 socket: whether datagrams surely
// come with in6_pktinfo, the address IPv4-mapped (ipv6CoversIPv4), and whether
// those to send may have IPv4's packet info (ipv4OnIPv6).
const (
	in6PktinfoSize = 20

	// controlSize has room for the packet info of both families, which is what
	// some systems deliver on a socket that is of both, and for what else is asked
	// for or sent, which is two numbers at most.
	controlSize = 128
)

// requestPacketInfo asks for packet info with every datagram received, and
// reports whether there may be any. Where IPv6's does not surely cover IPv4, a
// socket that may be of both families is asked for both, and may refuse one.
func requestPacketInfo(raw syscall.RawConn, v6 bool) bool {
	ok := false
	_ = raw.Control(func(fd uintptr) {
		if v6 {
			ok = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, ipv6RecvPktinfo, 1) == nil
		}
		if !v6 || !ipv6CoversIPv4 {
			ok = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipv4RecvPktinfo, 1) == nil || ok
		}
	})
	return ok
}

// packetInfo returns the address that a datagram was sent to, and the zero Addr
// if its control messages do not say.
func packetInfo(control []byte) netip.Addr {
	for {
		m, rest, ok := nextControl(control)
		switch {
		case !ok:
			return netip.Addr{}
		case m.level == syscall.IPPROTO_IPV6 && m.kind == ipv6Pktinfo && len(m.data) >= in6PktinfoSize:
			return netip.AddrFrom16([16]byte(m.data[:16])).Unmap()
		case m.level == syscall.IPPROTO_IP && m.kind == ipv4Pktinfo && len(m.data) >= ipv4PktinfoSize:
			return netip.AddrFrom4([4]byte(m.data[ipv4PktinfoDst:]))
		}
		control = rest
	}
}

// appendSource appends the control message that makes a datagram leave from
// local, on a socket that is AF_INET6 or not. Its kind goes by the address, not
// by the socket. The interface is left open: the peer's zone decides, or the
// routing table.
func appendSource(b []byte, local netip.Addr, v6 bool) []byte {
	if local.Is4() {
		if v6 && !ipv4OnIPv6 {
			return b
		}
		b, data := appendControl(b, syscall.IPPROTO_IP, ipv4Pktinfo, ipv4PktinfoSize)
		ip := local.As4()
		copy(data[ipv4PktinfoSrc:], ip[:])
		return b
	}
	b, data := appendControl(b, syscall.IPPROTO_IPV6, ipv6Pktinfo, in6PktinfoSize)
	ip := local.As16()
	copy(data, ip[:])
	return b
}
