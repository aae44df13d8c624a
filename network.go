package utppunch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// family is which IP versions a network name allows.
type family uint8

const (
	anyFamily family = iota
	ipv4Only
	ipv6Only
)

// parseNetwork takes "utp", "utp4" and "utp6", and the same endings after "tcp"
// and "udp": net/http and others always ask for "tcp".
func parseNetwork(network string) (family, error) {
	switch network {
	case "utp", "tcp", "udp":
		return anyFamily, nil
	case "utp4", "tcp4", "udp4":
		return ipv4Only, nil
	case "utp6", "tcp6", "udp6":
		return ipv6Only, nil
	default:
		return 0, net.UnknownNetworkError(network)
	}
}

// udpNetwork is the name for package net.
func (f family) udpNetwork() string { return [...]string{"udp", "udp4", "udp6"}[f] }

// ipNetwork is the name for a resolver.
func (f family) ipNetwork() string { return [...]string{"ip", "ip4", "ip6"}[f] }

func (f family) allows(a netip.Addr) bool {
	switch f {
	case ipv4Only:
		return a.Is4()
	case ipv6Only:
		return a.Is6()
	default:
		return true
	}
}

// both narrows one family by another; it reports false if they exclude each
// other.
func (f family) both(g family) (family, bool) {
	switch {
	case f == anyFamily:
		return g, true
	case g == anyFamily || f == g:
		return f, true
	default:
		return 0, false
	}
}

var errNoPort = errors.New("port 0 cannot be dialled")

// splitHostPort splits an address and looks the port up.
func splitHostPort(ctx context.Context, address string) (host string, port uint16, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.Atoi(service)
	if err != nil {
		if n, err = net.DefaultResolver.LookupPort(ctx, "udp", service); err != nil {
			return "", 0, err
		}
	}
	if n < 0 || n > 65535 {
		return "", 0, &net.AddrError{Err: fmt.Sprintf("port %d is not in 0 to 65535", n), Addr: address}
	}
	return host, uint16(n), nil
}

// resolve returns the addresses of a host that the family allows, in the order in
// which they are to be tried. An empty or unspecified host is this one.
func resolve(ctx context.Context, f family, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		if a.IsUnspecified() {
			return loopback(f, a.Is4()), nil
		}
		if !f.allows(a) {
			return nil, &net.AddrError{Err: "no suitable address found", Addr: host}
		}
		return []netip.Addr{a}, nil
	}
	if host == "" {
		return loopback(f, true), nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, f.ipNetwork(), host)
	if err != nil {
		return nil, err
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return interleave(found), nil
}

// loopback is what dialling the unspecified address means.
func loopback(f family, v4First bool) []netip.Addr {
	v4, v6 := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	switch {
	case f == ipv4Only:
		return []netip.Addr{v4}
	case f == ipv6Only:
		return []netip.Addr{v6}
	case v4First:
		return []netip.Addr{v4, v6}
	default:
		return []netip.Addr{v6, v4}
	}
}

// interleave alternates the families, beginning with that of the first address,
// which the resolver prefers (RFC 8305, section 4).
func interleave(addrs []netip.Addr) []netip.Addr {
	if len(addrs) == 0 {
		return nil
	}
	var first, second []netip.Addr
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	mixed := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			mixed = append(mixed, first[i])
		}
		if i < len(second) {
			mixed = append(mixed, second[i])
		}
	}
	return mixed
}

// opError wraps err as the packages net and utp do.
func opError(op string, addr net.Addr, err error) error {
	var inner *net.OpError
	if errors.As(err, &inner) {
		// Of package net, which calls the network UDP.
		wrapped := *inner
		wrapped.Op, wrapped.Net = op, "utp"
		if wrapped.Addr == nil {
			wrapped.Addr = addr
		}
		return &wrapped
	}
	return &net.OpError{Op: op, Net: "utp", Addr: addr, Err: err}
}
