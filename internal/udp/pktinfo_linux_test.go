package udp

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLocal sends from one of our addresses to another, and back from there, on
// a port that is bound to neither. All of 127.0.0.0/8 is ours on Linux.
func TestLocal(t *testing.T) {
	for _, test := range []struct{ network, address, peer, local string }{
		{"udp4", "0.0.0.0:0", "127.0.0.1", "127.0.0.2"},
		{"udp", "[::]:0", "127.0.0.1", "127.0.0.2"},
		{"udp", "[::]:0", "127.0.0.3", "127.0.0.1"},
		{"udp", "[::]:0", "::1", "::1"},
		{"udp6", "[::]:0", "::1", "::1"},
	} {
		t.Run(test.network+","+test.local, func(t *testing.T) {
			if test.network != "udp4" {
				needIPv6(t)
			}
			a := listen(t, test.network, test.address)
			b := listen(t, "udp", net.JoinHostPort(test.peer, "0"))
			local := netip.MustParseAddr(test.local)

			write(t, b, Transmit{Data: []byte("x"), Remote: at(a, test.local)})
			got := readOne(t, a)
			require.Equal(t, local, got.Local)
			require.Equal(t, at(b, test.peer), got.Remote)

			write(t, a, Transmit{Data: []byte("y"), Remote: got.Remote, Local: got.Local})
			require.Equal(t, at(a, test.local), readOne(t, b).Remote)
			n, err := a.TryWrite(&Transmit{Data: []byte("z"), Remote: got.Remote, Local: got.Local})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.Equal(t, at(a, test.local), readOne(t, b).Remote)
			write(t, a, Transmit{Remote: got.Remote, Local: got.Local}) // no data
			require.Equal(t, at(a, test.local), readOne(t, b).Remote)
		})
	}
}

func TestLocalIsNotOurs(t *testing.T) {
	for _, test := range []struct {
		network, address, peer, local string
		want                          error
	}{
		{"udp4", "0.0.0.0:0", "127.0.0.1", "192.0.2.254", syscall.ENETUNREACH},
		{"udp", "[::]:0", "127.0.0.1", "192.0.2.254", syscall.ENETUNREACH},
		{"udp", "[::]:0", "::1", "2001:db8::1", syscall.EINVAL},
	} {
		if test.network != "udp4" {
			needIPv6(t)
		}
		a := listen(t, test.network, test.address)
		n, err := a.Write(&Transmit{Data: []byte("x"), Remote: at(a, test.peer), Local: netip.MustParseAddr(test.local)})
		require.ErrorIs(t, err, test.want, "%+v", test)
		require.Zero(t, n)
	}
}

// TestLinkLocal needs an interface with a link-local address.
func TestLinkLocal(t *testing.T) {
	var host netip.Addr
	ifis, err := net.Interfaces()
	require.NoError(t, err)
	for _, ifi := range ifis {
		addrs, err := ifi.Addrs()
		require.NoError(t, err)
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
				host = p.Addr().WithZone(ifi.Name)
			}
		}
	}
	if !host.IsValid() {
		skip(t, "no interface has a link-local address")
	}
	a, b := listen(t, "udp", "[::]:0"), listen(t, "udp", net.JoinHostPort(host.String(), "0"))
	write(t, b, Transmit{Data: []byte("x"), Remote: at(a, host.String())})
	got := readOne(t, a)
	require.Equal(t, at(b, host.String()), got.Remote)
	require.Equal(t, host, got.Local)
	write(t, a, Transmit{Data: []byte("y"), Remote: got.Remote, Local: got.Local})
	got = readOne(t, b)
	require.Equal(t, at(a, host.String()), got.Remote)
	require.Equal(t, host, got.Local)
}
