//go:build interop

package interop

import (
	"container/heap"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// path is what a relay does to datagrams, the same in both directions.
type path struct {
	delay     time.Duration // one way
	loss      float64       // probabilities
	duplicate float64
	reorder   float64 // later than up to a dozen that follow it: by up to half a delay
}

// direction is one of the two of a relay.
type direction int

const (
	toServer direction = iota // from the one who dials
	toClient
)

func (d direction) String() string {
	return [...]string{"to the listener", "to the dialler"}[d]
}

// relay is a UDP port that stands for another: what one client sends to it goes on to the server, and back.
type relay struct {
	client, server *net.UDPConn // the sockets that they talk to
	target         netip.AddrPort
	source         atomic.Pointer[netip.AddrPort] // of the client
	lanes          [2]lane
	capture        capture
	tasks          sync.WaitGroup
}

// lane is one direction of a relay.
type lane struct {
	d       direction
	capture *capture
	path    path
	rand    *rand.Rand
	// filter sees every datagram, which is the n-th of its direction, from 1 on; those for which it returns false are
	// dropped. It may be changed at any time.
	filter atomic.Pointer[func(n int, data []byte) bool]
	n      int
	send   func([]byte)

	mu      sync.Mutex
	waiting delayed
	timer   *time.Timer
	closed  bool
}

// relayBuffer keeps the relay itself from losing what it is not told to: a sender's burst on the loopback interface.
const relayBuffer = 4 << 20

// newRelay starts a relay to a port of this host. It ends with the test.
func newRelay(t *testing.T, seed uint64, target int, p path) *relay {
	t.Helper()
	r := &relay{target: local(target)}
	for _, socket := range []**net.UDPConn{&r.client, &r.server} {
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(local(0)))
		require.NoError(t, err)
		require.NoError(t, c.SetReadBuffer(relayBuffer))
		*socket = c
	}
	// An error is that of a port that nobody has, which is like a loss.
	r.lanes[toServer].send = func(b []byte) { _, _ = r.server.WriteToUDPAddrPort(b, r.target) }
	r.lanes[toClient].send = func(b []byte) {
		if to := r.source.Load(); to != nil {
			_, _ = r.client.WriteToUDPAddrPort(b, *to)
		}
	}
	for i := range r.lanes {
		l := &r.lanes[i]
		l.capture, l.d = &r.capture, direction(i)
		l.path, l.rand = p, rand.New(rand.NewPCG(seed, uint64(i)))
		l.timer = time.AfterFunc(time.Hour, l.expire)
	}
	r.tasks.Go(func() { r.read(r.client, toServer) })
	r.tasks.Go(func() { r.read(r.server, toClient) })
	t.Cleanup(func() {
		r.close()
		if t.Failed() {
			t.Logf("the relay saw:\n%v", &r.capture)
		}
	})
	return r
}

func local(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
}

// port is where the client finds the server.
func (r *relay) port() int { return portOf(r.client.LocalAddr()) }

func portOf(a net.Addr) int {
	return int(a.(interface{ AddrPort() netip.AddrPort }).AddrPort().Port())
}

func (r *relay) close() {
	_ = r.client.Close()
	_ = r.server.Close()
	r.tasks.Wait()
	for i := range r.lanes {
		r.lanes[i].close()
	}
}

// filter sets the filter of one direction.
func (r *relay) filter(d direction, f func(n int, data []byte) bool) { r.lanes[d].filter.Store(&f) }

// cut drops everything in both directions from now on.
func (r *relay) cut() {
	for d := range r.lanes {
		r.filter(direction(d), func(int, []byte) bool { return false })
	}
}

func (r *relay) read(from *net.UDPConn, d direction) {
	buf := make([]byte, 1<<16)
	for {
		n, source, err := from.ReadFromUDPAddrPort(buf)
		if err != nil {
			return // closed
		}
		if d == toServer {
			r.source.Store(&source)
		}
		r.lanes[d].take(buf[:n])
	}
}

// take decides what becomes of a datagram. Only the reader calls it.
func (l *lane) take(b []byte) {
	l.n++
	f := l.filter.Load()
	lost := l.rand.Float64() < l.path.loss || f != nil && !(*f)(l.n, b)
	l.capture.add(l.d, b, lost)
	if lost {
		return
	}
	copies := 1
	if l.rand.Float64() < l.path.duplicate {
		copies = 2
	}
	for range copies {
		delay := l.path.delay
		if l.rand.Float64() < l.path.reorder {
			delay += time.Duration(l.rand.Int64N(int64(max(l.path.delay/2, time.Millisecond))))
		}
		if delay == 0 {
			l.send(b)
			continue
		}
		l.later(time.Now().Add(delay), append([]byte(nil), b...))
	}
}

func (l *lane) later(at time.Time, b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	heap.Push(&l.waiting, datagram{at: at, seq: l.waiting.next, data: b})
	l.waiting.next++
	if l.waiting.queue[0].seq == l.waiting.next-1 {
		l.timer.Reset(time.Until(at))
	}
}

// expire sends what is due. The timer runs it, and nothing else sends then.
func (l *lane) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for l.waiting.Len() > 0 && !l.closed {
		if at := l.waiting.queue[0].at; at.After(now) {
			l.timer.Reset(at.Sub(now))
			return
		}
		l.send(heap.Pop(&l.waiting).(datagram).data)
	}
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.timer.Stop()
}

// delayed is the datagrams that are under way, by the time of their arrival and, at the same time, in order.
type delayed struct {
	queue []datagram
	next  uint64
}

type datagram struct {
	at   time.Time
	seq  uint64
	data []byte
}

func (d *delayed) Len() int { return len(d.queue) }
func (d *delayed) Less(i, j int) bool {
	a, b := d.queue[i], d.queue[j]
	return a.at.Before(b.at) || a.at.Equal(b.at) && a.seq < b.seq
}
func (d *delayed) Swap(i, j int) { d.queue[i], d.queue[j] = d.queue[j], d.queue[i] }
func (d *delayed) Push(x any)    { d.queue = append(d.queue, x.(datagram)) }
func (d *delayed) Pop() any {
	last := len(d.queue) - 1
	x := d.queue[last]
	d.queue[last] = datagram{}
	d.queue = d.queue[:last]
	return x
}
