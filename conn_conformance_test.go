package utppunch_test

import (
	"net"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"utppunch"
	"utppunch/internal/simnet"
)

// TestConformance is nettest.TestConn over every kind of path and in both roles. It is not in a bubble: it runs subtests.
func TestConformance(t *testing.T) {
	// A datagram crosses two links. Each loss costs PingPong, with one packet at a time, a timeout of 200 ms.
	lossy := simnet.Link{
		Latency: 200 * time.Microsecond, Jitter: 100 * time.Microsecond,
		Loss: 0.004, Duplicate: 0.01, Reorder: 0.01, ReorderDelay: 2 * time.Millisecond,
	}
	for _, tc := range []struct {
		name    string
		address string // to dial; empty: the server's
		open    func(t *testing.T) (server, client *utppunch.Transport)
	}{
		{name: "IPv4", open: func(t *testing.T) (a, b *utppunch.Transport) { return openPair(t) }},
		{name: "IPv6", open: func(t *testing.T) (a, b *utppunch.Transport) {
			needIPv6(t)
			return open(t, "utp6", "[::1]:0"), open(t, "utp6", "[::1]:0")
		}},
		{name: "dual stack IPv4", address: "127.0.0.1", open: func(t *testing.T) (a, b *utppunch.Transport) {
			return open(t, "utp", ":0"), open(t, "utp", ":0")
		}},
		{name: "dual stack IPv6", address: "::1", open: func(t *testing.T) (a, b *utppunch.Transport) {
			needIPv6(t)
			return open(t, "utp", ":0"), open(t, "utp", ":0")
		}},
		{name: "lossy", open: func(t *testing.T) (a, b *utppunch.Transport) {
			a, b, _ = simulated(t, 1, lossy, nil)
			return a, b
		}},
	} {
		for _, role := range []string{"accepted first", "dialled first"} {
			t.Run(tc.name+"/"+role, func(t *testing.T) {
				t.Parallel()
				nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
					server, client := tc.open(t)
					stop := func() {
						server.Close()
						client.Close()
					}
					address := server.Addr().String()
					if tc.address != "" {
						_, port, _ := net.SplitHostPort(address)
						address = net.JoinHostPort(tc.address, port)
					}
					dialled, accepted, err := connectTo(server, client, address)
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
	}
}
