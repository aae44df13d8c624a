package udp

import (
	"net"
	"net/netip"
)

// unmap returns a with an IPv4-mapped IPv6 address turned into IPv4.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// addrPort converts an address of whatever kind, and reports whether it has an
// IP address and a port at all. A *net.UDPAddr is one with a method.
func addrPort(a net.Addr) (netip.AddrPort, bool) {
	if a == nil {
		return netip.AddrPort{}, false
	}
	var ap netip.AddrPort
	if m, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		ap = m.AddrPort()
	} else {
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return unmap(ap), ap.IsValid()
}

// boundAddr returns the one address that a port bound to a receives at, and the
// zero Addr if there may be several.
func boundAddr(a net.Addr) netip.Addr {
	ap, ok := addrPort(a)
	if !ok || ap.Addr().IsUnspecified() || ap.Addr().IsMulticast() {
		return netip.Addr{}
	}
	return ap.Addr()
}
