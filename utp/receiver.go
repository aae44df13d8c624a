package utp

import (
	"utppunch/utp/internal/engine"
	"utppunch/utp/internal/wire"
)

// Receiver hands an endpoint the datagrams that arrive. It belongs to the one
// goroutine that reads a socket:
//
//	r.Begin()
//	for … { ok := r.Packet(route, datagram) }
//	r.End()
//
// It sends nothing, calls no user, and waits for nothing but the lock of a
// connection. Consecutive packets of one connection are handed over under one
// lock, and acknowledged together.
type Receiver struct {
	endpoint *Endpoint
	now      engine.Time
	packet   wire.Packet
	conn     *Conn  // locked
	route    Route  // of its packets
	id       uint16 // of its packets
	resets   resetBudget
}

// NewReceiver returns a Receiver for one socket.
func (e *Endpoint) NewReceiver() *Receiver { return &Receiver{endpoint: e} }

// Begin starts a batch; what follows arrived now.
func (r *Receiver) Begin() { r.now = r.endpoint.now() }

// Packet takes one datagram. It reports false if it is not uTP, or a STUN message
// that looks like a packet of no connection: nothing was done with it then. The
// datagram is not kept.
func (r *Receiver) Packet(route Route, b []byte) bool {
	p := &r.packet
	if !p.Parse(b) {
		return false
	}
	if route.Remote.Port() == 0 || !route.Remote.Addr().IsValid() ||
		route.Remote.Addr().IsUnspecified() || route.Remote.Addr().IsMulticast() {
		// Nobody can be answered there.
		r.endpoint.unroutable.Add(1)
		return true
	}
	if p.Type == wire.Syn {
		r.release()
		r.endpoint.handleSyn(r.now, route, p, &r.resets)
		return true
	}
	if r.conn == nil || p.ConnID != r.id || route != r.route {
		r.release()
		if isSTUN(b) && !r.endpoint.routes(route, p.ConnID) {
			return false
		}
		if !r.acquire(route, p) {
			return true
		}
	}
	c := r.conn
	c.clock = max(c.clock, r.now)
	c.engine.HandlePacket(c.clock, p)
	return true
}

// End finishes a batch.
func (r *Receiver) End() { r.release() }

// routes reports whether a packet would be for a connection, or what remains of one.
func (e *Endpoint) routes(route Route, id uint16) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.table.find(route, id) != (entry{})
}

// acquire finds and locks the connection of a packet. Without one it does what
// is right and reports false.
func (r *Receiver) acquire(route Route, p *wire.Packet) bool {
	e := r.endpoint
	e.mu.RLock()
	found := e.table.find(route, p.ConnID)
	unknown := found == (entry{})
	echoed := unknown && p.Type == wire.Reset
	if echoed {
		found.conn = e.echoedLocked(route, p.ConnID)
	} else if unknown {
		found.conn = e.undecidedLocked(route, p.ConnID)
	}
	e.mu.RUnlock()
	switch {
	case found.tomb != nil:
		var b [2 * wire.HeaderSize]byte
		if t := found.tomb.Reply(r.now, p, b[:]); t.Len > 0 {
			e.answer(route, b[:t.Len], t.Segment)
		}
		return false
	case found.conn == nil:
		r.unroutable(route, p)
		return false
	}
	c := found.conn
	c.mu.Lock()
	if unknown && !echoed && !c.engine.Receives(p.ConnID) {
		c.mu.Unlock()
		r.unroutable(route, p)
		return false
	}
	if c.dial != nil && engine.IsPunchReset(p) && e.config.Dialect != BEP29 {
		// No number tells that it is no forgery. It decides nothing, unless only
		// utp-punch can be meant.
		if e.config.Dialect == UTPPunch {
			c.dial.unreachable(c)
		} else {
			c.dial.hasten(c)
		}
	}
	if c.route.Local != route.Local && !echoed {
		// The first packet to tell our own address in this connection, if it is
		// the peer's.
		ok := c.engine.Expects(p)
		c.mu.Unlock()
		if !ok || !e.bind(c, route) {
			e.unroutable.Add(1)
			return false
		}
		c.mu.Lock()
	}
	r.conn, r.route, r.id = c, route, p.ConnID
	return true
}

// unroutable answers a packet of no connection.
func (r *Receiver) unroutable(route Route, p *wire.Packet) {
	r.endpoint.unroutable.Add(1)
	if p.Type != wire.Reset {
		r.endpoint.sendReset(r.now, route, p, &r.resets)
	}
}

// release lets go of the current connection. What it has to send, the sender
// sends.
func (r *Receiver) release() {
	if c := r.conn; c != nil {
		r.conn = nil
		if !c.flushing && c.wantsLocked() {
			c.endpoint.ready.push(c)
		}
		c.unlock()
	}
}

// Unreachable reports that an ICMP message says that a datagram of ours did not
// reach route.Remote. Quoted is what it quotes of the datagram, without which
// nothing can be told from a forged message. It counts for a dial only: the SYN
// must be quoted. An established connection survives whatever ICMP says.
func (e *Endpoint) Unreachable(route Route, quoted []byte) {
	var p wire.Packet
	if !p.Parse(quoted) || p.Type != wire.Syn {
		return
	}
	e.mu.RLock()
	c := e.table.lookup(route.unbound(), p.ConnID).conn
	if c == nil && e.config.Dialect == UTPPunch {
		c = e.table.lookup(route.unbound(), p.ConnID+1).conn
	}
	e.mu.RUnlock()
	if c == nil || c.synSeqNr != p.SeqNr {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dial != nil {
		c.dial.unreachable(c)
	}
}

// echoedLocked finds the connection that sends with the id of a RESET: libutp's
// answer to a packet of a connection that it does not know has the id of that
// packet.
func (e *Endpoint) echoedLocked(route Route, id uint16) *Conn {
	for _, recv := range [...]uint16{id - 1, id + 1} {
		if c := e.table.find(route, recv).conn; c != nil && c.connIDSend == id {
			return c
		}
	}
	return nil
}

// sendReset answers a packet of no connection, with the id and the number of it,
// and where it can be utp-punch's with the id, too, that this receives with.
func (e *Endpoint) sendReset(now engine.Time, route Route, p *wire.Packet, budget *resetBudget) {
	if !budget.take(now) {
		return
	}
	h := wire.Header{
		Type:      wire.Reset,
		ConnID:    p.ConnID,
		Timestamp: wire.TimestampAt(int64(now)),
		AckNr:     p.SeqNr,
	}
	var b [2 * wire.HeaderSize]byte
	n := wire.HeaderSize
	h.Put(b[:], 0)
	if e.config.Dialect != BEP29 && engine.MayBePunch(p) && budget.take(now) {
		h.ConnID ^= 1
		h.Put(b[n:], 0)
		n *= 2
	}
	if e.answer(route, b[:n], wire.HeaderSize) {
		e.resetsSent.Add(1)
	}
}

const (
	resetRate  = 100 // RESETs a second for packets of no connection
	resetBurst = 100
)

// resetBudget limits RESETs: each is as long as the packet it answers at most, but
// there may be two, and a victim whose address was forged wants none at all.
type resetBudget struct {
	tokens float64
	last   engine.Time
}

func (b *resetBudget) take(now engine.Time) bool {
	if b.last == 0 {
		b.tokens = resetBurst
	} else {
		b.tokens = min(resetBurst, b.tokens+resetRate*now.Sub(b.last).Seconds())
	}
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
