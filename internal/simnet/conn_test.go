package simnet_test

import (
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/internal/simnet"
)

// goRead reads from c in a goroutine of its own.
func goRead(c net.PacketConn) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, _, err := read(c)
		done <- err
	}()
	return done
}

// requireTimeout checks err in each of the ways in which callers do.
func requireTimeout(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	opErr, ok := err.(*net.OpError) // by assertion: crypto/tls and net/http look no deeper
	require.True(t, ok, "%T", err)
	require.True(t, opErr.Timeout())
}

func TestAddresses(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{})
		require.Equal(t, net.UDPAddrFromAddrPort(alice), a.LocalAddr())
		n.send(a, bob, "hello")
		_, from, err := b.ReadFrom(make([]byte, 10))
		require.NoError(t, err)
		require.Equal(t, a.LocalAddr(), from)
		_, err = b.WriteTo([]byte("hi"), &net.UDPAddr{IP: from.(*net.UDPAddr).IP.To16(), Port: int(alice.Port())})
		require.NoError(t, err)
		n.want("an IPv4 address in 16 bytes is the same address", a, "hi", 0)
	})
}

// otherAddr is an address of another package.
type otherAddr struct{ *net.UDPAddr }

func (otherAddr) Network() string { return "other" }

func TestDestinations(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{})
		_, err := a.WriteTo([]byte("x"), otherAddr{net.UDPAddrFromAddrPort(bob)})
		require.NoError(t, err)
		n.want("anything with AddrPort will do", b, "x", 0)

		for _, addr := range []net.Addr{
			nil,
			(*net.UDPAddr)(nil),
			&net.UDPAddr{Port: 1},
			&net.TCPAddr{IP: net.IPv6loopback, Port: 1},
			&net.UnixAddr{Name: "x"},
		} {
			_, err := a.WriteTo([]byte("x"), addr)
			require.IsType(t, &net.OpError{}, err, "%#v", addr)
		}
	})
}

func TestReadCutsDatagrams(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{})
		n.send(a, bob, "too long")
		n.send(a, bob, "next")
		buf := make([]byte, 3)
		size, _, err := b.ReadFrom(buf)
		require.NoError(t, err)
		require.Equal(t, "too", string(buf[:size]))
		n.want("the rest is lost", b, "next", 0)
	})
}

func TestSenderMayReuseItsBuffer(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Latency: ms})
		buf := []byte("before")
		_, err := a.WriteTo(buf, b.LocalAddr())
		require.NoError(t, err)
		copy(buf, "after!")
		n.want("as it was when it was sent", b, "before", ms)
	})
}

func TestReadDeadline(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Latency: 10 * ms})
		require.NoError(t, b.SetReadDeadline(time.Now().Add(5*ms)))
		n.send(a, bob, "late")
		_, _, err := read(b)
		requireTimeout(t, err)
		require.Equal(t, 5*ms, time.Since(n.start))

		time.Sleep(10 * ms)
		_, _, err = read(b)
		requireTimeout(t, err)
		require.NoError(t, b.SetReadDeadline(time.Time{}))
		n.want("what came in the meantime is still there", b, "late", 15*ms)
	})
}

func TestReadDeadlineInterruptsAReadThatWaits(t *testing.T) {
	inBubble(t, func(n *testNet) {
		_, b := n.pair(simnet.Link{})
		for _, deadline := range []time.Time{time.Now().Add(-time.Second), time.Now(), time.Now().Add(ms)} {
			require.NoError(t, b.SetReadDeadline(time.Time{}))
			done := goRead(b)
			synctest.Wait()
			require.NoError(t, b.SetDeadline(deadline))
			requireTimeout(t, <-done)
		}
	})
}

func TestReadDeadlineMoves(t *testing.T) {
	inBubble(t, func(n *testNet) {
		_, b := n.pair(simnet.Link{})
		require.NoError(t, b.SetReadDeadline(time.Now().Add(5*ms)))
		done := goRead(b)
		synctest.Wait()
		require.NoError(t, b.SetReadDeadline(time.Now().Add(20*ms)))
		requireTimeout(t, <-done)
		require.Equal(t, 20*ms, time.Since(n.start), "the first deadline no longer counts")
	})
}

func TestWriteDeadline(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{})
		require.NoError(t, a.SetWriteDeadline(time.Now().Add(ms)))
		n.send(a, bob, "in time")
		time.Sleep(ms)
		_, err := a.WriteTo([]byte("too late"), b.LocalAddr())
		requireTimeout(t, err)
		require.NoError(t, a.SetDeadline(time.Time{}))
		n.send(a, bob, "again")
		n.want("sent before the deadline", b, "in time", ms)
		n.want("sent after it was removed", b, "again", ms)
	})
}

func TestReceiveQueueIsBounded(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{})
		// Each is charged 1024 bytes, so 4 MiB hold 4096.
		n.sendNumbered(a, bob, 5000, 1024-128)
		require.Equal(t, uint64(5000-4096), b.Overflows())
		require.Equal(t, numbers(4096), numbersOf(t, n.drain(b)), "the earliest are kept")
		n.send(a, bob, "x")
		require.Len(t, n.drain(b), 1, "there is room again")
	})
}

func TestEmptyDatagramsAreBounded(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{})
		for range 4<<20/128 + 1 {
			n.send(a, bob, "")
		}
		require.Equal(t, uint64(1), b.Overflows())
	})
}

func TestConnClose(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{})
		n.send(a, bob, "never read")
		reads := []<-chan error{goRead(a), goRead(a)}
		synctest.Wait()
		require.NoError(t, a.Close())
		for _, done := range reads {
			require.ErrorIs(t, <-done, net.ErrClosed, "every blocked read ends")
		}
		require.NoError(t, b.Close())

		_, _, readErr := read(b)
		_, writeErr := b.WriteTo(nil, a.LocalAddr())
		for _, err := range []error{readErr, writeErr, b.Close(), b.SetDeadline(time.Now())} {
			require.IsType(t, &net.OpError{}, err)
			require.ErrorIs(t, err, net.ErrClosed)
		}
	})
}

func TestClosedAddressIsFreeAtOnce(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Latency: ms})
		n.send(a, bob, "to whom it may concern")
		require.NoError(t, b.Close())
		successor := n.listen(bob, simnet.Link{}, simnet.Link{})
		n.want("whoever holds the address gets the datagram", successor, "to whom it may concern", ms)
		require.Error(t, b.Close())
		n.send(a, bob, "again")
		n.want("the second Close left the successor alone", successor, "again", 2*ms)
	})
}

func TestSentDatagramsOutliveTheirSender(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Latency: ms, Rate: 8e6})
		n.sendNumbered(a, bob, 3, 1000)
		require.NoError(t, a.Close())
		require.Equal(t, numbers(3), numbersOf(t, n.drain(b)))
	})
}
