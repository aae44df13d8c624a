package utp

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"utppunch/utp/internal/engine"
)

// Datagrams is what an [Endpoint] has sent: one datagram, or a run of datagrams
// of Segment bytes each, the last of which may be shorter.
type Datagrams struct {
	Data     []byte // the datagrams, one after the other
	Segment  int    // bytes of each
	Fragment bool   // may be fragmented on the way; otherwise it must not be
	Route    Route  // where they go, and leave from
}

// PacketWriter sends datagrams for an [Endpoint]. It must be safe for concurrent
// use. The data belongs to the caller again when a call returns.
type PacketWriter interface {
	// TryWrite sends without ever waiting and returns how many bytes, whole
	// datagrams, were sent; ErrWouldBlock, bare, when the rest was not.
	TryWrite(Datagrams) (int, error)
	// Write waits for room. Only the goroutine that runs [Endpoint.Run] calls it.
	Write(Datagrams) (int, error)
}

// Endpoint is any number of connections that share sockets, without the sockets:
// whoever owns those hands it what arrives ([Receiver]) and sends for it
// ([PacketWriter]). All methods are safe for concurrent use.
type Endpoint struct {
	// immutable
	config       Config
	writer       PacketWriter
	bound        func() net.Addr
	epoch        time.Time
	params4      *engine.Params
	params6      *engine.Params
	outgoing     sync.Pool // of *outgoing
	conds        sync.Pool // of *sharedCond, for waiters
	dialTimers   sync.Pool // of *time.Timer, for Dial; fresh ones would leave gaps between those of connections
	memory       memory
	accepted     atomic.Uint64
	dialed       atomic.Uint64
	synDropped   atomic.Uint64
	backlogReset atomic.Uint64
	unroutable   atomic.Uint64
	resetsSent   atomic.Uint64
	sendErrors   atomic.Uint64
	undelivered  atomic.Uint64
	crowded      atomic.Bool // the system had no room: only the sender sends

	ready readyList

	// mu is the first lock in the order Endpoint.mu → Conn.mu → readyList.mu.
	mu sync.RWMutex
	// guarded by mu
	table    table
	halfOpen halfOpen
	listener *Listener
	closed   bool
	stopping bool        // Shutdown was called
	empty    sync.Cond   // the last connection has ended; on mu
	sweeper  *time.Timer // forgets tombstones
	sweeping bool        // it is armed
	random   *randomSource
}

// clockStart keeps the zero engine.Time free to mean "not set".
const clockStart = engine.Time(time.Second)

// NewEndpoint returns an endpoint that sends through w. bound tells the local
// address for connections of which no more is known. The caller runs Run in a
// goroutine and ends with Close.
func NewEndpoint(config *Config, w PacketWriter, bound func() net.Addr) (*Endpoint, error) {
	if config == nil {
		config = new(Config)
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	e := &Endpoint{
		config: *config,
		writer: w,
		bound:  bound,
		epoch:  time.Now(),
		random: newRandomSource(),
	}
	e.params4 = config.params(&e.memory, false)
	e.params6 = config.params(&e.memory, true)
	e.outgoing.New = func() any { return &outgoing{buf: make([]byte, engine.MaxChunk)} }
	e.conds.New = func() any { return new(sharedCond) }
	e.dialTimers.New = func() any { return time.NewTimer(0) }
	e.empty.L = &e.mu
	e.table.init()
	e.halfOpen.init()
	e.ready.init()
	return e, nil
}

func (e *Endpoint) now() engine.Time { return clockStart + engine.Time(time.Since(e.epoch)) }

func (e *Endpoint) lingerOff() bool { return e.config.Linger < 0 }

func (e *Endpoint) params(remote netip.Addr) (p *engine.Params, ipv6 bool) {
	if remote.Is4() {
		return e.params4, false
	}
	return e.params6, true
}

func (e *Endpoint) localAddr(r Route) net.Addr {
	bound := e.bound()
	a, ok := bound.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return bound
	}
	if r.Local.IsValid() {
		return NewAddr(netip.AddrPortFrom(r.Local, a.AddrPort().Port()))
	}
	return NewAddr(a.AddrPort())
}

// Run sends for connections what they do not send themselves, until Close.
func (e *Endpoint) Run() {
	var answers []control
	for {
		var c *Conn
		var ok bool
		if answers, c, ok = e.ready.next(answers[:0]); !ok {
			return
		}
		for i := range answers {
			a := &answers[i]
			d := Datagrams{Data: a.data[:a.len], Segment: int(a.segment), Route: a.route}
			if _, err := e.writer.Write(d); err != nil {
				e.sendErrors.Add(1)
			}
		}
		if c != nil {
			c.flushFromSender()
		}
	}
}

// answer has the sender send what belongs to no connection. b holds one or two
// bare headers.
func (e *Endpoint) answer(r Route, b []byte, segment int) bool {
	a := control{route: r, segment: uint8(segment), len: uint8(len(b))}
	copy(a.data[:], b)
	return e.ready.pushControl(a)
}

// bind gives a dialled connection the local address that its packets turned out
// to be sent to. It reports false if they may not come here.
func (e *Endpoint) bind(c *Conn, route Route) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.route.Local.IsValid() || !e.table.has(c) || !e.table.free(route, c.connIDRecv, e.now()) {
		return false
	}
	c.mu.Lock()
	e.table.bind(c, route.Local)
	c.mu.Unlock()
	return true
}

// ended takes a connection out of the table, and leaves a tombstone if the peer
// may still repeat its end of stream.
func (e *Endpoint) ended(c *Conn) {
	now := e.now()
	c.mu.Lock()
	tomb, bury := c.engine.Tombstone(now)
	if c.closed {
		c.countUndeliveredLocked()
	}
	c.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if bury && !e.closed {
		e.table.bury(c, tomb)
		e.sweepLocked(now)
	} else {
		e.table.remove(c)
	}
	e.halfOpen.remove(c)
	if e.table.count == 0 {
		e.empty.Broadcast()
	}
}

// sweepLocked forgets tombstones that are due and arms the timer for the next.
func (e *Endpoint) sweepLocked(now engine.Time) {
	next := e.table.expire(now)
	if next == 0 || e.sweeping || e.closed {
		return
	}
	e.sweeping = true
	d := next.Sub(now)
	if e.sweeper != nil {
		e.sweeper.Reset(d)
		return
	}
	e.sweeper = time.AfterFunc(d, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.sweeping = false
		e.sweepLocked(e.now())
	})
}

// Stats returns a snapshot of the endpoint's counters.
func (e *Endpoint) Stats() EndpointStats {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return EndpointStats{
		Conns:        e.table.count,
		HalfOpen:     e.halfOpen.len(),
		Tombstones:   e.table.tombstones(),
		Accepted:     e.accepted.Load(),
		Dialed:       e.dialed.Load(),
		SynDropped:   e.synDropped.Load(),
		BacklogReset: e.backlogReset.Load(),
		Unroutable:   e.unroutable.Load(),
		ResetsSent:   e.resetsSent.Load(),
		SendErrors:   e.sendErrors.Load(),
		Undelivered:  e.undelivered.Load(),
	}
}

// Shutdown stops listening and dialling, and waits until every connection has
// ended and what it had to say has left. It ends none: those that the program
// has not closed go on until it does, or until ctx ends; then its error is
// returned. ErrUndelivered says that everything has ended, but a connection that
// was closed timed out meanwhile, before its peer had acknowledged all that was
// written. Call Close afterwards.
func (e *Endpoint) Shutdown(ctx context.Context) error {
	lost := e.undelivered.Load()
	e.mu.Lock()
	l := e.listener
	e.stopping = true
	e.mu.Unlock()
	if l != nil {
		l.Close()
	}
	for _, c := range e.allConns() {
		c.mu.Lock()
		c.engine.Hurry(c.tick())
		c.unlock()
	}
	stop := context.AfterFunc(ctx, func() {
		e.mu.Lock()
		e.empty.Broadcast()
		e.mu.Unlock()
		e.ready.poke()
	})
	defer stop()
	e.mu.Lock()
	for e.table.count > 0 && ctx.Err() == nil {
		e.empty.Wait()
	}
	ended := e.table.count == 0
	e.mu.Unlock()
	drained := e.ready.drain(func() bool { return ctx.Err() == nil })
	switch {
	case !ended || !drained:
		return ctx.Err()
	case e.undelivered.Load() > lost:
		return ErrUndelivered
	}
	return nil
}

// Close ends everything now: every connection is reset and fails with
// net.ErrClosed, dials and Accept return, and Run ends. A second Close does
// nothing.
func (e *Endpoint) Close() {
	e.mu.Lock()
	e.closed, e.stopping = true, true
	l := e.listener
	if e.sweeper != nil {
		e.sweeper.Stop()
	}
	e.mu.Unlock()
	for _, c := range e.allConns() {
		c.shut()
	}
	if l != nil {
		l.Close()
	}
	// What the RESETs could not be sent with directly, the sender sends, if it
	// can do so at once.
	late := false
	timer := time.AfterFunc(closePatience, func() {
		e.ready.mu.Lock()
		late = true
		e.ready.drained.Broadcast()
		e.ready.mu.Unlock()
	})
	e.ready.drain(func() bool { return !late })
	timer.Stop()
	e.ready.close()
}

// closePatience is how long Close waits for the sender at the most.
const closePatience = 50 * time.Millisecond

// shut ends a connection because its endpoint is closed.
func (c *Conn) shut() {
	c.mu.Lock()
	c.closed = true
	c.engine.Abort()
	c.readDL.stop()
	c.writeDL.stop()
	c.flushLocked()
	for c.trying {
		// Whoever it is sends the RESET: the socket has to stay open meanwhile.
		c.writable.wait(&c.mu, &c.endpoint.conds)
	}
	c.unlock()
}

func (e *Endpoint) allConns() []*Conn {
	e.mu.RLock()
	defer e.mu.RUnlock()
	all := make([]*Conn, 0, e.table.count)
	for _, c := range e.table.conns {
		for ; c != nil; c = c.next {
			all = append(all, c)
		}
	}
	return all
}
