package utp

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/require"
)

// pair is two Endpoints, a and b, and the network between them, in virtual time.
type pair struct {
	t        *testing.T
	a, b     *testEndpoint
	toA, toB *link
}

// pairDelay is how long a datagram of a pair is on its way.
const pairDelay = 5 * time.Millisecond

func TestTestPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		// Hooks of a link lose datagrams or make them late.
		lost := 0
		p.toB.drop = func(d *datagram) bool {
			if d.Type == wire.Syn && lost == 0 {
				lost++
				return true
			}
			return false
		}
		start := time.Now()
		dialled, accepted := p.connect()
		require.Equal(t, time.Second+3*pairDelay, time.Since(start), "the second SYN is answered, the answer confirmed")
		require.True(t, dialled.Stats().OwnKind && accepted.Stats().OwnKind)

		sent := pattern(100_000)
		write := runAsync(t, func() (int, error) { return dialled.Write(sent) })
		received := make([]byte, len(sent))
		_, err := io.ReadFull(accepted, received)
		require.NoError(t, err)
		require.True(t, bytes.Equal(sent, received))
		require.Equal(t, len(sent), write.value("all was read"))
	})
}

func newPair(t *testing.T, config *Config) *pair {
	t.Helper()
	p := &pair{t: t, a: newTestEndpoint(t, config), b: newTestEndpoint(t, config)}
	p.toA = newLink(t, p.a, Route{Remote: bob.Remote, Local: bob.Local})
	p.toB = newLink(t, p.b, Route{Remote: alice.Remote, Local: alice.Local})
	p.a.w.out, p.b.w.out = p.toB.push, p.toA.push
	p.a.w.silent, p.b.w.silent = true, true
	return p
}

// connect has a dial b.
func (p *pair) connect() (dialled, accepted *Conn) {
	p.t.Helper()
	if p.b.listener == nil {
		p.b.listen()
	}
	dialled, err := p.a.Dial(p.t.Context(), Route{Remote: bob.Remote})
	require.NoError(p.t, err)
	accepted, err = p.b.accept().settled()
	require.NoError(p.t, err)
	return dialled, accepted
}

// settled waits for the end of a call, however long that takes.
func (a *async[T]) settled() (T, error) {
	<-a.done
	return a.v, a.e
}

// link is one direction of the network: it hands datagrams to an endpoint, in
// order of their arrival.
type link struct {
	to      *Receiver
	route   Route // as the receiving endpoint sees it
	latency time.Duration

	mu   sync.Mutex
	wake sync.Cond
	// guarded by mu
	drop     func(*datagram) bool          // hook: which datagrams are lost
	lateness func(*datagram) time.Duration // hook: how much later they arrive
	queue    []transit                     // in order of arrival
	closed   bool
}

type transit struct {
	at    time.Time
	bytes []byte
}

func newLink(t *testing.T, to *testEndpoint, route Route) *link {
	l := &link{to: to.NewReceiver(), route: route, latency: pairDelay}
	l.wake.L = &l.mu
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run()
	}()
	t.Cleanup(func() {
		l.mu.Lock()
		l.closed = true
		l.wake.Broadcast()
		l.mu.Unlock()
		<-done
	})
	return l
}

// push sends a datagram on its way.
func (l *link) push(d datagram) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drop != nil && l.drop(&d) {
		return
	}
	at := time.Now().Add(l.latency)
	if l.lateness != nil {
		at = at.Add(l.lateness(&d))
	}
	i := len(l.queue)
	for i > 0 && l.queue[i-1].at.After(at) {
		i--
	}
	l.queue = slices.Insert(l.queue, i, transit{at, d.bytes})
	l.wake.Signal()
}

// run is the reader of the receiving endpoint.
func (l *link) run() {
	for {
		batch := l.due()
		if batch == nil {
			return
		}
		l.to.Begin()
		for _, b := range batch {
			l.to.Packet(l.route, b.bytes)
		}
		l.to.End()
	}
}

// due waits for datagrams that have arrived; nil is the end.
func (l *link) due() []transit {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		n := 0
		for n < len(l.queue) && !l.queue[n].at.After(time.Now()) {
			n++
		}
		switch {
		case l.closed:
			return nil
		case n > 0:
			batch := l.queue[:n:n]
			l.queue = l.queue[n:]
			return batch
		case len(l.queue) > 0:
			timer := time.AfterFunc(time.Until(l.queue[0].at), func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.wake.Signal()
			})
			l.wake.Wait()
			timer.Stop()
		default:
			l.wake.Wait()
		}
	}
}

// pattern returns n bytes of which no two pieces are alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// readAll reads until the end of the stream.
func readAll(t *testing.T, c *Conn) *async[[]byte] {
	return runAsync(t, func() ([]byte, error) { return io.ReadAll(c) })
}
