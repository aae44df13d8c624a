package engine

import (
	"time"

	"utppunch/utp/internal/wire"
)

// maxHold is the longest time that a short packet waits for more data while
// another short one is unacknowledged.
const maxHold = 5 * time.Millisecond

// Transmit describes what PollTransmit wrote: Len bytes that are one datagram,
// or a run of datagrams of Segment bytes each, the last of which may be shorter.
type Transmit struct {
	Len      int
	Segment  int
	Fragment bool // larger than the path MTU as known: may be fragmented
}

// PollTransmit writes what is to be sent now into b, which has room for a
// datagram of the largest size; the more room, the longer the runs. It reports
// false when there is nothing.
func (c *Conn) PollTransmit(now Time, b []byte) (t Transmit, ok bool) {
	switch c.state {
	case synSent:
		t, ok = c.sendSyn(now, b)
	case synRecv:
		if c.ack.due {
			t, ok = c.synAckRun(now, b), true
			c.ack.sent()
			c.synAcks = min(c.synAcks+1, 2)
		}
	case connected:
		t, ok = c.sendConnected(now, b)
	case closed:
		switch {
		case c.resetDue:
			c.resetDue = false
			t, ok = c.sendReset(now, b), true
		case c.ack.due:
			t, ok = c.sendState(now, b), true
			c.ack.sent()
		}
	}
	if ok {
		c.lastSent = now
		c.stats.PacketsSent += uint64((t.Len + t.Segment - 1) / t.Segment)
	}
	return t, ok
}

// WantsTransmit reports whether PollTransmit may have something now. It is
// cheap, and errs on the side of true: windows and pacing are not looked at.
func (c *Conn) WantsTransmit() bool {
	return c.ack.due || c.resetDue || c.synDue || c.askDue ||
		c.state == connected && (c.out.lost.count > 0 || c.unsent < c.buf.end || c.finQueued && !c.finSent)
}

func (c *Conn) sendConnected(now Time, b []byte) (Transmit, bool) {
	if c.askDue {
		c.askDue = false
		h := c.header(now, wire.State, c.out.nxt)
		if !c.punch() {
			h.AckNr--
		}
		h.Put(b, 0)
		return single(wire.HeaderSize), true
	}
	// DATA carries no selective acknowledgements, so that full packets remain
	// of one size, and utp-punch would take the extension for payload.
	if c.ack.due && (c.ack.alone || c.ahead.count > 0) {
		t := c.sendState(now, b)
		c.ackSent()
		return t, true
	}
	if t, ok := c.sendData(now, b); ok {
		c.ackSent()
		return t, true
	}
	if c.ack.due {
		t := c.sendState(now, b)
		c.ackSent()
		return t, true
	}
	return Transmit{}, false
}

func (c *Conn) ackSent() {
	c.ack.sent()
	c.timers.stop(timerAck)
}

func single(n int) Transmit { return Transmit{Len: n, Segment: n} }

// header fills in what every packet has. Acknowledgement, timestamp, difference
// and window are fresh in each transmission, repeated ones included.
func (c *Conn) header(now Time, typ wire.Type, seq wire.SeqNr) wire.Header {
	w := c.window.advertise(c.held())
	c.window.closed = w < min(c.segmentOrBase(), c.window.limit)
	return wire.Header{
		Type:          typ,
		ConnID:        c.connIDSend,
		Timestamp:     now.timestamp(),
		TimestampDiff: c.echoDiff,
		Window:        uint32(w),
		SeqNr:         seq,
		AckNr:         c.rcvNxt - 1,
	}
}

func (c *Conn) segmentOrBase() int {
	if c.mtu.current == 0 {
		return BaseDatagram - wire.HeaderSize
	}
	return c.segment()
}

// sendSyn sends the SYN, once: a repetition is a new Conn with a new id, since
// libutp ignores a second SYN and libtorrent makes a second socket of it.
func (c *Conn) sendSyn(now Time, b []byte) (Transmit, bool) {
	if !c.synDue {
		return Transmit{}, false
	}
	c.synDue = false
	h := c.header(now, wire.Syn, c.iss)
	h.AckNr = 0
	if c.punch() {
		h.Put(b, 0)
		return single(wire.HeaderSize), true
	}
	h.ConnID = c.connIDRecv
	return single(putHello(b, &h)), true
}

// putHello writes a header and a Hello.
func putHello(b []byte, h *wire.Header) int {
	var hello [wire.HelloSize]byte
	wire.Hello{Version: helloVersion}.Put(hello[:])
	h.Put(b, wire.ExtBits)
	return wire.HeaderSize + wire.PutExtension(b[wire.HeaderSize:], 0, hello[:])
}

// sendState sends a STATE. Its number is the next unsent one. After our FIN it is
// sent with the FIN's number first: libtorrent ignores what is numbered above
// the FIN, libutp what is numbered as the FIN.
func (c *Conn) sendState(now Time, b []byte) Transmit {
	h := c.header(now, wire.State, c.out.nxt)
	if c.state == synRecv && c.helloRecv {
		return single(putHello(b, &h))
	}
	n, first := wire.HeaderSize, byte(0)
	if c.ahead.count > 0 && !c.punch() {
		first = wire.ExtSelectiveAck
		n += putSack(b[n:min(len(b), c.mtu.current)], &c.ahead, c.rcvNxt, c.ownKind)
	}
	if !c.finSent || c.ownKind || c.punch() {
		h.Put(b, first)
		return single(n)
	}
	return putStatePair(b, &h, first, n)
}

// putStatePair writes a STATE of n bytes, whose extensions are in place, twice:
// with the number before that of h, and as h is.
func putStatePair(b []byte, h *wire.Header, firstExtension byte, n int) Transmit {
	copy(b[n:2*n], b[:n])
	h.Put(b[n:], firstExtension)
	h.SeqNr--
	h.Put(b, firstExtension)
	return Transmit{Len: 2 * n, Segment: n}
}

func (c *Conn) sendReset(now Time, b []byte) Transmit {
	h := c.header(now, wire.Reset, c.out.nxt)
	if c.finSent {
		h.SeqNr--
	}
	if c.eof && !c.ownKind {
		// The upper bound that libtorrent has for it is one below its FIN.
		h.AckNr--
	}
	h.Put(b, 0)
	return single(wire.HeaderSize)
}

// sendData sends retransmissions, then new data, then the FIN.
func (c *Conn) sendData(now Time, b []byte) (Transmit, bool) {
	if c.out.lost.count == 0 && c.unsent == c.buf.end && !(c.finQueued && !c.finSent) {
		c.limited = false
		return Transmit{}, false
	}
	budget, ok := c.sendBudget(now)
	if !ok {
		return Transmit{}, false
	}
	if c.out.lost.count > 0 {
		return c.sendLost(now, b, budget)
	}
	if c.unsent < c.buf.end {
		return c.sendNew(now, b, budget)
	}
	if c.slots() <= 0 {
		return Transmit{}, false
	}
	c.finSent = true
	c.sent(now, c.unsent, 0, recordFin)
	h := c.header(now, wire.Fin, c.out.nxt-1)
	h.Put(b, 0)
	return single(wire.HeaderSize), true
}

// sendBudget is how many bytes congestion window and pacer let go now. One
// packet may always be in flight, even at a rate of a packet in a long time; and
// one that was lost goes out when fast recovery begins and with each partial
// acknowledgement in it (RFC 5681, section 3.2 step 3; RFC 6582, section 3.2 step
// 3): what lies beyond libutp's short masks counts as in flight, and only a repair
// brings news of it.
func (c *Conn) sendBudget(now Time) (int, bool) {
	seg := c.segment()
	room := c.cc.window() - c.out.flightSize()
	if c.out.sent.count == 0 {
		room = max(room, seg)
	}
	if room < seg {
		c.limited = true
		if !c.repairDue || c.out.lost.count == 0 {
			return 0, false
		}
		room = max(room, 0) // sendLost sends one packet in any case
	}
	rate := c.cc.pacingRate(c.rtt.srtt)
	if rate == 0 {
		return min(room, initialBurst*seg), true
	}
	c.pacer.advance(now, rate, seg)
	if wait := c.pacer.wait(rate, seg); wait > 0 && c.out.sent.count > 0 {
		c.limited = true
		c.timers.set(timerPace, now.Add(wait))
		return 0, false
	}
	return min(room, max(seg, int(c.pacer.tokens))), true
}

func (c *Conn) maxOutstanding() int {
	switch {
	case c.ownKind:
		return reorderCapOwnKind
	case c.punch():
		return punchOutstanding
	default:
		return maxOutstanding
	}
}

// slots is how many further packets may be outstanding. utp-punch compares numbers
// without regard to their wrap: 0 is good only when all before it has arrived.
func (c *Conn) slots() int {
	n := c.maxOutstanding() - c.out.count()
	switch {
	case !c.punch():
	case c.out.nxt != 0:
		n = min(n, 1<<16-int(c.out.nxt))
	case c.out.count() > 0:
		n = 0
	}
	return n
}

// sendLost sends lost packets again: as many of equal length as fit.
func (c *Conn) sendLost(now Time, b []byte, budget int) (Transmit, bool) {
	c.repairDue = false
	length := int(c.out.at(c.out.lost.head).length)
	size := wire.HeaderSize + length
	t := Transmit{Segment: size, Fragment: size > c.mtu.current || c.mtu.cut}
	h := c.header(now, wire.Data, 0)
	fin := false
	for c.out.lost.count > 0 && len(b)-t.Len >= size {
		h.SeqNr = c.out.lost.head
		r := c.out.at(h.SeqNr)
		if t.Len > 0 && (budget < length || int(r.length) != length || t.Fragment || t.Len/size == maxRun) {
			break
		}
		h.Type = wire.Data
		if r.has(recordFin) {
			h.Type, fin = wire.Fin, true
		}
		c.out.resend(now, h.SeqNr)
		c.putPacket(b[t.Len:], &h, r)
		c.stats.Retransmits++
		c.pacer.spend(length)
		budget -= length
		t.Len += size
	}
	if !fin && c.out.lost.count == 0 {
		c.repeatFin()
	}
	if !c.timers.running(timerRTO) {
		c.armRTO(now)
	}
	return t, true
}

// repeatFin has the FIN follow a retransmission that may fill the last gap at
// once: libtorrent forgets a FIN that arrived ahead of a gap, librqbit drops it.
func (c *Conn) repeatFin() {
	if !c.finSent || c.ownKind || c.out.count() == 0 {
		return
	}
	if fin := c.out.nxt - 1; !c.out.at(fin).has(recordLost | recordSacked) {
		c.out.markLost(fin)
	}
}

// sendNew cuts packets from the unsent data: full ones, and a short one at the
// end if it need not wait.
func (c *Conn) sendNew(now Time, b []byte, budget int) (Transmit, bool) {
	c.limited = false
	unsent := int(c.buf.end - c.unsent)
	slots := c.slots()
	room := c.peerWindow - c.out.outstandingBytes()
	if c.windowProbe {
		room = max(room, c.segment())
	}
	if room <= 0 {
		c.awaitWindow(now)
		return Transmit{}, false
	}
	if slots <= 0 {
		return Transmit{}, false
	}
	h := c.header(now, wire.Data, 0)
	if n := c.mtu.next() - wire.HeaderSize; n > 0 && n <= min(unsent, room, budget, len(b)-wire.HeaderSize) && c.rtt.backoff == 0 {
		c.mtu.probeSent(n + wire.HeaderSize)
		c.putNew(now, b, &h, n, recordProbe)
		c.limited = true
		return single(n + wire.HeaderSize), true
	}
	seg := c.segment()
	t := Transmit{Segment: wire.HeaderSize + seg, Fragment: c.mtu.cut}
	run := maxRun
	if t.Fragment {
		run = 1
	}
	for ; unsent > 0 && slots > 0 && t.Len < run*t.Segment && len(b)-t.Len >= t.Segment; slots-- {
		n := min(seg, unsent)
		if n > room {
			// What is left of the window is too small for the packet, and more
			// of it opens with the next acknowledgement; unless none is to come.
			if c.out.count() > 0 {
				return t, t.Len > 0
			}
			n = room
		} else if n < seg && !c.mayBeShort(now) {
			return t, t.Len > 0
		}
		if n > budget && t.Len > 0 {
			c.limited = true
			break
		}
		c.putNew(now, b[t.Len:], &h, n, 0)
		t.Len += wire.HeaderSize + n
		unsent, room, budget = unsent-n, room-n, budget-n
		if n < seg {
			c.partialOut, c.partialSeq = true, h.SeqNr
			t.Segment = min(t.Segment, t.Len)
			break
		}
	}
	return t, true
}

// mayBeShort reports whether a packet that is not full may leave: Minshall's
// variant of Nagle's algorithm, one short packet in flight, but for a few
// milliseconds at the most. Small writes in a row share a packet that way.
func (c *Conn) mayBeShort(now Time) bool {
	if c.noDelay || c.finQueued || !c.partialOut || c.holdOver {
		c.holdOver = false
		c.timers.stop(timerHold)
		return true
	}
	if !c.timers.running(timerHold) {
		c.timers.set(timerHold, now.Add(min(max(c.rtt.srtt, time.Millisecond/4), maxHold)))
	}
	return false
}

// putNew sends the next n unsent bytes under header h.
func (c *Conn) putNew(now Time, b []byte, h *wire.Header, n int, flags recordFlags) {
	h.SeqNr = c.out.nxt
	c.sent(now, c.unsent, n, flags)
	c.putPacket(b, h, c.out.at(h.SeqNr))
	c.unsent += uint64(n)
	c.windowProbe = false
	c.stats.BytesSent += uint64(n)
	c.pacer.spend(n)
}

func (c *Conn) putPacket(b []byte, h *wire.Header, r *record) {
	h.Put(b, 0)
	if r.length > 0 {
		c.buf.copyAt(b[wire.HeaderSize:wire.HeaderSize+int(r.length)], r.offset)
	}
}

// sent records a first transmission.
func (c *Conn) sent(now Time, offset uint64, length int, flags recordFlags) {
	if c.out.count() == 0 {
		c.lastProgress = now
		c.timers.stop(timerRTO)
	}
	c.out.push(now, offset, length, flags)
	if !c.timers.running(timerRTO) {
		c.armRTO(now)
	}
	c.keepMemory(now)
}
