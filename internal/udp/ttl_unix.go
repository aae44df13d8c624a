//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package udp

import (
	"encoding/binary"
	"syscall"
)

// appendTTL appends the control message with a datagram's TTL. Its kind goes by
// the peer's family, not by the socket's: on an AF_INET6 socket too, an IPv4
// datagram takes no notice of IPv6's. Where IPv4 has none, it appends nothing.
func appendTTL(b []byte, ttl uint8, ip4 bool) []byte {
	level, kind := syscall.IPPROTO_IPV6, ipv6HopLimit
	if ip4 {
		if level, kind = syscall.IPPROTO_IP, ipv4TTL; kind == 0 {
			return b
		}
	}
	b, data := appendControl(b, level, kind, 4)
	binary.NativeEndian.PutUint32(data, uint32(ttl))
	return b
}
