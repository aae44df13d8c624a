package utp

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var _ net.Addr = (*Addr)(nil)

func TestAddr(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"192.0.2.1:80", "192.0.2.1:80"},
		{"[::ffff:192.0.2.1]:80", "192.0.2.1:80"}, // IPv4-mapped is IPv4
		{"[2001:db8::1]:80", "[2001:db8::1]:80"},
		{"[fe80::1%eth0]:80", "[fe80::1%eth0]:80"},
		{"[::]:0", "[::]:0"},
	} {
		a := NewAddr(netip.MustParseAddrPort(tc.in))
		assert.Equal(t, "utp", a.Network())
		assert.Equal(t, tc.want, a.String(), tc.in)
		assert.Equal(t, netip.MustParseAddrPort(tc.want), a.AddrPort(), tc.in)

		host, _, err := net.SplitHostPort(a.String())
		require.NoError(t, err, "the string is what package net takes")
		require.Equal(t, a.AddrPort().Addr().String(), host)

		udp := a.UDPAddr()
		assert.Equal(t, int(a.AddrPort().Port()), udp.Port)
		assert.Equal(t, a.AddrPort().Addr().Zone(), udp.Zone, "the zone is kept")
		assert.Equal(t, a.AddrPort().Addr().WithZone("").String(), udp.IP.String())
	}
}
