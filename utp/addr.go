package utp

import (
	"net"
	"net/netip"
)

// Addr is the address of one end of a connection: an IP address and a UDP port.
// It implements [net.Addr] and is never changed.
type Addr struct{ ap netip.AddrPort }

// NewAddr returns the address ap, with an IPv4-mapped IPv6 address as IPv4.
func NewAddr(ap netip.AddrPort) *Addr {
	return &Addr{netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}
}

// Network returns "utp".
func (a *Addr) Network() string { return network }

// String returns host:port, with the host in brackets if it is IPv6: what
// [net.SplitHostPort] and [netip.ParseAddrPort] take.
func (a *Addr) String() string { return a.ap.String() }

// AddrPort returns the address as a value. The zone of a link-local IPv6
// address is kept.
func (a *Addr) AddrPort() netip.AddrPort { return a.ap }

// UDPAddr returns the address for use with package net.
func (a *Addr) UDPAddr() *net.UDPAddr { return net.UDPAddrFromAddrPort(a.ap) }
