package utppunch_test

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch"
	"utppunch/internal/simnet"
	"utppunch/utp"
)

// closeLink makes a round trip of 20 ms: a datagram crosses two links.
var closeLink = simnet.Link{Latency: 5 * time.Millisecond}

const closeRTT = 20 * time.Millisecond

// TestCloseOrders has both sides end their connection in every way and order that there is, with data on its way in
// both directions. Nobody who reads on misses any of it, and nothing remains.
func TestCloseOrders(t *testing.T) {
	ways := []string{"C", "WC", "RC", "WRC", "RWC"} // CloseWrite, CloseRead, Close
	for _, a := range ways {
		for _, b := range ways {
			for _, order := range merges(a, b) {
				for _, gap := range []time.Duration{0, closeRTT / 4, 5 * closeRTT} {
					synctest.Test(t, func(t *testing.T) { testCloseOrder(t, order, gap) })
					if t.Failed() {
						t.Fatalf("order %s, one step every %v", order, gap)
					}
				}
			}
		}
	}
}

// merges returns all ways to take the steps of a and of b, which is given in capitals and returned in small letters, by
// turns.
func merges(a, b string) []string {
	if a == "" && b == "" {
		return []string{""}
	}
	var all []string
	if a != "" {
		for _, rest := range merges(a[1:], b) {
			all = append(all, a[:1]+rest)
		}
	}
	if b != "" {
		for _, rest := range merges(a, b[1:]) {
			all = append(all, string(b[0]|0x20)+rest)
		}
	}
	return all
}

func testCloseOrder(t *testing.T, order string, gap time.Duration) {
	server, client, _ := simulated(t, 1, closeLink, nil)
	dialled, accepted := mustConnect(t, server, client)
	data := random(2, 50_000)

	reads := make(chan error, 2)
	closedRead := map[*utp.Conn]*time.Time{dialled: new(time.Time), accepted: new(time.Time)}
	for _, c := range []*utp.Conn{dialled, accepted} {
		go func() {
			got, err := io.ReadAll(c)
			if at := closedRead[c]; at.IsZero() {
				// Nobody but the peer has ended it.
				if assert.NoError(t, err) {
					assert.True(t, string(got) == string(data), "%d bytes arrived as they were sent", len(got))
				}
			} else if err != nil {
				assert.ErrorIs(t, err, net.ErrClosed)
			}
			reads <- err
		}()
		_, err := c.Write(data)
		require.NoError(t, err)
	}
	for _, step := range order {
		c := dialled
		if step >= 'a' {
			c = accepted
		}
		switch step &^ 0x20 {
		case 'W':
			// It is ENOTCONN, as for TCP, once the peer has sent a RESET because it had closed.
			if err := c.CloseWrite(); err != nil {
				assert.ErrorIs(t, err, syscall.ENOTCONN)
			}
		case 'R':
			synctest.Wait()
			*closedRead[c] = time.Now()
			assert.NoError(t, c.CloseRead())
		case 'C':
			synctest.Wait()
			*closedRead[c] = time.Now()
			start := time.Now()
			assert.NoError(t, c.Close())
			assert.Zero(t, time.Since(start), "Close does not wait")
		}
		time.Sleep(gap)
	}
	<-reads
	<-reads
	start := time.Now()
	waitIdle(t, server, client)
	assert.Less(t, time.Since(start), 10*closeRTT, "no timeout was needed")
}

func TestHalfClose(t *testing.T) {
	for _, name := range []string{"dialled", "accepted"} {
		t.Run("by the side that "+name, func(t *testing.T) {
			server, client := openPair(t)
			first, second := mustConnect(t, server, client)
			if name == "accepted" {
				first, second = second, first
			}
			request, reply := random(1, 1<<20), random(2, 1<<20)
			go func() {
				got, err := io.ReadAll(second)
				assert.NoError(t, err)
				assert.True(t, string(got) == string(request), "the request arrived as it was sent")
				_, err = second.Write(reply)
				assert.NoError(t, err)
				assert.NoError(t, second.Close())
			}()
			require.NoError(t, first.SetDeadline(time.Now().Add(patience)))
			_, err := first.Write(request)
			require.NoError(t, err)
			require.NoError(t, first.CloseWrite())
			_, err = first.Write(request)
			require.ErrorIs(t, err, syscall.EPIPE)
			got, err := io.ReadAll(first)
			require.NoError(t, err)
			require.True(t, string(got) == string(reply), "the reply arrived as it was sent")
			require.NoError(t, first.Close())
			waitIdle(t, server, client)
		})
	}
}

// TestCloseWithUnreadData: unlike TCP, Close does not throw away what was written because of what was not read.
func TestCloseWithUnreadData(t *testing.T) {
	server, client := openPair(t)
	c, peer := mustConnect(t, server, client)
	_, err := peer.Write(random(1, 50_000))
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 1))
	require.NoError(t, err, "data is there, and most of it stays unread")

	answer := random(2, 50_000)
	_, err = c.Write(answer)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, peer.SetDeadline(time.Now().Add(patience)))
	got, err := io.ReadAll(peer)
	require.NoError(t, err)
	require.True(t, string(got) == string(answer), "the answer arrived as it was sent")

	writeUntilError(peer)
	_, err = peer.Write([]byte("nobody will read this"))
	require.ErrorIs(t, err, syscall.EPIPE)
	require.NoError(t, peer.Close())
	waitIdle(t, server, client)
}

// TestLinger is about what Close does with data that is not acknowledged, by SetLinger and Config.Linger.
func TestLinger(t *testing.T) {
	const sec = 3
	for _, tc := range []struct {
		name    string
		linger  func(c *utp.Conn) error // nil: the default
		config  utp.Config
		dark    bool // the network is cut before Close
		deaf    bool // the peer does not read, until Close has returned
		want    error
		took    time.Duration
		arrives error // what the peer reads at the end; nil is io.EOF
	}{
		{name: "by default, in the background", took: 0},
		{name: "below zero, in the background", linger: lingerFor(-1), took: 0},
		{name: "seconds, until acknowledged", linger: lingerFor(sec), took: closeRTT},
		{name: "seconds, peer does not read", linger: lingerFor(sec), deaf: true, want: os.ErrDeadlineExceeded, took: sec * time.Second},
		{name: "seconds, network dark", linger: lingerFor(sec), dark: true, want: os.ErrDeadlineExceeded, took: sec * time.Second, arrives: syscall.ETIMEDOUT},
		{name: "zero is a RESET", linger: lingerFor(0), arrives: syscall.ECONNRESET},
		{name: "configured off is a RESET", config: utp.Config{Linger: -1}, arrives: syscall.ECONNRESET},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, client, network := simulated(t, 1, closeLink, &utppunch.Config{UTP: tc.config})
			c, peer := mustConnect(t, server, client)
			// More than the peer takes unread: some of it is always outstanding.
			data := random(1, 100_000)
			if !tc.deaf {
				data = data[:8_000] // one round trip
			}
			_, err := c.Write(data)
			require.NoError(t, err, tc.name)
			if tc.linger != nil {
				require.NoError(t, tc.linger(c), tc.name)
			}
			if tc.dark {
				network.SetFilter(func(simnet.Packet) simnet.Verdict { return simnet.Drop })
			}
			start := time.Now()
			err = c.Close()
			took := time.Since(start)
			if tc.want == nil {
				require.NoError(t, err, tc.name)
			} else {
				require.ErrorIs(t, err, tc.want, tc.name)
			}
			assert.GreaterOrEqual(t, took, tc.took, tc.name)
			assert.LessOrEqual(t, took, tc.took+closeRTT, tc.name)

			require.NoError(t, peer.SetReadDeadline(time.Now().Add(time.Minute)))
			got, err := io.ReadAll(peer)
			if tc.arrives == nil {
				require.NoError(t, err, tc.name)
				assert.True(t, string(got) == string(data), "%s: %d bytes arrived as they were sent", tc.name, len(got))
			} else {
				require.ErrorIs(t, err, tc.arrives, tc.name)
			}
			require.NoError(t, peer.Close(), tc.name)
			waitIdle(t, server, client)
		})
	}
}

func lingerFor(sec int) func(*utp.Conn) error {
	return func(c *utp.Conn) error { return c.SetLinger(sec) }
}

// TestCloseUnblocks: whoever is in a call when Close is called comes back at once, with net.ErrClosed.
func TestCloseUnblocks(t *testing.T) {
	for _, tc := range []struct {
		name string
		call func(c *utp.Conn) error
	}{
		{"Read", func(c *utp.Conn) error { return read(c).err }},
		{"Write", func(c *utp.Conn) error { return write(c, large).err }},
		{"WriteTo", func(c *utp.Conn) error { _, err := c.WriteTo(io.Discard); return err }},
		{"ReadFrom", func(c *utp.Conn) error { _, err := c.ReadFrom(zeros{}); return err }},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, client, _ := simulated(t, 1, closeLink, nil)
			c, _ := mustConnect(t, server, client)
			done := make(chan error, 1)
			go func() { done <- tc.call(c) }()
			time.Sleep(time.Minute)
			require.Empty(t, done, "%s blocks", tc.name)
			start := time.Now()
			require.NoError(t, c.Close(), tc.name)
			require.ErrorIs(t, <-done, net.ErrClosed, tc.name)
			require.Zero(t, time.Since(start), tc.name)
		})
	}
}

// zeros is a stream without an end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
