//go:build !linux

package udp

import "net/netip"

// errorQueue is not there: nobody says which datagram an ICMP message was about.
type errorQueue struct{}

func (*errorQueue) request(bool, func(netip.AddrPort, []byte)) {}
func (*errorQueue) mark()                                      {}
