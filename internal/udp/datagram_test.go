package udp

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLocalOfDatagrams(t *testing.T) {
	for _, test := range []struct{ remote, local, want string }{
		{"192.0.2.1:5", "192.0.2.2", "192.0.2.2"},
		{"192.0.2.1:5", "224.0.0.251", ""},
		{"[2001:db8::1]:5", "ff02::1", ""},
		{"[fe80::1%eth0]:5", "ff02::1", ""},
		{"[fe80::1%eth0]:5", "fe80::2", "fe80::2%eth0"},
		{"[fe80::1%eth0]:5", "fe80::2%bound", "fe80::2%bound"},
		{"[fe80::1%eth0]:5", "2001:db8::2", "2001:db8::2"},
		{"[2001:db8::1]:5", "fe80::2", "fe80::2"},
		{"192.0.2.1:5", "", ""},
	} {
		var local, want netip.Addr
		if test.local != "" {
			local = netip.MustParseAddr(test.local)
		}
		if test.want != "" {
			want = netip.MustParseAddr(test.want)
		}
		d := Datagram{Segment: 7}
		d.fill([]byte("x"), netip.MustParseAddrPort(test.remote), local)
		require.Equal(t, want, d.Local, "%+v", test)
		require.Zero(t, d.Segment)
	}
}
