package engine

import (
	"time"

	"utppunch/utp/internal/wire"
)

// ackTolerance is how far ack_nr may lag behind what has been acknowledged, in
// packets, besides the most that were ever outstanding: libutp's keepalive lags
// by one, its own check allows three.
const ackTolerance = 3

// revivalSilence is after how long without a word the first packet of our own
// kind says that the path is back, even if it acknowledges nothing new: what is
// outstanding is then sent again at once, whatever the back-off. That is also the
// answer to its keepalives, which cannot be told from other acknowledgements
// while some of those are lost.
const revivalSilence = time.Second

// HandlePacket processes one packet that arrived at now and was routed here by
// its connection_id. The packet is not kept.
func (c *Conn) HandlePacket(now Time, p *wire.Packet) {
	c.stats.PacketsReceived++
	switch {
	case p.Type == wire.Syn || c.state == closed:
		// A duplicate SYN is the endpoint's business.
		return
	case c.state == synSent:
		c.handleSynSent(now, p)
		return
	case p.Type == wire.Reset:
		c.handleReset(now, p)
		return
	}
	// Before anything is touched: the acknowledgement, then the sequence
	// number, must be ones that this peer can mean (id: the route).
	if !c.plausible(p) {
		c.stats.Invalid++
		return
	}
	inTurn, fresh := c.guard.check(now, p, c.rtt.base(c.rtoFloor()))
	if !inTurn {
		c.stats.Invalid++
		return
	}
	if c.state == synRecv {
		c.decide(p)
		c.confirmed(now)
	}
	if c.isSynAck(p) {
		if now.Sub(c.synAckAckAt) >= answerInterval {
			c.confirm(now)
		}
	} else {
		c.timers.stop(timerHandshake)
	}
	revived := c.ownKind && c.rtt.backoff > 0 && now.Sub(c.lastHeard) >= revivalSilence
	c.heard(now, p)
	if fresh {
		c.handleAck(now, p)
	}
	if revived && c.rtt.backoff > 0 && c.out.count() > 0 {
		c.timers.set(timerRTO, now)
	}
	switch p.Type {
	case wire.Data, wire.Fin:
		c.handleData(now, p)
	case wire.State:
		c.handleAsk(now, p)
	}
	c.maybeFinish()
}

// plausible checks ack_nr and seq_nr against what can be on its way.
func (c *Conn) plausible(p *wire.Packet) bool {
	// An acknowledgement of what was never sent is a forgery or from another
	// life of this id; so is one from before our oldest window. The first one
	// must echo our number: S - 1, or S - 2 in libutp's keepalive.
	lag := int(c.out.maxCount) + ackTolerance + 1
	if c.state == synRecv {
		lag = 2
	}
	if p.AckNr.After(c.out.nxt-1) || c.out.una.Diff(p.AckNr) > lag && !(c.punch() && c.state == connected) {
		return false // utp-punch repeats packets as they were, however old
	}
	// After its FIN libtorrent's STATEs carry the FIN's number, libutp's the
	// next: a STATE is taken for its acknowledgement, wherever it stands near.
	d := p.SeqNr.Diff(c.rcvNxt)
	return d < c.reorderCap() && d >= -reorderCapOwnKind
}

// reorderCap is how far ahead of a gap this peer may send.
func (c *Conn) reorderCap() int {
	if c.ownKind {
		return reorderCapOwnKind
	}
	return reorderCap
}

// heard notes a sign of life and the sample that the peer gets echoed.
func (c *Conn) heard(now Time, p *wire.Packet) {
	c.lastHeard = now
	c.asked = 0
	if p.Timestamp != 0 {
		c.echoDiff = p.Timestamp.DiffSince(int64(now))
		// The two one-way delays add up to a round trip: the clocks' offset is in
		// both. Others do not all measure the difference that they send.
		if sum := int32(p.TimestampDiff + c.echoDiff); c.ownKind && wire.IsSample(p.TimestampDiff) && sum > 0 {
			c.window.pathSample(now, time.Duration(sum)*time.Microsecond)
		}
	}
}

// handleData takes a DATA or FIN.
func (c *Conn) handleData(now Time, p *wire.Packet) {
	d := p.SeqNr.Diff(c.rcvNxt)
	switch {
	case d < 0 || c.ahead.holds(p.SeqNr):
		// A duplicate: its acknowledgement was lost, or came too late.
		c.stats.Duplicates++
		c.ack.nowAlone()
		return
	case (c.eof || c.finAhead) && p.SeqNr.After(c.finSeq):
		c.stats.Invalid++
		return
	case c.closing && len(p.Payload) > 0 && c.Flushed():
		// All that we wrote has arrived; what the peer writes now, nobody will
		// read. Like TCP after close.
		c.abort(Aborted)
		return
	}
	if !c.window.admit(now, len(p.Payload)) ||
		d > 0 && c.ahead.cost(d, len(p.Payload)) > 2*c.window.limit+overshootLimit {
		c.stats.BeyondWindow++
		return
	}
	c.window.accepted(now, len(p.Payload))
	c.timers.stop(timerUpdate)
	if p.Type == wire.Fin {
		c.finSeq, c.finAhead = p.SeqNr, true
	}
	if d > 0 {
		c.stats.OutOfOrder++
		c.ahead.add(c.params.Memory, c.rcvNxt, p.SeqNr, p.Payload, p.Type == wire.Fin, p.Timestamp)
		c.ack.nowAlone()
		c.awaitRepair(now)
		return
	}
	gap := c.ahead.count > 0
	c.deliver(p.SeqNr, p.Timestamp, p.Payload, p.Type == wire.Fin)
	for c.ahead.holds(c.rcvNxt) {
		s := c.ahead.remove(c.rcvNxt)
		var payload []byte
		if s.chunk != nil {
			payload = s.chunk.Buf[:s.length]
		}
		c.deliver(c.rcvNxt, s.timestamp, payload, s.fin)
		if s.chunk != nil {
			c.params.Memory.Put(s.chunk)
		}
	}
	c.keepMemory(now)
	c.awaitRepair(now)
	switch {
	case c.eof:
		// libtorrent takes the acknowledgement of its FIN from nothing but a
		// STATE or FIN.
		c.ack.nowAlone()
	case gap, c.punch():
		// utp-punch goes on when all it sent has been acknowledged.
		c.ack.now()
	default:
		if at := c.ack.received(now); at != 0 {
			c.timers.set(timerAck, at)
		}
	}
}

// deliver appends the packet rcvNxt to the stream.
func (c *Conn) deliver(seq wire.SeqNr, ts wire.Timestamp, payload []byte, fin bool) {
	c.guard.delivered(seq, ts)
	c.rcvNxt++
	if c.eof {
		return
	}
	if len(payload) > 0 {
		c.stats.BytesReceived += uint64(len(payload))
		if !c.readClosed {
			c.in.append(c.params.Memory, payload)
			c.events |= EventReadable
		}
	}
	if fin {
		c.eof = true
		c.finAhead = false
		c.events |= EventReadable
	}
}

// handleAsk answers the keepalive of our own kind: a STATE whose ack_nr lags by
// one. That is libutp's keepalive, which nobody answers.
func (c *Conn) handleAsk(now Time, p *wire.Packet) {
	if c.ownKind && c.out.una.Diff(p.AckNr) == 2 && now.Sub(c.answeredAskAt) >= answerInterval {
		c.answeredAskAt = now
		c.ack.nowAlone()
	}
}

// Read moves up to len(b) received bytes into b. Zero means that there is
// nothing to read now; see EOF.
func (c *Conn) Read(now Time, b []byte) int {
	n := c.in.read(c.params.Memory, b)
	c.consumed(now, n)
	return n
}

// ReadChunk removes the next piece of received bytes without copying it. The
// caller returns the chunk to Memory. There must be something to read.
func (c *Conn) ReadChunk(now Time) (*Chunk, []byte) {
	chunk, b := c.in.take()
	c.consumed(now, len(b))
	return chunk, b
}

// Readable returns the number of bytes that can be read.
func (c *Conn) Readable() int { return c.in.len }

// EOF reports whether the peer has ended its stream and everything was read, or
// reading was closed.
func (c *Conn) EOF() bool { return c.readClosed || c.eof && c.in.len == 0 }

// consumed opens the window after n bytes were read, and tells the peer if it
// may be waiting for that.
func (c *Conn) consumed(now Time, n int) {
	if n == 0 || c.state != connected || c.eof {
		return
	}
	c.window.consumed(now, n, c.params.Memory)
	full := min(2*c.segment(), c.window.limit)
	opened := c.window.limit - c.held() - c.window.promised()
	switch promised := c.window.promised(); {
	case c.window.closed && promised+opened >= full && opened >= c.window.step():
		// The peer is blocked, and may never ask.
		c.ack.nowAlone()
		c.repeatState(now)
	case promised < c.window.limit/2 && opened >= max(full, c.window.limit/4):
		c.ack.now()
	}
}

// awaitRepair has the acknowledgement repeated while nothing fills a gap.
// libtorrent's timeout starts anew with every packet that it gets: as long as we
// send, it repeats only what three duplicate acknowledgements ask for.
func (c *Conn) awaitRepair(now Time) {
	if c.ahead.count > 0 && !c.ownKind {
		c.repeatState(now)
	}
}

// repeatState has a STATE repeated until something new arrives.
func (c *Conn) repeatState(now Time) {
	c.window.tries = 0
	c.timers.set(timerUpdate, now.Add(updateDelays[0]))
}

// updateTimeout repeats a STATE of which nothing shows that it arrived.
func (c *Conn) updateTimeout(now Time) {
	if c.window.tries++; int(c.window.tries) < len(updateDelays) {
		c.timers.set(timerUpdate, now.Add(updateDelays[c.window.tries]))
	}
	c.ack.nowAlone()
}

// held is the received payload in memory.
func (c *Conn) held() int { return c.in.len + c.ahead.bytes }

// CloseRead throws away what was received and will be: reading ends with EOF.
func (c *Conn) CloseRead(now Time) {
	if c.readClosed {
		return
	}
	c.readClosed = true
	n := c.in.len
	c.in.clear(c.params.Memory)
	c.consumed(now, n)
	c.events |= EventReadable
}
