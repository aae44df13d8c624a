//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package udp

// For IPv6 it is RFC 3542's; all have it from KAME, by this number. For IPv4
// there is an option of the socket only, which would be everybody's.
const (
	ipv4TTL      = 0
	ipv6HopLimit = 47
)
