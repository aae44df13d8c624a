//go:build dragonfly || freebsd || netbsd || openbsd

package udp

import "syscall"

// For IPv4 it is a bare address, IP_RECVDSTADDR with a datagram received and
// IP_SENDSRCADDR with one to send, which is the same number.
const (
	ipv4RecvPktinfo = syscall.IP_RECVDSTADDR
	ipv4Pktinfo     = syscall.IP_RECVDSTADDR
	ipv4PktinfoSize = 4
	ipv4PktinfoDst  = 0
	ipv4PktinfoSrc  = 0

	ipv6RecvPktinfo = syscall.IPV6_RECVPKTINFO
	ipv6Pktinfo     = syscall.IPV6_PKTINFO

	// IP_SENDSRCADDR is documented for AF_INET sockets. Elsewhere a refusal
	// would cost every answer, and an answer from the wrong address only some.
	ipv6CoversIPv4 = false
	ipv4OnIPv6     = false
)
