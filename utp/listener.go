package utp

import (
	"errors"
	"net"
	"sync"

	"utppunch/utp/internal/engine"
	"utppunch/utp/internal/wire"
)

// ErrListening is returned by Listen while there is another Listener.
var ErrListening = errors.New("already listening on this port")

// Listener accepts the inbound connections of an [Endpoint]. It implements
// [net.Listener]. All methods are safe for concurrent use.
type Listener struct {
	endpoint *Endpoint

	// mu is taken with no other lock held, or after Endpoint.mu.
	mu     sync.Mutex
	wake   sync.Cond
	queue  []*Conn // confirmed, in order
	closed bool
}

// Listen starts accepting inbound connections. There is at most one Listener at
// a time; ErrListening says that there is one.
func (e *Endpoint) Listen() (*Listener, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.stopping:
		return nil, opError("listen", nil, e.bound(), net.ErrClosed)
	case e.listener != nil:
		return nil, opError("listen", nil, e.bound(), ErrListening)
	}
	l := &Listener{endpoint: e}
	l.wake.L = &l.mu
	e.listener = l
	return l, nil
}

// Accept waits for the next connection and returns it, an *[Conn]. A connection
// is returned when the peer has confirmed it, not at its first packet, and is
// ready for both reading and writing. After Close the error matches
// net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.wake.Wait()
	}
	if l.closed {
		return nil, opError("accept", nil, l.Addr(), net.ErrClosed)
	}
	c := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	return c, nil
}

// Addr returns the address that is listened on.
func (l *Listener) Addr() net.Addr { return l.endpoint.localAddr(Route{}) }

// Close stops listening. Connections that were accepted go on; those that were
// not are reset. A second Close returns net.ErrClosed.
func (l *Listener) Close() error {
	e := l.endpoint
	e.mu.Lock()
	var waiting []*Conn
	if e.listener == l {
		e.listener = nil
		for c := range e.halfOpen.conns {
			waiting = append(waiting, c)
		}
	}
	e.mu.Unlock()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return opError("close", nil, l.Addr(), net.ErrClosed)
	}
	l.closed = true
	waiting = append(waiting, l.queue...)
	l.queue = nil
	l.wake.Broadcast()
	l.mu.Unlock()
	for _, c := range waiting {
		c.abort()
	}
	return nil
}

// offer queues a confirmed connection and reports whether there was room.
func (l *Listener) offer(c *Conn, backlog int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.queue) >= backlog {
		return false
	}
	l.queue = append(l.queue, c)
	l.wake.Signal()
	return true
}

func (l *Listener) full(backlog int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) >= backlog
}

// abort resets a connection that nobody has got hold of. The sender says so to
// the peer: the reader may be the one who calls.
func (c *Conn) abort() {
	c.mu.Lock()
	c.closed = true
	c.engine.Abort()
	if c.wantsLocked() && !c.flushing {
		c.endpoint.ready.push(c)
	}
	c.unlock()
}

// handleSyn answers a SYN. It runs on the reader: nothing is sent here.
func (e *Endpoint) handleSyn(now engine.Time, route Route, p *wire.Packet, resets *resetBudget) {
	if p.ConnID == 0xffff || e.config.Dialect == UTPPunch && p.ConnID&1 != 0 {
		// The initiator would send with id 0; libutp fails there too. And the ids
		// that utp-punch dials with are even.
		e.synDropped.Add(1)
		return
	}
	c, replaced := e.admit(now, route, p, resets)
	if replaced != nil {
		replaced.forget()
	}
	if c == nil {
		return
	}
	c.mu.Lock()
	c.engine.RepeatSynAck()
	if c.wantsLocked() && !c.flushing {
		e.ready.push(c)
	}
	c.unlock()
}

// admit finds the connection that a SYN belongs to, or makes one, if there is
// room. A half-open connection that it takes the place of is returned too.
func (e *Endpoint) admit(now engine.Time, route Route, p *wire.Packet, resets *resetBudget) (c, replaced *Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	backlog := withDefault(e.config.Backlog, defaultBacklog)
	switch found := e.table.lookup(route, e.acceptedID(p)); {
	case found.conn != nil && found.conn.synSeqNr == p.SeqNr:
		return found.conn, nil
	case found.conn != nil && !e.halfOpen.has(found.conn):
		// BEP 29: the SYN of an id in use is ignored.
		e.synDropped.Add(1)
		return nil, nil
	case found.conn != nil:
		replaced = found.conn
	case found.tomb != nil && found.tomb.SynSeqNr == p.SeqNr, e.duplicateLocked(route, p):
		return nil, nil // a late duplicate
	case e.dialsLocked(route, p), e.table.crowded(route.key(e.acceptedID(p))):
		e.synDropped.Add(1)
		return nil, nil
	}
	switch {
	case e.closed:
		return nil, nil
	case e.listener == nil:
		e.unroutable.Add(1)
		e.sendReset(now, route, p, resets)
		return nil, nil
	case e.listener.full(backlog), e.fullLocked():
		e.synDropped.Add(1)
		return nil, nil
	}
	if replaced == nil {
		replaced = e.halfOpen.victim(route.Remote.Addr())
	}
	if replaced != nil {
		e.table.remove(replaced)
		e.halfOpen.remove(replaced)
	}
	c = newConn(e, route)
	c.inbound = true
	params, ipv6 := e.params(route.Remote.Addr())
	c.clock = now
	c.engine.Accept(now, params, engine.Identity{SeqNr: e.random.seqNr(), IPv6: ipv6}, p)
	c.started()
	if e.halfOpen.len() >= halfOpenPressure {
		c.engine.Calm()
	}
	e.table.put(c)
	if c.engine.Dialect() == engine.AutoDialect {
		// It may turn out to receive with this one.
		e.table.vacate(route.key(p.ConnID), route.Local)
	}
	e.halfOpen.add(c, route.Remote.Addr())
	return c, replaced
}

// fullLocked reports whether there may be no further connection. Those that
// nobody has confirmed do not count: anyone can forge a SYN.
func (e *Endpoint) fullLocked() bool {
	return e.config.MaxConns > 0 && e.table.count-e.halfOpen.len() >= e.config.MaxConns
}

// forget ends a half-open connection without a word.
func (c *Conn) forget() {
	c.mu.Lock()
	c.engine.Forget()
	c.unlock()
}

// confirmed gives an inbound connection to Accept.
func (e *Endpoint) confirmed(c *Conn) {
	e.mu.Lock()
	full := e.fullLocked()
	e.halfOpen.remove(c)
	l := e.listener
	e.mu.Unlock()
	e.accepted.Add(1)
	if l == nil || full || !l.offer(c, withDefault(e.config.Backlog, defaultBacklog)) {
		e.backlogReset.Add(1)
		c.abort()
	}
}
