package engine

import (
	"time"

	"utppunch/utp/internal/wire"
)

// How a connection ends.
//
// CloseWrite sends a FIN and goes on reading (half-close). Close does that, throws
// away what is received, and ends the connection when everything was
// acknowledged and the peer's FIN has come, or has not come for Linger. What we
// wrote is delivered even when received data was left unread; but data that
// arrives after all of ours was acknowledged is answered by a RESET, as nobody
// will read it. Without progress for Linger the rest is given up, with a RESET.
//
// When both FINs were acknowledged the connection is Finished; the endpoint
// keeps a tombstone that acknowledges the peer's FIN again if it is repeated.

// lingerTimeouts is how many times in a row the retransmission timer expires
// before what is unacknowledged after Close is given up: with a tenth of all
// packets lost each way, one connection in 4,000 comes to that.
const lingerTimeouts = 4

// farewells is how many times a FIN is sent that is all there is left to say, to
// another implementation that has ended its stream. When we have acknowledged its
// FIN libtorrent forgets the connection and answers no more, so that nearly always
// nobody waits for ours. The last one gets the time for an acknowledgement, without
// back-off; then a RESET follows.
const farewells = 3

// minHurry is the least that Hurry waits for the peer's FIN.
const minHurry = 50 * time.Millisecond

// Close ends both directions. It never loses what Write took.
func (c *Conn) Close(now Time) {
	switch {
	case c.closing || c.state == closed:
		c.closing = true
		c.CloseRead(now)
	case c.state != connected:
		c.abort(Aborted)
	default:
		c.closing = true
		c.CloseRead(now)
		c.CloseWrite()
		c.lastProgress = now
		c.timers.set(timerLinger, now.Add(c.params.Linger))
		c.maybeFinish()
	}
}

// Abort ends the connection now: a RESET is sent and everything thrown away.
func (c *Conn) Abort() {
	if c.state != closed {
		c.abort(Aborted)
	}
}

func (c *Conn) abort(r Reason) {
	c.resetDue = !c.synDue // unless the peer has heard nothing of us yet
	c.close(r)
}

// Undelivered reports whether the connection timed out before the peer had
// acknowledged everything that was written and the FIN. Others need not acknowledge
// the FIN: libutp does not if there was no data. A peer that sends a RESET does not
// want the rest: that of TLS, its close_notify, ends like this every day.
func (c *Conn) Undelivered() bool { return c.undelivered }

// Forget ends the connection without a word to the peer.
func (c *Conn) Forget() {
	if c.state != closed {
		c.close(Aborted)
	}
}

// close enters the closed state. What was received remains readable.
func (c *Conn) close(r Reason) {
	if r != Finished {
		c.ack = ackState{}
	}
	if r == Aborted {
		c.in.clear(c.params.Memory)
	}
	c.undelivered = r == TimedOut && (c.buf.len() > 0 || c.ownKind && !c.Flushed())
	c.state, c.reason = closed, r
	c.timers = timers{}
	c.synDue, c.askDue = false, false
	c.ahead.clear(c.params.Memory)
	c.buf.release(c.params.Memory, c.buf.end)
	nxt := c.out.nxt
	c.out = inflight{una: nxt, nxt: nxt}
	if c.cc != nil {
		c.params.Memory.Release(c.window.limit) // reserved when it was established
	}
	c.events |= EventClosed | EventReadable | EventWritable
}

// maybeFinish ends the connection when both directions have ended.
func (c *Conn) maybeFinish() {
	if c.state != connected || !c.finSent || c.out.count() > 0 {
		return
	}
	if c.eof {
		c.close(Finished)
	}
}

// Hurry has a connection that was closed, and whose peer has acknowledged
// everything, wait no longer for the peer's FIN than one that is on its way
// takes: the endpoint is shutting down.
func (c *Conn) Hurry(now Time) {
	c.hurried = true
	if c.state == connected && c.closing && c.Flushed() {
		c.timers.set(timerLinger, now.Add(max(4*c.rtt.srtt, minHurry)))
	}
}

// lingerTimeout ends a closed connection that makes no progress for Linger. A peer
// that reads slowly, so that its window is closed, gets Timeout.
func (c *Conn) lingerTimeout(now Time) {
	patience := c.params.Linger
	if c.hurried && c.Flushed() {
		patience = 0
	}
	if c.peerWindow == 0 && !c.Flushed() {
		patience = max(patience, c.params.Timeout)
	}
	if at := c.lastProgress.Add(patience); at > now {
		c.timers.set(timerLinger, at)
		return
	}
	if at := c.repeatUntil(); at > now {
		c.timers.set(timerLinger, at)
		return
	}
	if c.Flushed() {
		// The peer does not end its side; transmission never does.
		c.close(Finished)
		return
	}
	c.abort(TimedOut)
}

// repeatUntil returns until when what was written is worth repeating, whatever
// Linger is: a few timeouts can take longer, and after a slow handshake one does.
// The last repetition gets the time for an acknowledgement.
func (c *Conn) repeatUntil() Time {
	if c.Flushed() || !c.timers.running(timerRTO) {
		return 0
	}
	at := c.timers[timerRTO] + 1
	if c.rtt.backoff >= lingerTimeouts {
		at = c.lastSent.Add(c.rtt.base(c.rtoFloor()))
	}
	return min(at, c.lastProgress.Add(c.params.Timeout))
}

// saidAll reports whether the connection was closed, the peer has ended its stream,
// and all of ours is acknowledged but the FIN, which only our own kind is sure to
// acknowledge.
func (c *Conn) saidAll() bool {
	return c.closing && c.eof && !c.ownKind && c.finSent && c.out.count() == 1 && c.buf.len() == 0
}

// handleReset takes a RESET that is the peer's: its ack_nr is one that the peer
// can have. Its seq_nr means nothing, libutp's is random.
func (c *Conn) handleReset(now Time, p *wire.Packet) {
	low, high := c.out.una-ackTolerance, c.out.nxt
	valid := !p.AckNr.Before(low) && !p.AckNr.After(high)
	if c.state == synRecv && p.SeqNr == c.irs+1 {
		// An initiator that gave up before our SYN-ACK reached it cannot know
		// our numbers, but it knows its own.
		valid = true
	}
	if c.probeRefused(p) {
		return
	}
	if !valid && !c.resetWithoutNumber(p) {
		c.stats.Invalid++
		return
	}
	if c.punch() && valid {
		// It says how far it got, also when it has ended.
		c.ackCumulative(now, p.AckNr, &ackSample{now: now})
	}
	if c.endedCleanly() {
		c.eof = true
		c.close(Finished)
		return
	}
	c.close(ResetByPeer)
}

// endedCleanly reports whether a RESET now is merely how the peer goes away.
// Others forget a connection as soon as they have answered our FIN, without one
// of their own (transmission), or while we still acknowledge theirs (libutp).
// Our own kind always sends a FIN unless it means a RESET. What is known to be missing
// of the peer's stream is missing for good: utp-punch goes away with its FIN, whatever
// was lost before.
func (c *Conn) endedCleanly() bool {
	finAlone := c.out.count() == 1 && c.finSent
	if c.buf.len() > 0 || !finAlone && c.out.count() > 0 {
		return false
	}
	return c.eof && c.finQueued || c.finSent && !c.ownKind && c.ahead.count == 0
}
