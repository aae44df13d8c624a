package utppunch_test

import (
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"utppunch/utp"
)

// TestDualStack: one wildcard port serves both families, and each connection has the concrete address that the peer
// spoke to.
func TestDualStack(t *testing.T) {
	needIPv6(t)
	server := open(t, "utp", ":0")
	l := listen(t, server)
	port := addrPort(server.Addr()).Port()
	for _, tc := range []struct{ network, host string }{
		{"utp4", "127.0.0.1"},
		{"utp6", "::1"},
		{"utp", "127.0.0.1"},
		{"utp", "::1"},
		{"utp", "::ffff:127.0.0.1"}, // the same as without ::ffff:
	} {
		client := open(t, tc.network, ":0")
		address := netip.AddrPortFrom(netip.MustParseAddr(tc.host), port)
		c := dial(t, client, address.String())
		peer := accept(t, l)
		go echoConn(peer)
		requireEcho(t, c, "hello")

		want := netip.AddrPortFrom(address.Addr().Unmap(), port)
		clientPort := addrPort(client.Addr()).Port()
		require.Equal(t, want, addrPort(c.RemoteAddr()))
		require.Equal(t, want, addrPort(peer.LocalAddr()), "where the peer spoke to, not the wildcard")
		require.Equal(t, netip.AddrPortFrom(want.Addr(), clientPort), addrPort(peer.RemoteAddr()))
		require.Equal(t, netip.AddrPortFrom(want.Addr(), clientPort), addrPort(c.LocalAddr()))
		require.NoError(t, c.Close())
	}
	waitIdle(t, server)
}

// TestSecondAddress: who dials one of several addresses of a host is answered from there.
func TestSecondAddress(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8")
	}
	for _, network := range []string{"utp4", "utp"} {
		server := open(t, network, ":0")
		client := open(t, "utp4", ":0")
		l := listen(t, server)
		port := strconv.Itoa(int(addrPort(server.Addr()).Port()))
		for _, host := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
			address := net.JoinHostPort(host, port)
			c := dial(t, client, address)
			peer := accept(t, l)
			go echoConn(peer)
			requireEcho(t, c, string(random(1, 100_000)))
			require.Equal(t, address, c.RemoteAddr().String())
			require.Equal(t, address, peer.LocalAddr().String())
			require.NoError(t, c.Close())
		}

		// Many at once, to the same port: their addresses are all that tells some of them apart.
		for i := range 100 {
			host := "127.0.0." + strconv.Itoa(1+i%50)
			c := dial(t, client, net.JoinHostPort(host, port))
			peer := accept(t, l)
			require.Equal(t, host, addrPort(peer.LocalAddr()).Addr().String())
			go echoConn(peer)
			requireEcho(t, c, host)
		}
		require.NoError(t, client.Close())
		waitIdle(t, server)
	}
}

// TestBoundToOneAddress: such a port is not reached at the host's others.
func TestBoundToOneAddress(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8")
	}
	server := open(t, "utp4", "127.0.0.2:0")
	client := open(t, "utp4", "127.0.0.3:0")
	c, peer := mustConnect(t, server, client)
	require.Equal(t, server.Addr(), peer.LocalAddr())
	require.Equal(t, client.Addr(), peer.RemoteAddr())
	require.Equal(t, client.Addr(), c.LocalAddr())
	_, err := client.DialContext(t.Context(), "utp",
		net.JoinHostPort("127.0.0.1", strconv.Itoa(int(addrPort(server.Addr()).Port()))))
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// TestAddr is about what the addresses of a connection are for their users.
func TestAddr(t *testing.T) {
	server, client := openPair(t)
	c, peer := mustConnect(t, server, client)
	for _, a := range []net.Addr{server.Addr(), client.Addr(), c.LocalAddr(), c.RemoteAddr(), peer.LocalAddr(), peer.RemoteAddr()} {
		require.IsType(t, (*utp.Addr)(nil), a)
		require.Equal(t, "utp", a.Network())
		host, _, err := net.SplitHostPort(a.String())
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1", host)
		require.Equal(t, a.String(), addrPort(a).String())
		require.Equal(t, a.String(), a.(*utp.Addr).UDPAddr().String())
	}
	require.Equal(t, server.Addr(), c.RemoteAddr())
	require.Equal(t, client.Addr(), peer.RemoteAddr())
	require.NoError(t, c.Close())
	require.Equal(t, server.Addr(), c.RemoteAddr(), "also after Close")
}
