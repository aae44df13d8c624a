package engine

import (
	"time"

	"utppunch/utp/internal/wire"
)

// maxPeerWindow bounds what is believed of an advertised window.
const maxPeerWindow = 1 << 30

// maxOutstanding bounds the packets outstanding to other implementations, whose
// reorder buffers have room for 953 (libtorrent) to 1024 (libutp).
const maxOutstanding = 900

// handleAck processes ack_nr, the selective acknowledgements and the window of
// a packet.
func (c *Conn) handleAck(now Time, p *wire.Packet) {
	a := ackSample{now: now, limited: c.limited, flight: c.out.flightSize()}
	window := c.peerWindow
	fresh := c.updatePeerWindow(p)
	if c.out.count() == 0 {
		return
	}
	before := c.out.una
	c.ackCumulative(now, p.AckNr, &a)
	advanced := c.out.una != before
	sacked, hasSack := 0, false
	if !p.Extensions.None() {
		sacked, hasSack = c.ackSelective(now, p, &a)
	}
	if !fresh {
		// What was acknowledged used up a part of the window that is known.
		c.peerWindow = max(0, c.peerWindow-a.bytes)
	}
	if advanced || sacked > 0 {
		c.lastProgress = now
		c.rtt.progress()
		c.armRTO(now)
	}
	if window == 0 && c.peerWindow > 0 && c.rtt.backoff > 0 && c.out.count() > 0 {
		c.windowOpened(now)
	}
	if a.rtt != 0 {
		c.rtt.sample(a.rtt)
	}
	if c.recovery != noRecovery && !c.out.una.Before(c.recoveryEnd) {
		c.recovery = noRecovery
	}
	c.repairDue = c.repairDue || advanced && c.recovery == fastRecovery
	if a.bytes > 0 {
		if !c.out.una.Before(c.roundEnd) {
			a.roundUp, c.roundEnd = true, c.out.nxt
		}
		a.srtt = c.rtt.srtt
		if c.recovery != fastRecovery {
			c.cc.acked(a)
		}
	}
	switch {
	case advanced && c.punch() && c.recovery == fastRecovery:
		c.retransmitOldest()
	case !advanced && !hasSack && c.peerWindow == window:
		c.countDuplicate(p)
	}
	c.ackTS = p.Timestamp
	c.detectLoss(now)
	if c.out.count() == 0 {
		c.timers.stop(timerRTO)
		c.timers.stop(timerReorder)
		c.keepMemory(now)
		if c.hurried {
			c.Hurry(now)
		}
	}
	c.wakeWriter()
}

// ackCumulative removes everything up to ack, and what follows it without a gap
// and was acknowledged selectively: the peer has it, and says so with the next
// ack_nr. (That of a keepalive lags by one.)
func (c *Conn) ackCumulative(now Time, ack wire.SeqNr, a *ackSample) {
	if c.out.una.After(ack) {
		return
	}
	for c.out.count() > 0 && (!c.out.una.After(ack) || c.out.at(c.out.una).has(recordSacked)) {
		seq := c.out.una
		r := c.out.at(seq)
		if !r.has(recordSacked) {
			c.delivered(now, seq, r, a)
		}
		if !r.has(recordFin) {
			c.buf.start = r.offset + uint64(r.length)
		}
		c.out.pop()
	}
	c.buf.release(c.params.Memory, c.buf.start)
	if c.partialOut && c.partialSeq.Before(c.out.una) {
		c.partialOut = false
	}
	c.rack.cover(c.out.una - 1)
	c.dupAcks = 0
}

// ackSelective marks what the selective acknowledgements of p name. Elements
// follow one another, each for the packets after the last one's. The oldest
// packet is none of them, though an overtaken p may say so: a cumulative
// acknowledgement of it is on its way.
func (c *Conn) ackSelective(now Time, p *wire.Packet, a *ackSample) (newly int, found bool) {
	seq := p.AckNr + 2
	for typ, mask := range p.Extensions.All() {
		if typ != wire.ExtSelectiveAck {
			continue
		}
		found = true
		for _, bits := range mask {
			for s := seq; bits != 0; bits, s = bits>>1, s+1 {
				if bits&1 == 0 || !s.After(c.out.una) || !s.Before(c.out.nxt) {
					continue
				}
				if r := c.out.at(s); !r.has(recordSacked) {
					c.delivered(now, s, r, a)
					c.out.markSacked(s)
					newly++
				}
			}
			if seq += 8; !seq.Before(c.out.nxt) {
				break
			}
		}
		if !seq.Before(c.out.nxt) {
			break
		}
	}
	if found {
		// Silence about a packet means something only within the masks, and in
		// libutp's only 30 bits are ever set.
		end := seq - 1
		if !c.ownKind && end == p.AckNr+1+32 {
			end -= 2
		}
		if !end.Before(c.out.nxt) {
			end = c.out.nxt - 1
		}
		c.rack.cover(end)
		c.beyondMask(now, p)
	}
	return newly, found
}

// libutpMask is the number of packets that libutp's selective acknowledgements tell
// of.
const libutpMask = 30

// beyondMask takes an empty selective acknowledgement for what it is. libutp sends
// one only while it holds something; so the oldest packet and all that the mask
// covers are missing, and one behind them has arrived. It was sent no earlier than
// the first that the mask does not cover, which stands for it.
func (c *Conn) beyondMask(now Time, p *wire.Packet) {
	if c.ownKind || p.AckNr != c.out.una-1 {
		return
	}
	for typ, mask := range p.Extensions.All() {
		if typ != wire.ExtSelectiveAck || len(mask) != 4 || mask[0]|mask[1]|mask[2]|mask[3] != 0 {
			return
		}
	}
	if seq := c.out.una + 1 + libutpMask; seq.Before(c.out.nxt) {
		c.rack.delivered(now, seq, c.out.at(seq), c.rtt.minRTT)
	}
}

// delivered notes that the peer has a packet it had not acknowledged before.
func (c *Conn) delivered(now Time, seq wire.SeqNr, r *record, a *ackSample) {
	a.bytes += int(r.length)
	// Karn's algorithm (RFC 6298, section 3): only packets sent once. Of those,
	// the last is the one that this acknowledgement answers.
	if r.transmissions == 1 {
		a.rtt = max(now.Sub(r.sentAt), time.Microsecond)
	}
	if r.has(recordProbe) {
		c.mtu.probeAcked()
		c.cc.setSegment(c.segment())
	}
	c.rack.delivered(now, seq, r, c.rtt.minRTT)
}

// updatePeerWindow takes the window from the newest packet (RFC 9293, section
// 3.10.7.4): libutp does not refresh it in a retransmission. It reports whether
// p was that.
func (c *Conn) updatePeerWindow(p *wire.Packet) bool {
	seq, ack := p.SeqNr.Diff(c.windowSeq), p.AckNr.Diff(c.windowAck)
	if p.AckNr.Before(c.out.una-1) || seq < 0 || seq == 0 && (ack < 0 || ack == 0 && p.Timestamp.Before(c.windowTS)) {
		return false
	}
	c.windowSeq, c.windowAck, c.windowTS = p.SeqNr, p.AckNr, p.Timestamp
	c.peerWindow = int(min(p.Window, maxPeerWindow))
	if c.peerWindow > 0 {
		c.probes, c.windowProbe = 0, false
		c.timers.stop(timerProbe)
	}
	return true
}

// countDuplicate is fast retransmit (RFC 5681, section 3.2) for peers that do
// not acknowledge selectively. Only a STATE is a duplicate acknowledgement, and
// of those with one timestamp only the first: what libutp and we ourselves say
// twice after a FIN, or the network repeats. While the window is closed a STATE
// answers a probe.
func (c *Conn) countDuplicate(p *wire.Packet) {
	if c.ownKind || p.Type != wire.State || c.out.count() == 0 || p.AckNr != c.out.una-1 || c.peerWindow == 0 ||
		p.Timestamp == c.ackTS && p.Timestamp != 0 {
		return
	}
	if c.dupAcks++; c.dupAcks == dupThresh {
		c.retransmitOldest()
	}
}

// retransmitOldest takes the oldest packet for lost. Besides by duplicate
// acknowledgements it is found by a partial acknowledgement, which ends before all
// that was out when the last loss was noticed: RFC 6582, section 3.2 step 3, for a
// peer that never acknowledges selectively.
func (c *Conn) retransmitOldest() {
	if c.out.count() == 0 {
		return
	}
	if r := c.out.at(c.out.una); !r.has(recordSacked | recordLost) {
		flight := c.out.flightSize()
		c.out.markLost(c.out.una)
		c.packetLost(c.out.una, r)
		c.lossFound(flight)
	}
}

// detectLoss runs RACK (RFC 8985, section 6.2 step 5).
func (c *Conn) detectLoss(now Time) {
	if c.out.count() == 0 {
		return
	}
	flight, lost := c.out.flightSize(), c.out.lost.count
	reoWnd := c.rack.reoWnd(c.recovery != noRecovery, int(c.out.sackedCount), c.rtt.minRTT, c.rtt.srtt)
	wait := c.rack.detect(now, &c.out, reoWnd, c.packetLost)
	if wait > 0 {
		c.timers.set(timerReorder, now.Add(wait))
	} else {
		c.timers.stop(timerReorder)
	}
	if c.out.lost.count > lost {
		c.lossFound(flight)
	}
}

// packetLost is called for every packet that is taken for lost.
func (c *Conn) packetLost(seq wire.SeqNr, r *record) {
	if c.probeLost(r) {
		return
	}
	// One reduction a round trip: only packets sent after the last one count.
	if c.recovery == noRecovery || !seq.Before(c.recoveryEnd) {
		c.congested = true
	}
}

// lossFound reduces the window if packetLost was told of a new episode.
func (c *Conn) lossFound(flight int) {
	if c.congested {
		c.congested = false
		c.recovery, c.recoveryEnd = fastRecovery, c.out.nxt
		c.repairDue = true
		c.cc.lost(flight)
	}
}

// probeLost reports whether a lost packet was the MTU probe. That says something
// about the path's MTU and nothing about congestion (RFC 8899, section 3).
func (c *Conn) probeLost(r *record) bool {
	if !r.has(recordProbe) {
		return false
	}
	r.flags &^= recordProbe
	c.mtu.probeLost()
	return true
}

// HandleTooBig reports that the system refused to send a datagram of this size
// unfragmented: it exceeds the MTU of the interface.
func (c *Conn) HandleTooBig(now Time, size int) {
	if c.state != connected {
		return
	}
	for n, seq := c.out.sent.count, c.out.sent.head; n > 0; n-- {
		r := c.out.at(seq)
		next := wire.SeqNr(r.next)
		if int(r.length)+wire.HeaderSize >= size {
			c.out.markLost(seq)
			c.probeLost(r)
		}
		seq = next
	}
	if size <= c.mtu.current {
		c.mtu.refused(size)
		c.cc.setSegment(c.segment())
	}
}

// armRTO starts the retransmission timer anew (RFC 6298, 5.1 to 5.3), bounded by
// the time at which the connection is given up.
func (c *Conn) armRTO(now Time) {
	at := now.Add(c.rtt.rto(c.rtoFloor()))
	if limit := c.giveUpAt(); limit != 0 {
		at = min(at, max(limit, now))
	}
	c.timers.set(timerRTO, at)
}

// giveUpAt is when a connection without progress ends, zero for never. A peer
// that keeps its window closed makes no progress, but lives as long as it is
// heard.
func (c *Conn) giveUpAt() Time {
	if c.params.Timeout <= 0 {
		return 0
	}
	since := c.lastProgress
	if c.peerWindow == 0 {
		since = max(since, c.lastHeard)
	}
	return since.Add(c.params.Timeout)
}

// rtoTimeout is RFC 6298, 5.4 to 5.6.
func (c *Conn) rtoTimeout(now Time) {
	if c.out.count() == 0 {
		return
	}
	if limit := c.giveUpAt(); limit != 0 && now >= limit {
		c.abort(TimedOut)
		return
	}
	if c.saidAll() && c.rtt.backoff+1 >= farewells {
		c.resetDue = true // in case that somebody does wait
		c.close(Finished)
		return
	}
	if c.mtu.probe != 0 && c.out.sent.count == 1 && c.out.at(c.out.sent.head).has(recordProbe) && c.out.lost.count == 0 {
		// Only the probe is missing: it was too large (RFC 8899, section 4.3).
		seq := c.out.sent.head
		c.out.markLost(seq)
		c.probeLost(c.out.at(seq))
		c.armRTO(now)
		return
	}
	c.stats.Timeouts++
	flight := c.out.flightSize()
	if c.mtu.probe != 0 {
		c.mtu.probeLost()
	}
	c.out.loseAll()
	// RFC 5681, section 3.1: ssthresh is not reduced again for a packet that
	// was already retransmitted by the timer.
	if c.rtt.backoff == 0 {
		c.cc.timedOut(flight)
	}
	c.rtt.timedOut()
	c.recovery, c.recoveryEnd = lossRecovery, c.out.nxt
	c.armRTO(now)
	if c.saidAll() && c.rtt.backoff+1 >= farewells {
		c.timers.set(timerRTO, now.Add(c.rtt.base(c.rtoFloor())))
	}
}
