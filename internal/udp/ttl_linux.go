package udp

import "syscall"

const (
	ipv4TTL      = syscall.IP_TTL
	ipv6HopLimit = syscall.IPV6_HOPLIMIT
)
