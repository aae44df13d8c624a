package udp

import "syscall"

// For IPv4 it is struct in_pktinfo {interface, spec_dst, dst}, both ways. With a
// datagram received spec_dst is the same as dst, but for a broadcast, where it
// is the address of ours to answer from.
const (
	ipv4RecvPktinfo = syscall.IP_PKTINFO
	ipv4Pktinfo     = syscall.IP_PKTINFO
	ipv4PktinfoSize = 12
	ipv4PktinfoDst  = 4
	ipv4PktinfoSrc  = 4

	ipv6RecvPktinfo = syscall.IPV6_RECVPKTINFO
	ipv6Pktinfo     = syscall.IPV6_PKTINFO

	ipv6CoversIPv4 = true
	ipv4OnIPv6     = true
)
