package simnet_test

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch/internal/simnet"
)

func TestListenRefusesAnAddressInUse(t *testing.T) {
	inBubble(t, func(n *testNet) {
		n.listen(alice, simnet.Link{}, simnet.Link{})
		_, err := n.Listen(alice, simnet.Link{}, simnet.Link{})
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		mapped := addrPort(netip.AddrFrom16(alice.Addr().As16()), alice.Port())
		_, err = n.Listen(mapped, simnet.Link{}, simnet.Link{})
		require.ErrorIs(t, err, syscall.EADDRINUSE, "%v is the same address", mapped)
	})
}

func TestListenWantsTheAddressOfAHost(t *testing.T) {
	inBubble(t, func(n *testNet) {
		for _, addr := range []netip.AddrPort{
			{},
			netip.MustParseAddrPort("0.0.0.0:1"),
			netip.MustParseAddrPort("[::]:1"),
			netip.MustParseAddrPort("224.0.0.1:1"),
		} {
			_, err := n.Listen(addr, simnet.Link{}, simnet.Link{})
			require.Error(t, err, "%v", addr)
		}
	})
}

func TestListenPicksPorts(t *testing.T) {
	inBubble(t, func(n *testNet) {
		seen := map[string]bool{}
		for range 1<<16 - 49152 {
			c := n.listen(addrPort(alice.Addr(), 0), simnet.Link{}, simnet.Link{})
			seen[c.LocalAddr().String()] = true
		}
		require.Len(t, seen, 1<<16-49152, "each port once")
		_, err := n.Listen(addrPort(alice.Addr(), 0), simnet.Link{}, simnet.Link{})
		require.ErrorIs(t, err, syscall.EADDRINUSE, "all dynamic ports are taken")
		n.listen(addrPort(bob.Addr(), 0), simnet.Link{}, simnet.Link{})
	})
}

func TestUnknownDestination(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a := n.listen(alice, simnet.Link{}, simnet.Link{})
		n.send(a, bob, "anybody there?")
		require.Equal(t, 1, fates(n.Log())[simnet.NoReceiver])
	})
}

func TestIPv6(t *testing.T) {
	inBubble(t, func(n *testNet) {
		alice, bob := netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:2")
		a := n.listen(alice, simnet.Link{}, simnet.Link{})
		b := n.listen(bob, simnet.Link{}, simnet.Link{})
		n.send(a, bob, "hello")
		payload, from, err := read(b)
		require.NoError(t, err)
		require.Equal(t, "hello", payload)
		require.Equal(t, alice, from)
	})
}

func TestDatagramsToOneself(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a := n.listen(alice, simnet.Link{Latency: 3 * ms}, simnet.Link{Latency: 4 * ms})
		n.send(a, alice, "echo")
		n.want("over both of its links", a, "echo", 7*ms)
	})
}

// lossyTrace returns the log of a conversation over links with every fault.
func lossyTrace(t *testing.T, seed uint64) string {
	t.Helper()
	var trace string
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(seed)
		link := simnet.Link{
			Latency: 5 * ms, Jitter: 5 * ms, Rate: 10e6, Queue: 20_000,
			Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, MTU: 1000,
		}
		for i := range 4 {
			c, err := n.Listen(addrPort(alice.Addr(), uint16(1+i)), link, link)
			require.NoError(t, err)
			for j := range 100 {
				to := net.UDPAddrFromAddrPort(addrPort(alice.Addr(), uint16(1+j%5)))
				_, err := c.WriteTo(make([]byte, 11*j), to)
				require.NoError(t, err)
			}
		}
		time.Sleep(time.Second)
		trace = n.Log().String()
		require.NoError(t, n.Close())
	})
	return trace
}

func TestSameSeedSameTrace(t *testing.T) {
	first := lossyTrace(t, 7)
	for fate := simnet.Delivered; fate < simnet.Overflow; fate++ {
		if fate != simnet.Filtered {
			require.Contains(t, first, fate.String(), "the conversation meets every fault")
		}
	}
	require.Equal(t, first, lossyTrace(t, 7))
	require.NotEqual(t, first, lossyTrace(t, 8))
}

func TestFatesDoNotDependOnOtherLinks(t *testing.T) {
	delivered := func(bystanders int) []arrival {
		var arrivals []arrival
		inBubble(t, func(n *testNet) {
			a, b := n.pair(simnet.Link{Loss: 0.5, Jitter: ms})
			var others sync.WaitGroup
			for i := range bystanders {
				c := n.listen(addrPort(alice.Addr(), uint16(1+i)), simnet.Link{Loss: 0.5}, simnet.Link{})
				others.Go(func() {
					for range 100 {
						_, err := c.WriteTo([]byte("noise"), a.LocalAddr())
						assert.NoError(t, err)
					}
				})
			}
			n.sendNumbered(a, bob, 100, 10)
			arrivals = n.drain(b)
			others.Wait()
		})
		return arrivals
	}
	require.Equal(t, delivered(0), delivered(3))
}

func TestNetworkClose(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Latency: time.Second})
		n.send(a, bob, "on its way")
		done := goRead(b)
		synctest.Wait()
		require.NoError(t, n.Close())
		require.ErrorIs(t, <-done, net.ErrClosed, "a blocked read ends")

		_, err := a.WriteTo(nil, net.UDPAddrFromAddrPort(bob))
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = n.Listen(alice, simnet.Link{}, simnet.Link{})
		require.ErrorIs(t, err, net.ErrClosed)
		time.Sleep(time.Hour)
		require.Empty(t, n.Log(), "nothing happens any more")
		require.NoError(t, n.Close(), "a second Close does nothing")
	})
}

// TestRealTime shows that the package works outside bubbles, where timers are late and goroutines run at once.
func TestRealTime(t *testing.T) {
	const senders, count = 4, 500
	n := simnet.New(1)
	defer n.Close()
	b, err := n.Listen(bob, simnet.Link{}, simnet.Link{Latency: 100 * time.Microsecond})
	require.NoError(t, err)

	var all sync.WaitGroup
	for i := range senders {
		c, err := n.Listen(addrPort(alice.Addr(), uint16(1+i)), simnet.Link{Rate: 1e9}, simnet.Link{})
		require.NoError(t, err)
		all.Go(func() {
			for j := range count {
				_, err := c.WriteTo(fmt.Append(nil, j), b.LocalAddr())
				assert.NoError(t, err)
			}
		})
	}
	next := map[netip.AddrPort]int{}
	for range senders * count {
		payload, from, err := read(b)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(next[from]), payload, "late is not out of order")
		next[from]++
	}
	all.Wait()
}
