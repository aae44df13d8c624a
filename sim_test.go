package utppunch_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
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

// What follows runs in virtual time, on a network where a datagram takes 25 ms: durations are exact, and hours cost
// nothing.

const simRTT = 50 * time.Millisecond

var simLink = simnet.Link{Latency: simRTT / 4}

const (
	typeState = 2
	typeSYN   = 4
)

// packetType is the type of a uTP packet.
func packetType(p simnet.Packet) byte { return p.Data[0] >> 4 }

// dropFirst returns a filter that drops the first n packets that are of a type and from a port, and counts them.
func dropFirst(n int32, typ byte, from *utppunch.Transport, dropped *atomic.Int32) func(simnet.Packet) simnet.Verdict {
	addr := addrPort(from.Addr())
	return func(p simnet.Packet) simnet.Verdict {
		if p.From == addr && packetType(p) == typ && dropped.Load() < n {
			dropped.Add(1)
			return simnet.Drop
		}
		return simnet.Pass
	}
}

func dark(simnet.Packet) simnet.Verdict { return simnet.Drop }

// TestAcceptedSideSpeaksFirst: the STATE that answers the SYN-ACK is lost, and the client waits for the server to
// speak, as in SSH or SMTP. The server only knows of it when that STATE comes.
func TestAcceptedSideSpeaksFirst(t *testing.T) {
	for _, tc := range []struct {
		lostUntil time.Duration // after the start, every STATE of the client is
		limit     time.Duration
	}{
		{0, 0},
		{100 * time.Millisecond, 300 * time.Millisecond}, // when it is repeated, by either side
		{500 * time.Millisecond, time.Second},
		{1500 * time.Millisecond, 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, client, network := simulated(t, 1, simLink, nil)
			l := listen(t, server)
			go func() {
				if c, err := l.Accept(); assert.NoError(t, err) {
					_, err := io.WriteString(c, "220 ready\r\n")
					assert.NoError(t, err)
				}
			}()
			start := time.Now()
			from := addrPort(client.Addr())
			var dropped atomic.Int32
			network.SetFilter(func(p simnet.Packet) simnet.Verdict {
				if p.From == from && packetType(p) == typeState && time.Since(start) < tc.lostUntil {
					dropped.Add(1)
					return simnet.Drop
				}
				return simnet.Pass
			})
			c := dial(t, client, server.Addr().String())
			banner := make([]byte, 11)
			_, err := io.ReadFull(c, banner)
			require.NoError(t, err)
			require.Equal(t, "220 ready\r\n", string(banner))
			require.LessOrEqual(t, time.Since(start), tc.limit+4*simRTT, "lost until %v", tc.lostUntil)
			require.Equal(t, tc.lostUntil > 0, dropped.Load() > 0)
		})
	}
}

// TestHandshakeLosses: SYNs and their answers get lost; the dial takes until the next one.
func TestHandshakeLosses(t *testing.T) {
	for _, tc := range []struct {
		name       string
		lost       int32
		typ        byte
		fromServer bool
		want       time.Duration
	}{
		{"nothing", 0, typeSYN, false, simRTT},
		{"SYN", 1, typeSYN, false, time.Second + simRTT},
		{"two SYNs", 2, typeSYN, false, 3*time.Second + simRTT},
		{"four SYNs", 4, typeSYN, false, 15*time.Second + simRTT},
		{"SYN-ACK", 1, typeState, true, 300*time.Millisecond + simRTT},
		{"two SYN-ACKs", 2, typeState, true, time.Second + simRTT},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, client, network := simulated(t, 1, simLink, nil)
			l := listen(t, server)
			from := client
			if tc.fromServer {
				from = server
			}
			var dropped atomic.Int32
			network.SetFilter(dropFirst(tc.lost, tc.typ, from, &dropped))
			start := time.Now()
			c, err := client.DialContext(t.Context(), "utp", server.Addr().String())
			require.NoError(t, err, tc.name)
			require.Equal(t, tc.lost, dropped.Load(), tc.name)
			require.Equal(t, tc.want, time.Since(start), tc.name)

			go echo(l)
			requireEcho(t, c, "hello")
			require.NoError(t, c.Close())
			time.Sleep(time.Minute)
			require.EqualValues(t, 1, server.Stats().Accepted, "%s: no ghosts", tc.name)
			waitIdle(t, server, client)
		})
	}
}

// TestDarkNetwork: when nothing arrives any more, both sides find out in the time that Config says.
func TestDarkNetwork(t *testing.T) {
	const (
		keepAlive = 25 * time.Second
		misses    = 3 * keepAlive / 5
	)
	for _, tc := range []struct {
		name   string
		config utp.Config
		call   func(c *utp.Conn) call
		want   time.Duration // since the call, or since the last sign of life
		life   bool
	}{
		{"Read", utp.Config{}, readCall, keepAlive + misses, true},
		{"Read, KeepAlive 10 s", utp.Config{KeepAlive: 10 * time.Second}, readCall, 16 * time.Second, true},
		{"Read, IdleTimeout", utp.Config{KeepAlive: -1, IdleTimeout: 20 * time.Second}, readCall, 20 * time.Second, true},
		{"Read, data outstanding", utp.Config{KeepAlive: -1}, func(c *utp.Conn) call {
			write(c, 1)
			return read(c)
		}, time.Minute, false},
		{"Write", utp.Config{}, writeCall, keepAlive + misses, true},
		{"Write, no keepalives", utp.Config{KeepAlive: -1}, writeCall, time.Minute, false},
		{"Write, Timeout 10 s", utp.Config{Timeout: 10 * time.Second}, writeCall, 10 * time.Second, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, client, network := simulated(t, 1, simLink, &utppunch.Config{UTP: tc.config})
			c, peer := mustConnect(t, server, client)
			go echoConn(peer)
			requireEcho(t, c, "hello")
			require.NoError(t, c.SetDeadline(time.Time{}))
			start := time.Now()
			time.Sleep(5 * time.Second) // all is acknowledged
			network.SetFilter(dark)
			if !tc.life {
				start = time.Now()
			}
			got := tc.call(c)
			took := time.Since(start)
			require.ErrorIs(t, got.err, syscall.ETIMEDOUT, tc.name)
			require.GreaterOrEqual(t, took, tc.want-time.Second, tc.name)
			require.LessOrEqual(t, took, tc.want+time.Second, tc.name)
			require.Equal(t, got.err.Error(), tc.call(c).err.Error(), "%s: it says so every time", tc.name)
			require.NoError(t, c.Close(), tc.name)
			waitIdle(t, client)
		})
	}
}

func readCall(c *utp.Conn) call  { return read(c) }
func writeCall(c *utp.Conn) call { return write(c, large) }

// TestNetworkComesBack: darkness is only a pause, if it is over before three keepalives are missed.
func TestNetworkComesBack(t *testing.T) {
	for _, back := range []time.Duration{time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second, 34 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			server, client, network := simulated(t, 1, simLink, nil)
			c, peer := mustConnect(t, server, client)
			data := random(1, 1<<20)
			got := make(chan []byte, 1)
			go func() {
				b, err := io.ReadAll(peer)
				assert.NoError(t, err)
				got <- b
			}()
			time.AfterFunc(2*simRTT, func() { network.SetFilter(dark) })
			time.AfterFunc(back, func() { network.SetFilter(nil) })
			start := time.Now()
			_, err := c.Write(data)
			require.NoError(t, err, "dark for %v", back)
			require.NoError(t, c.Close())
			require.True(t, string(<-got) == string(data), "the data arrived as it was sent")
			// Both the back-off and the time to the next keepalive are 15 s at most.
			require.Less(t, time.Since(start), back+20*time.Second)
		})
	}
}

// TestIdleBehindNAT: a connection that nobody uses for ten minutes stays up, though a NAT forgets it after 30 s without
// a packet from inside, and then works.
func TestIdleBehindNAT(t *testing.T) {
	const mapping = 30 * time.Second
	synctest.Test(t, func(t *testing.T) {
		server, client, network := simulated(t, 1, simLink, nil)
		var mu sync.Mutex
		var last time.Time
		packets := 0
		inside := addrPort(client.Addr())
		network.SetFilter(func(p simnet.Packet) simnet.Verdict {
			mu.Lock()
			defer mu.Unlock()
			packets++
			if p.From == inside {
				last = time.Now()
			} else if time.Since(last) > mapping {
				return simnet.Drop
			}
			return simnet.Pass
		})
		c, peer := mustConnect(t, server, client)
		time.Sleep(10 * time.Minute)
		mu.Lock()
		require.Less(t, packets, 200, "it is quiet all the same")
		mu.Unlock()
		write(peer, 5)
		require.NoError(t, c.SetDeadline(time.Now().Add(simRTT)))
		require.NoError(t, read(c).err, "the outside can speak first")
		go echoConn(peer)
		requireEcho(t, c, "hello")
		require.NoError(t, c.Close())
		waitIdle(t, client, server)
	})
}

// TestTransfer is 5 MB in both directions at once over a path that loses, duplicates and reorders.
func TestTransfer(t *testing.T) {
	for _, tc := range []struct {
		name string
		link simnet.Link
		want time.Duration // at most
	}{
		{"perfect", simnet.Link{Latency: 25 * time.Millisecond / 2}, 5 * time.Second},
		{"1 % lost", simnet.Link{Latency: 25 * time.Millisecond / 2, Loss: 0.0025}, time.Minute},
		{"all at once", simnet.Link{
			Latency: 25 * time.Millisecond / 2, Jitter: 5 * time.Millisecond,
			Loss: 0.0025, Duplicate: 0.01, Reorder: 0.01,
		}, 2 * time.Minute},
		{"10 Mbit/s, short queue", simnet.Link{Latency: 25 * time.Millisecond / 2, Rate: 10_000_000, Queue: 30_000}, 30 * time.Second},
	} {
		for seed := range uint64(3) {
			synctest.Test(t, func(t *testing.T) {
				server, client, _ := simulated(t, seed, tc.link, nil)
				c, peer := mustConnect(t, server, client)
				start := time.Now()
				var wg sync.WaitGroup
				for i, c := range []*utp.Conn{c, peer} {
					sent, expected := random(byte(i), 5_000_000), random(byte(1-i), 5_000_000)
					wg.Go(func() {
						_, err := c.Write(sent)
						assert.NoError(t, err)
						assert.NoError(t, c.CloseWrite())
					})
					wg.Go(func() {
						got, err := io.ReadAll(c)
						assert.NoError(t, err)
						assert.True(t, string(got) == string(expected), "%s: %d bytes arrived as they were sent", tc.name, len(got))
					})
				}
				wg.Wait()
				took := time.Since(start)
				require.Less(t, took, tc.want, tc.name)
				t.Logf("%s, seed %d: %.3f s, %d packets sent again", tc.name, seed, took.Seconds(), c.Stats().Retransmits+peer.Stats().Retransmits)
				require.NoError(t, c.Close())
				require.NoError(t, peer.Close())
				waitIdle(t, client, server)
			})
		}
	}
}

// TestSlowReader does not read for longer than any timeout, and then does. Neither side gives up or loses anything.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client, _ := simulated(t, 1, simLink, nil)
		c, peer := mustConnect(t, server, client)
		data := random(1, 1<<20)
		done := make(chan error, 1)
		go func() {
			_, err := c.Write(data)
			done <- err
		}()
		time.Sleep(2 * time.Minute)
		require.Empty(t, done, "the writer waits")
		require.Less(t, peer.Stats().RecvBuffered, 200_000, "and the reader has no more than it promised")
		start := time.Now()
		got := make([]byte, len(data))
		require.NoError(t, peer.SetReadDeadline(time.Now().Add(time.Minute)))
		_, err := io.ReadFull(peer, got)
		require.NoError(t, err)
		require.NoError(t, <-done)
		require.True(t, string(got) == string(data), "the data arrived as it was sent")
		require.Less(t, time.Since(start), 5*time.Second, "it goes on at once")
	})
}

// TestShutdownOverLossyLink: Shutdown returns when all has been delivered, whatever gets lost.
func TestShutdownOverLossyLink(t *testing.T) {
	const conns = 5
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			server, client, _ := simulated(t, seed, simnet.Link{Latency: simRTT / 4, Loss: 0.05}, nil)
			l := listen(t, server)
			arrived := make(chan int, 2*conns)
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						b, err := io.ReadAll(c)
						if len(b) == 0 && errors.Is(err, syscall.ECONNRESET) {
							return // of two SYNs of one dial both were answered
						}
						assert.NoError(t, err)
						if assert.GreaterOrEqual(t, len(b), 4) {
							n := int(binary.BigEndian.Uint32(b))
							assert.True(t, string(b[4:]) == string(random(byte(n), n*50_000)), "connection %d", n)
						}
						assert.NoError(t, c.Close())
						arrived <- len(b)
					}()
				}
			}()
			for n := range conns {
				c := dial(t, client, server.Addr().String())
				_, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(n)), random(byte(n), n*50_000)...))
				require.NoError(t, err)
				require.NoError(t, c.Close())
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			require.NoError(t, client.Shutdown(ctx))
			synctest.Wait()
			require.Len(t, arrived, conns, "all is there when Shutdown returns")
			time.Sleep(2 * time.Minute) // the last acknowledgement may be lost
			require.Zero(t, server.Stats().Conns)
		})
	}
}
