package udp

import "syscall"

// For IPv4 it is struct in_pktinfo {interface, spec_dst, dst}: the address is dst
// with a datagram received, spec_dst with one to send. For IPv6 package syscall
// has only the options of RFC 2292; those of RFC 3542 are in netinet6/in6.h.
const (
	ipv4RecvPktinfo = syscall.IP_RECVPKTINFO
	ipv4Pktinfo     = syscall.IP_PKTINFO
	ipv4PktinfoSize = 12
	ipv4PktinfoDst  = 8
	ipv4PktinfoSrc  = 4

	ipv6RecvPktinfo = 61
	ipv6Pktinfo     = 46

	ipv6CoversIPv4 = false
	ipv4OnIPv6     = true
)
