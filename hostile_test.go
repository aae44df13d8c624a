package utppunch_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch/internal/simnet"
)

// attacker sends what it likes: from a host of its own, or with the address of the client as its sender.
type attacker struct {
	t       *testing.T
	rng     *rand.Rand
	network *simnet.Network
	own     net.PacketConn
	spoofed net.PacketConn // the client's own port: to the server it is all the same
	target  net.Addr

	mu     sync.Mutex
	newest []byte // the head of the client's latest packet to the server
}

// newAttacker sits on the path from client to server and sees everything.
func newAttacker(t *testing.T, n *simnet.Network, server, client interface {
	PacketConn() net.PacketConn
	Addr() net.Addr
}) *attacker {
	t.Helper()
	own, err := n.Listen(netip.MustParseAddrPort("10.6.6.6:666"), simnet.Link{}, simnet.Link{})
	require.NoError(t, err)
	a := &attacker{
		t: t, rng: rand.New(rand.NewPCG(1, 1)), network: n,
		own: own, spoofed: client.PacketConn(), target: server.Addr(),
	}
	from, to := addrPort(client.Addr()), addrPort(server.Addr())
	n.SetFilter(func(p simnet.Packet) simnet.Verdict {
		if p.From == from && p.To == to && len(p.Data) >= 20 && binary.BigEndian.Uint32(p.Data[4:]) != forgedTimestamp {
			a.mu.Lock()
			a.newest = append(a.newest[:0], p.Data[:20]...)
			a.mu.Unlock()
		}
		return simnet.Pass
	})
	return a
}

// live returns the connection id, seq_nr and ack_nr that the client has just used.
func (a *attacker) live() (id, seq, ack uint16) {
	a.mu.Lock()
	defer a.mu.Unlock()
	require.Len(a.t, a.newest, 20)
	return binary.BigEndian.Uint16(a.newest[2:]), binary.BigEndian.Uint16(a.newest[16:]), binary.BigEndian.Uint16(a.newest[18:])
}

func (a *attacker) send(pc net.PacketConn, b []byte) {
	_, err := pc.WriteTo(b, a.target)
	require.NoError(a.t, err)
}

func (a *attacker) uint16() uint16 { return uint16(a.rng.Uint32()) }

// bytes returns fewer than most bytes of noise.
func (a *attacker) bytes(most int) []byte {
	from := a.rng.IntN(len(noise) - most)
	return noise[from : from+a.rng.IntN(most)]
}

var noise = random(99, 64<<10)

// malformed returns a datagram that is not uTP.
func (a *attacker) malformed() []byte {
	header := utpHeader(byte(a.rng.IntN(5))<<4|1, 0, a.uint16(), a.uint16(), a.uint16())
	switch a.rng.IntN(5) {
	case 0: // cut short
		return header[:a.rng.IntN(20)]
	case 1: // another version
		header[0] = header[0]&0xf0 | byte(2+a.rng.IntN(14))
		return append(header, a.bytes(1400)...)
	case 2: // another type
		header[0] = byte(5+a.rng.IntN(11))<<4 | 1
		return append(header, a.bytes(1400)...)
	case 3: // an extension that leaves the datagram
		header[1] = byte(1 + a.rng.IntN(255))
		header = append(header, byte(a.rng.Uint32()), 200)
		return append(header, a.bytes(200)...)
	default: // a chain without an end
		header[1] = 1
		for range 33 + a.rng.IntN(500) {
			header = append(header, 1, 0)
		}
		return header
	}
}

// stray returns a well-formed packet of no connection.
func (a *attacker) stray() []byte {
	b := utpHeader(byte(a.rng.IntN(5))<<4|1, 0, a.uint16(), a.uint16(), a.uint16())
	return append(b, a.bytes(1400)...)
}

// forged returns a packet of the connection that cannot be the client's.
func (a *attacker) forged() []byte {
	id, seq, ack := a.live()
	far := uint16(5000 + a.rng.IntN(20_000))
	switch a.rng.IntN(3) {
	case 0: // RESET with an acknowledgement that is neither old nor new
		return utpHeader(0x31, 0, id, seq, ack+far)
	case 1: // DATA that acknowledges what was never sent
		return append(utpHeader(0x01, 0, id, seq+1, ack+far), a.bytes(1400)...)
	default: // FIN, likewise
		return utpHeader(0x11, 0, id, seq+1, ack+far)
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // and what pools keep for one turn
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestHostileDatagrams: 100,000 of them arrive during a transfer. Each is counted, and nothing else happens.
func TestHostileDatagrams(t *testing.T) {
	const flood = 100_000
	synctest.Test(t, func(t *testing.T) {
		server, client, network := simulated(t, 1, simnet.Link{Latency: time.Millisecond}, nil)
		c, peer := mustConnect(t, server, client)
		write(c, 1)
		read(peer)
		attacker := newAttacker(t, network, server, client)
		write(c, 1)
		read(peer)
		before, memory := server.Stats(), heapInUse()

		stop, sent := make(chan struct{}), make(chan int)
		chunk := random(1, 64<<10)
		go func() {
			n := 0
			for ; ; n++ {
				select {
				case <-stop:
					assert.NoError(t, c.CloseWrite())
					sent <- n
					return
				default:
					_, err := c.Write(chunk)
					assert.NoError(t, err)
					time.Sleep(5 * time.Millisecond) // 100 Mbit/s
				}
			}
		}()
		arrived := make(chan int)
		go func() {
			b := make([]byte, len(chunk))
			for n := 0; ; n++ {
				if _, err := io.ReadFull(peer, b); err != nil {
					assert.Equal(t, io.EOF, err)
					arrived <- n
					return
				}
				assert.True(t, string(b) == string(chunk), "the data arrives as it was sent")
			}
		}()

		var malformed, stray, forged uint64
		for i := range flood {
			switch {
			case i%10 < 5:
				attacker.send(attacker.own, attacker.malformed())
				malformed++
			case i%10 < 7:
				attacker.send(attacker.spoofed, attacker.malformed())
				malformed++
			case i%10 < 9:
				attacker.send(attacker.own, attacker.stray())
				stray++
			default:
				attacker.send(attacker.spoofed, attacker.forged())
				forged++
			}
			if i%20 == 0 {
				time.Sleep(200 * time.Microsecond)
			}
		}
		close(stop)
		n := <-sent
		require.Greater(t, n, 10, "there was a transfer")
		require.Equal(t, n, <-arrived)
		time.Sleep(time.Second)

		after := server.Stats()
		grown := heapInUse() - memory
		require.Equal(t, malformed, after.ForeignDropped-before.ForeignDropped)
		require.Equal(t, stray, after.Unroutable-before.Unroutable)
		require.Equal(t, forged, peer.Stats().Invalid)
		require.Equal(t, before.Conns, after.Conns)
		require.Less(t, after.ResetsSent, uint64(1000), "RESETs are limited")
		require.Less(t, grown, int64(4<<20), "bytes of memory")
		t.Logf("%d chunks of 64 KiB; memory grew by %d bytes", n, grown)

		write(peer, 5)
		require.NoError(t, read(c).err, "the other direction is still there")
	})
}

// TestForgedPackets: numbers alone do not make a packet part of a connection, nor does an address.
func TestForgedPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client, network := simulated(t, 1, simnet.Link{Latency: time.Millisecond}, nil)
		c, peer := mustConnect(t, server, client)
		go echoConn(peer)
		attacker := newAttacker(t, network, server, client)
		requireEcho(t, c, "hello")
		for _, spoofed := range []bool{false, true} {
			for i, forge := range []func(id, seq, ack uint16) []byte{
				// From another port even right numbers are of no use.
				func(id, seq, ack uint16) []byte { return utpHeader(0x31, 0, id, seq, ack) },
				func(id, seq, ack uint16) []byte { return append(utpHeader(0x01, 0, id, seq, ack), "evil"...) },
				func(id, seq, ack uint16) []byte { return utpHeader(0x21, 0, id, seq, ack) },
				func(id, seq, ack uint16) []byte { return utpHeader(0x11, 0, id, seq, ack) },
				// From the client's, wrong ones are of none.
				func(id, seq, ack uint16) []byte { return utpHeader(0x31, 0, id, seq, ack+2) },
				func(id, seq, ack uint16) []byte { return utpHeader(0x31, 0, id, seq, ack-10) },
				func(id, seq, ack uint16) []byte { return append(utpHeader(0x01, 0, id, seq, ack+1), "evil"...) },
				func(id, seq, ack uint16) []byte { return append(utpHeader(0x01, 0, id, seq, ack-1000), "evil"...) },
				func(id, seq, ack uint16) []byte { return utpHeader(0x21, 0, id, seq, ack+1) },
				func(id, seq, ack uint16) []byte { return utpHeader(0x11, 0, id, seq, ack+1) },
				// And an id that is not in use is no connection's.
				func(id, seq, ack uint16) []byte { return utpHeader(0x31, 0, id+4, seq, ack) },
				func(id, seq, ack uint16) []byte { return append(utpHeader(0x01, 0, id+4, seq, ack), "evil"...) },
			} {
				if spoofed && i < 4 {
					continue
				}
				from := attacker.own
				if spoofed {
					from = attacker.spoofed
				}
				what := fmt.Sprintf("packet %d, spoofed %v", i, spoofed)
				time.Sleep(time.Second) // all is acknowledged
				before, invalid := server.Stats(), peer.Stats().Invalid
				attacker.send(from, forge(attacker.live()))
				time.Sleep(time.Second)
				after := server.Stats()
				require.EqualValues(t, 1, after.Unroutable-before.Unroutable+peer.Stats().Invalid-invalid, what)
				require.Equal(t, before.Conns, after.Conns, what)
				requireEcho(t, c, what)
			}
		}
	})
}

// TestSYNFlood: connections that nobody confirms are bounded, get no more than they sent, and keep nobody out.
func TestSYNFlood(t *testing.T) {
	const sources, syns = 100, 200
	synctest.Test(t, func(t *testing.T) {
		server, client, network := simulated(t, 1, simnet.Link{}, nil)
		l := listen(t, server)
		memory := heapInUse()
		var mu sync.Mutex
		var received, answered int // bytes
		victim := addrPort(server.Addr())
		network.SetFilter(func(p simnet.Packet) simnet.Verdict {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case p.To.Port() == 666:
				answered += len(p.Data)
			case p.From.Port() == 666 && p.To == victim:
				received += len(p.Data)
			}
			return simnet.Pass
		})
		for i := range sources {
			source, err := network.Listen(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 6, 6, byte(i)}), 666), simnet.Link{}, simnet.Link{})
			require.NoError(t, err)
			for j := range syns {
				_, err := source.WriteTo(utpHeader(0x41, 0, uint16(2*j), uint16(j), 0), server.Addr())
				require.NoError(t, err)
			}
			synctest.Wait()
			time.Sleep(10 * time.Millisecond)
			require.LessOrEqual(t, server.Stats().HalfOpen, 4096)
			if i%20 == 19 {
				c := dial(t, client, server.Addr().String())
				peer := accept(t, l)
				require.Equal(t, client.Addr(), peer.RemoteAddr(), "nobody else is a connection")
				go echoConn(peer)
				requireEcho(t, c, "hello")
				require.NoError(t, c.Close())
			}
		}
		require.Greater(t, server.Stats().HalfOpen, 1000)
		require.Less(t, heapInUse()-memory, int64(24<<20))

		time.Sleep(time.Minute)
		require.Zero(t, server.Stats().HalfOpen)
		require.Zero(t, server.Stats().Conns)
		require.Less(t, heapInUse()-memory, int64(4<<20), "bytes of memory that it cost for good")
		mu.Lock()
		defer mu.Unlock()
		require.LessOrEqual(t, answered, 3*received, "RFC 9000, section 8.1")
	})
}

// TestFlood is hostile datagrams on a real socket, as fast as they come.
func TestFlood(t *testing.T) {
	server, client := openPair(t)
	c, peer := mustConnect(t, server, client)
	attacker := &attacker{t: t, rng: rand.New(rand.NewPCG(1, 1)), target: server.Addr()}
	outsider, err := net.Dial("udp4", server.Addr().String())
	require.NoError(t, err)
	defer outsider.Close()

	stop := make(chan struct{})
	var flood sync.WaitGroup
	flood.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				outsider.Write(attacker.malformed())
				outsider.Write(attacker.stray())
				outsider.Write(attacker.bytes(100))
			}
		}
	})
	waitFor(t, "the flood has begun", func() bool {
		s := server.Stats()
		return s.ForeignDropped > 1000 && s.Unroutable > 1000
	})
	data := random(1, 8<<20)
	go func() {
		_, err := c.Write(data)
		assert.NoError(t, err)
		assert.NoError(t, c.Close())
	}()
	got, err := io.ReadAll(peer)
	close(stop)
	flood.Wait()
	require.NoError(t, err)
	require.True(t, string(got) == string(data), "the data arrived as it was sent")
}
