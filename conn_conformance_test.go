package utppunch_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"utppunch"
	"utppunch/internal/simnet"
)

// TestConformance is nettest.TestConn over every kind of path and in both roles.
// It is not in a bubble: it runs subtests.
func TestConformance(t *testing.T) {
	lossy := simnet.Link{
		Latency: 2 * time.Millisecond, Jitter: time.Millisecond,
		Loss: 0.02, Duplicate: 0.01, Reorder: 0.02,
	}
	for _, tc := range []struct {
		name string
		open func(t *testing.T) (server, client *utppunch.Transport)
	}{
		{"IPv4", func(t *testing.T) (a, b *utppunch.Transport) {
			return open(t, "utp4", "127.0.0.1:0"), open(t, "utp4", "127.0.0.1:0")
		}},
		{"IPv6", func(t *testing.T) (a, b *utppunch.Transport) {
			return open(t, "utp6", "[::1]:0"), open(t, "utp6", "[::1]:0")
		}},
		{"dual stack", func(t *testing.T) (a, b *utppunch.Transport) {
			return open(t, "utp", ":0"), open(t, "utp", ":0")
		}},
		{"lossy", func(t *testing.T) (a, b *utppunch.Transport) { return simulated(t, lossy) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, role := range []string{"accepted first", "dialled first"} {
				t.Run(role, func(t *testing.T) {
					nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
						server, client := tc.open(t)
						stop := func() {
							server.Close()
							client.Close()
						}
						dialled, accepted, err := connect(server, client)
						if err != nil {
							stop()
							return nil, nil, nil, err
						}
						if role == "accepted first" {
							return accepted, dialled, stop, nil
						}
						return dialled, accepted, stop, nil
					})
				})
			}
		})
	}
}

func open(t testing.TB, network, address string) *utppunch.Transport {
	t.Helper()
	tr, err := utppunch.Open(network, address, nil)
	require.NoError(t, err)
	t.Cleanup(func() { tr.Close() })
	return tr
}

// simulated returns two Transports on a simulated network.
func simulated(t testing.TB, link simnet.Link) (a, b *utppunch.Transport) {
	t.Helper()
	network := simnet.New(1)
	t.Cleanup(func() { network.Close() })
	make := func(addr string) *utppunch.Transport {
		pc, err := network.Listen(netip.MustParseAddrPort(addr), link, link)
		require.NoError(t, err)
		tr, err := utppunch.New(pc, nil)
		require.NoError(t, err)
		t.Cleanup(func() { tr.Close() })
		return tr
	}
	return make("10.0.0.1:1000"), make("10.0.0.2:2000")
}

// connect has client dial server and returns both ends.
func connect(server, client *utppunch.Transport) (dialled, accepted net.Conn, err error) {
	l, err := server.Listen()
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	address := server.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
	if address.Addr().IsUnspecified() {
		address = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), address.Port())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if dialled, err = client.DialContext(ctx, "utp", address.String()); err != nil {
		return nil, nil, err
	}
	if accepted, err = l.Accept(); err != nil {
		dialled.Close()
		return nil, nil, err
	}
	return dialled, accepted, nil
}
