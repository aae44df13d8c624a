package utp

import (
	"time"

	"utppunch/utp/internal/engine"
)

// Every entry into a connection — a batch of packets, its timer, a call by the
// user — is the same: lock, feed the engine, flush or leave that to the sender,
// unlock. unlock settles what the engine reports; what that means for the
// endpoint is done after the lock is released, for Endpoint.mu comes first.

// userRuns is how many runs of datagrams a user's call or a timer sends itself.
// Then the sender goes on, so that a call is not held up by what others wrote.
const userRuns = 2

// tick returns the time for a call of the engine.
func (c *Conn) tick() engine.Time {
	c.clock = max(c.clock, c.endpoint.now())
	return c.clock
}

// flushLocked sends what there is, as at most userRuns runs and without waiting;
// the sender does the rest. When a Write has more than a run waiting already all of
// it is the sender's: what comes next is copied while the system sends. One
// goroutine at a time sends for a connection, which keeps packets in order. The lock
// is released meanwhile.
func (c *Conn) flushLocked() {
	if c.flushing || !c.wantsLocked() {
		return
	}
	if c.unsent != nil || c.endpoint.crowded.Load() || c.writing && c.engine.Unsent() > engine.MaxChunk {
		c.endpoint.ready.push(c)
		return
	}
	c.flushing, c.trying = true, true
	more := true
	for run := 0; run < userRuns && more; run++ {
		more = c.sendRunLocked(c.endpoint.writer.TryWrite)
		if c.unsent != nil {
			break
		}
	}
	c.flushing, c.trying = false, false
	if c.closed {
		c.writable.wake() // shut may wait
	}
	if more && c.wantsLocked() {
		c.endpoint.ready.push(c)
	}
}

func (c *Conn) wantsLocked() bool {
	return c.unsent != nil || c.engine.WantsTransmit()
}

// flushFromSender is the sender's turn for this connection: one run, for which
// it waits.
func (c *Conn) flushFromSender() {
	c.mu.Lock()
	if c.flushing {
		// Whoever it is looks again before it stops.
		c.mu.Unlock()
		return
	}
	c.flushing = true
	more := c.sendRunLocked(c.endpoint.writer.Write)
	c.flushing = false
	if more && c.wantsLocked() {
		c.endpoint.ready.push(c)
	}
	c.unlock()
}

// sendRunLocked sends one run, or the rest of one, and reports whether there may
// be more. The lock is released while the system sends.
func (c *Conn) sendRunLocked(write func(Datagrams) (int, error)) (more bool) {
	out := c.unsent
	c.unsent = nil
	if out == nil {
		out = c.endpoint.outgoing.Get().(*outgoing)
		t, ok := c.engine.PollTransmit(c.tick(), out.buf)
		if !ok {
			c.endpoint.outgoing.Put(out)
			return false
		}
		out.rest, out.Transmit = out.buf[:t.Len], t
	}
	d := Datagrams{Data: out.rest, Segment: out.Segment, Fragment: out.Fragment, Route: c.route}
	c.mu.Unlock()
	n, err := write(d)
	c.mu.Lock()
	switch err {
	case nil:
		c.endpoint.crowded.Store(false)
	case ErrWouldBlock:
		c.endpoint.crowded.Store(true)
		out.rest = out.rest[n:]
		c.unsent = out
		return true
	case ErrTooBig:
		if !out.Fragment {
			c.engine.HandleTooBig(c.tick(), out.Segment)
		}
	default:
		// As good as lost on the way: retransmission takes care of it, if there
		// is a way at all.
		c.endpoint.sendErrors.Add(1)
		if c.dial != nil && isHardSendError(err) {
			c.dial.fail(err)
		}
	}
	c.endpoint.outgoing.Put(out)
	return true
}

// report is what unlock does for the endpoint once the lock is released.
type report uint8

const (
	reportConfirmed   report = 1 << iota // inbound: for Accept
	reportEstablished                    // outbound: for Dial
	reportEnded                          // no packets are needed any more
	reportDecided                        // it receives with another id than was thought
)

// unlock settles and releases the lock.
func (c *Conn) unlock() {
	r, dial := c.settleLocked(), c.dial
	if c.established {
		c.dial = nil
	}
	c.mu.Unlock()
	if r != 0 {
		c.report(r, dial)
	}
}

// settleLocked wakes whom the engine's events concern and arms the timer.
func (c *Conn) settleLocked() (r report) {
	if ev := c.engine.PollEvents(); ev != 0 {
		if ev&engine.EventConnected != 0 && c.moved() {
			r |= reportDecided
		}
		if ev&engine.EventReadable != 0 {
			c.readable.wake()
		}
		if ev&engine.EventWritable != 0 {
			c.writable.wake()
		}
		if ev&engine.EventConnected != 0 && !c.established {
			switch {
			case c.inbound:
				c.established = true
				r |= reportConfirmed
			case c.dial.won.CompareAndSwap(false, true):
				c.established = true
				r |= reportEstablished
			default:
				// Two SYNs of one dial were answered. Nothing was sent since, so
				// that the peer never takes this one for a connection.
				c.engine.Abort()
			}
		}
	}
	// A call that is sending may have our last words in hand: until it is back
	// here, the socket has to stay open, which Shutdown closes when no
	// connection is left.
	if c.engine.Reason() != engine.NotClosed && !c.removed && !c.trying {
		c.removed = true
		r |= reportEnded
	}
	c.armLocked()
	return r
}

func (c *Conn) report(r report, dial *dialing) {
	e := c.endpoint
	if r&reportDecided != 0 {
		e.decided(c)
	}
	if r&reportConfirmed != 0 {
		e.confirmed(c)
	}
	if r&reportEnded != 0 {
		e.ended(c)
	}
	if r&(reportEstablished|reportEnded) != 0 && dial != nil {
		dial.report()
	}
}

// armLocked sees to it that the timer runs no later than the engine wants. A
// timer that runs too early is left alone: it finds out, and that is cheaper
// than to move it with every packet.
func (c *Conn) armLocked() {
	at := c.engine.PollTimeout()
	switch {
	case at == 0:
		// Nothing will ever be due, mostly because the connection has ended: an
		// armed timer would keep it in memory.
		if c.timerAt != 0 {
			c.timerAt = 0
			c.timer.Stop()
		}
		return
	case c.timerAt != 0 && c.timerAt <= at:
		return
	}
	c.timerAt = at
	d := at.Sub(c.endpoint.now())
	if c.timer == nil {
		c.timer = time.AfterFunc(d, c.onTimer)
	} else {
		c.timer.Reset(d)
	}
}

// waitLocked waits to be woken. What the caller has sent is timed from now on, not
// from when the wait is over.
func (c *Conn) waitLocked(w *waiters) {
	c.armLocked()
	w.wait(&c.mu, &c.endpoint.conds)
}

// onTimer is what the timer runs.
func (c *Conn) onTimer() {
	c.mu.Lock()
	c.timerAt = 0
	// Once, whatever else has become due: the reader gets its turn in between.
	if at, now := c.engine.PollTimeout(), c.tick(); at != 0 && at <= now {
		c.engine.HandleTimeout(now)
	}
	c.flushLocked()
	c.unlock()
}
