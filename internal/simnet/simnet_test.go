package simnet_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/internal/simnet"
)

var (
	alice = netip.MustParseAddrPort("10.0.0.1:1000")
	bob   = netip.MustParseAddrPort("10.0.0.2:2000")
)

// testNet is a network inside a bubble, and the clock of the bubble.
type testNet struct {
	*simnet.Network
	t     *testing.T
	start time.Time
}

// inBubble runs a test on a network in virtual time. A test that fails shows what became of its datagrams.
func inBubble(t *testing.T, test func(n *testNet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &testNet{Network: simnet.New(1), t: t, start: time.Now()}
		defer func() {
			if t.Failed() {
				t.Log(n.Log())
			}
			require.NoError(t, n.Close())
		}()
		test(n)
	})
}

func (n *testNet) listen(addr netip.AddrPort, up, down simnet.Link) *simnet.Conn {
	n.t.Helper()
	c, err := n.Listen(addr, up, down)
	require.NoError(n.t, err)
	return c
}

// pair returns alice and bob; up is alice's link to the core, all others are perfect.
func (n *testNet) pair(up simnet.Link) (a, b *simnet.Conn) {
	n.t.Helper()
	return n.listen(alice, up, simnet.Link{}), n.listen(bob, simnet.Link{}, simnet.Link{})
}

func (n *testNet) send(c net.PacketConn, to netip.AddrPort, payload string) {
	n.t.Helper()
	size, err := c.WriteTo([]byte(payload), net.UDPAddrFromAddrPort(to))
	if err != nil || size != len(payload) { // require costs more than the simulation, and some tests send thousands
		require.NoError(n.t, err)
		require.Equal(n.t, len(payload), size)
	}
}

// sendNumbered sends count datagrams of size bytes from c to to, each beginning with its number.
func (n *testNet) sendNumbered(c net.PacketConn, to netip.AddrPort, count, size int) {
	n.t.Helper()
	for i := range count {
		n.send(c, to, fmt.Sprintf("%0*d", -size, i))
	}
}

// want reads the next datagram at c, and says when it came.
func (n *testNet) want(why string, c net.PacketConn, payload string, at time.Duration) {
	n.t.Helper()
	got, _, err := read(c)
	require.NoError(n.t, err, why)
	require.Equal(n.t, payload, got, why)
	require.Equal(n.t, at, time.Since(n.start), why)
}

// wantIdle checks that nothing arrives at c, ever.
func (n *testNet) wantIdle(why string, c net.PacketConn) {
	n.t.Helper()
	require.Empty(n.t, n.drain(c), why)
}

// arrival is a datagram and when it was read.
type arrival struct {
	payload string
	at      time.Duration
}

// drain reads all that is still on its way to c.
func (n *testNet) drain(c net.PacketConn) []arrival {
	n.t.Helper()
	require.NoError(n.t, c.SetReadDeadline(time.Now().Add(time.Hour)))
	defer func() { require.NoError(n.t, c.SetReadDeadline(time.Time{})) }()
	var all []arrival
	buf := make([]byte, 1<<16)
	for {
		size, _, err := c.ReadFrom(buf)
		if err != nil {
			require.ErrorIs(n.t, err, os.ErrDeadlineExceeded)
			return all
		}
		all = append(all, arrival{string(buf[:size]), time.Since(n.start)})
	}
}

// read waits for the next datagram at c.
func read(c net.PacketConn) (payload string, from netip.AddrPort, err error) {
	b := make([]byte, 1<<16)
	size, addr, err := c.ReadFrom(b)
	if err != nil {
		return "", netip.AddrPort{}, err
	}
	return string(b[:size]), addr.(*net.UDPAddr).AddrPort(), nil
}

func addrPort(addr netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(addr, port) }

// fates counts how the datagrams in l ended.
func fates(l simnet.Log) map[simnet.Fate]int {
	count := map[simnet.Fate]int{}
	for _, e := range l {
		count[e.Fate]++
	}
	return count
}

// TestTestNet shows how the other tests are written.
func TestTestNet(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Latency: 30 * time.Millisecond})
		n.send(a, bob, "hello")
		n.want("alice's link takes 30 ms, bob's none", b, "hello", 30*time.Millisecond)
		n.send(b, alice, "hi")
		n.want("the way back is perfect", a, "hi", 30*time.Millisecond)
		n.wantIdle("one datagram arrives once", b)
	})
}
