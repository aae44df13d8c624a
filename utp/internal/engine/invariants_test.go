package engine

import (
	"fmt"

	"utppunch/utp/internal/wire"
)

// invariants watches one connection: what must hold whatever the peer and the
// application do. It remembers what may only grow.
type invariants struct {
	c        *Conn
	mem      *testMemory
	edge     uint64 // right edge of the receive window
	received uint64
	acked    uint64 // bytes of our stream that the peer has acknowledged
	flight   int
	unacked  int // what occupied the peer's window
	// retransmits is how many packets had been sent again.
	retransmits uint64
	una         wire.SeqNr
	rcvNxt      wire.SeqNr
	connected   bool
}

// check returns the first invariant that does not hold.
func (v *invariants) check() error {
	c := v.c
	if err := v.checkMemory(); err != nil {
		return err
	}
	if c.state == closed {
		if c.out.count() != 0 || c.buf.len() != 0 || c.ahead.count != 0 || c.timers.next() != 0 {
			return fmt.Errorf("closed, but something is left: %d packets, %d bytes, %d ahead, timer at %d",
				c.out.count(), c.buf.len(), c.ahead.count, c.timers.next())
		}
		return nil
	}
	if c.state == connected && !v.connected {
		v.connected = true
		v.una, v.rcvNxt, v.edge, v.received = c.out.una, c.rcvNxt, c.window.edge, c.window.received
	}
	if v.connected {
		if err := v.checkMonotonic(); err != nil {
			return err
		}
	}
	if err := v.checkLists(); err != nil {
		return err
	}
	if err := v.checkDialect(); err != nil {
		return err
	}
	return v.checkSending()
}

// checkDialect checks what utp-punch cannot take: more than it has room for, and
// number 0 while one before it is outstanding.
func (v *invariants) checkDialect() error {
	out := &v.c.out
	switch {
	case !v.c.punch():
		return nil
	case out.count() > punchOutstanding:
		return fmt.Errorf("%d packets outstanding to utp-punch", out.count())
	case out.count() > 0 && out.nxt-1 < out.una:
		return fmt.Errorf("packets %d to %d outstanding to utp-punch", out.una, out.nxt-1)
	}
	return nil
}

func (v *invariants) checkMemory() error {
	c := v.c
	in, out, ahead := 0, 0, 0
	for ch := c.in.head; ch != nil; ch = ch.next {
		if ch.r >= ch.w || ch.w > len(ch.Buf) || ch != c.in.tail && ch.w != len(ch.Buf) {
			return fmt.Errorf("a receive chunk holds [%d, %d) of %d", ch.r, ch.w, len(ch.Buf))
		}
		in += ch.w - ch.r
	}
	if in != c.in.len {
		return fmt.Errorf("%d bytes to read in chunks, %d counted", in, c.in.len)
	}
	for ch := c.buf.head; ch != nil; ch = ch.next {
		if ch.w == 0 || ch.next != nil && ch.next.off != ch.off+uint64(ch.w) {
			return fmt.Errorf("a send chunk holds %d bytes at %d", ch.w, ch.off)
		}
		out += ch.w
	}
	if c.buf.head != nil {
		// The first chunk may be acknowledged in part.
		out -= int(c.buf.start - c.buf.head.off)
	}
	if out != c.buf.len() {
		return fmt.Errorf("%d bytes to send in chunks, %d counted", out, c.buf.len())
	}
	if c.ahead.count > 0 {
		count, bytes, charge := 0, 0, 0
		for s := c.rcvNxt; !s.After(c.ahead.last); s++ {
			if c.ahead.holds(s) {
				slot := &c.ahead.slots[c.ahead.index(s)]
				count, bytes, charge = count+1, bytes+int(slot.length), charge+chargeFor(int(slot.length))
				if slot.chunk != nil {
					ahead += len(slot.chunk.Buf)
				}
			}
		}
		if count != c.ahead.count || bytes != c.ahead.bytes || charge != c.ahead.charge {
			return fmt.Errorf("ahead: %d packets, %d bytes, charge %d; counted %d, %d, %d",
				count, bytes, charge, c.ahead.count, c.ahead.bytes, c.ahead.charge)
		}
		if !c.ahead.holds(c.ahead.last) || c.ahead.holds(c.rcvNxt) {
			return fmt.Errorf("ahead: the last is missing, or the next is there")
		}
	}

	// The bounds. Of a chunk at either end of a buffer only a part may be used.
	const slack = 2 * MaxChunk
	if c.buf.len() > c.params.SendBuffer+MaxChunk {
		return fmt.Errorf("%d bytes in a send buffer of %d", c.buf.len(), c.params.SendBuffer)
	}
	if c.window.limit > c.params.RecvBuffer || c.held() > c.window.limit+overshootLimit {
		return fmt.Errorf("%d bytes received, limit %d, buffer %d", c.held(), c.window.limit, c.params.RecvBuffer)
	}
	if c.ahead.charge > 2*c.window.limit+overshootLimit || ahead > 2*c.ahead.charge {
		return fmt.Errorf("%d bytes of memory ahead, charged %d, limit %d", ahead, c.ahead.charge, c.window.limit)
	}
	if limit := in + out + ahead + 2*slack; v.mem.bytes > limit {
		return fmt.Errorf("%d bytes of memory for %d + %d + %d", v.mem.bytes, in, out, ahead)
	}
	reserved := c.window.limit
	if c.state != connected {
		reserved = 0
	}
	if v.mem.reserved != reserved {
		return fmt.Errorf("%d bytes reserved, the window is %d", v.mem.reserved, reserved)
	}
	return nil
}

// checkMonotonic: what was promised or confirmed is not taken back.
func (v *invariants) checkMonotonic() error {
	c := v.c
	switch {
	case c.window.edge < v.edge:
		return fmt.Errorf("the right edge moved back from %d to %d", v.edge, c.window.edge)
	case c.window.received < v.received:
		return fmt.Errorf("the count of received bytes fell from %d to %d", v.received, c.window.received)
	case c.buf.start < v.acked:
		return fmt.Errorf("acknowledged bytes fell from %d to %d", v.acked, c.buf.start)
	case c.out.una.Before(v.una) || c.rcvNxt.Before(v.rcvNxt):
		return fmt.Errorf("sequence numbers went back: %d to %d, %d to %d", v.una, c.out.una, v.rcvNxt, c.rcvNxt)
	case c.unsent > c.buf.end || c.unsent < c.buf.start:
		return fmt.Errorf("unsent %d, buffer [%d, %d)", c.unsent, c.buf.start, c.buf.end)
	}
	v.edge, v.received, v.acked = c.window.edge, c.window.received, c.buf.start
	v.una, v.rcvNxt = c.out.una, c.rcvNxt
	return nil
}

// checkLists walks the lists of outstanding packets: each packet is in the one
// that its flags say, and their sums are right.
func (v *invariants) checkLists() error {
	f := &v.c.out
	if f.count() < 0 || f.count() > len(f.ring) {
		return fmt.Errorf("%d packets outstanding in a ring of %d", f.count(), len(f.ring))
	}
	sacked := 0
	for seq := f.una; seq != f.nxt; seq++ {
		if r := f.at(seq); r.has(recordSacked) {
			sacked++
		}
	}
	if sacked != int(f.sackedCount) || sacked+int(f.sent.count+f.lost.count) != f.count() {
		return fmt.Errorf("%d packets: %d sent, %d lost, %d sacked, counted %d",
			f.count(), f.sent.count, f.lost.count, sacked, f.sackedCount)
	}
	if sacked > 0 && f.at(f.una).has(recordSacked) {
		return fmt.Errorf("the oldest packet was selectively acknowledged")
	}
	for _, l := range [...]struct {
		name string
		list *recordList
		flag recordFlags
	}{{"sent", &f.sent, 0}, {"lost", &f.lost, recordLost}} {
		bytes, last, seq := 0, Time(0), l.list.head
		for i := range l.list.count {
			r := f.at(seq)
			if seq.Before(f.una) || !seq.Before(f.nxt) || r.flags&(recordLost|recordSacked) != l.flag {
				return fmt.Errorf("%s list: packet %d of [%d, %d) has flags %b", l.name, seq, f.una, f.nxt, r.flags)
			}
			if l.flag == 0 && r.sentAt < last {
				return fmt.Errorf("sent list: packet %d was sent at %d, its predecessor at %d", seq, r.sentAt, last)
			}
			if i == l.list.count-1 && seq != l.list.tail {
				return fmt.Errorf("%s list: ends with %d, not %d", l.name, seq, l.list.tail)
			}
			bytes += int(r.length)
			last, seq = r.sentAt, wire.SeqNr(r.next)
		}
		if bytes != l.list.bytes {
			return fmt.Errorf("%s list: %d bytes, counted %d", l.name, bytes, l.list.bytes)
		}
	}
	return nil
}

// checkSending compares what is in the network with what was allowed. Windows
// shrink afterwards; they bind while something is added.
func (v *invariants) checkSending() error {
	c := v.c
	flight, unacked := c.out.flightSize(), c.out.outstandingBytes()
	// Fast recovery may send one lost packet beyond the window at a time.
	repair := 0
	if c.recovery == fastRecovery && c.stats.Retransmits == v.retransmits+1 {
		repair = c.params.MaxDatagram - wire.HeaderSize
	}
	defer func() { v.flight, v.unacked, v.retransmits = flight, unacked, c.stats.Retransmits }()
	if c.state != connected {
		if c.out.count() != 0 {
			return fmt.Errorf("%d packets sent before the connection was confirmed", c.out.count())
		}
		return nil
	}
	if c.out.count() > c.maxOutstanding() {
		return fmt.Errorf("%d packets outstanding", c.out.count())
	}
	if c.out.count() > 0 && !c.timers.running(timerRTO) {
		return fmt.Errorf("%d packets outstanding and no retransmission timer", c.out.count())
	}
	largest := c.params.MaxDatagram - wire.HeaderSize
	if over := largest - c.segment(); flight > v.flight+repair && flight > max(c.cc.window(), largest)+over {
		return fmt.Errorf("%d bytes in flight, cwnd %d", flight, c.cc.window())
	}
	allowed := c.peerWindow
	if !c.ownKind {
		allowed += largest // a probe
	}
	if unacked > v.unacked && unacked > allowed {
		return fmt.Errorf("%d bytes outstanding, the peer's window is %d", unacked, c.peerWindow)
	}
	return nil
}

// checkIdle is check for the time when PollTransmit has nothing: who has
// something to send must be going to.
func (v *invariants) checkIdle() error {
	c := v.c
	if c.state != connected || c.out.count() > 0 || c.unsent == c.buf.end && c.finQueued == c.finSent {
		return nil
	}
	for _, id := range [...]timerID{timerPace, timerHold, timerProbe} {
		if c.timers.running(id) {
			return nil
		}
	}
	return fmt.Errorf("something to send, nothing outstanding, and no timer that would send it")
}

// count is the number of chunks in the list.
func (l *chunkList) count() (n int) {
	for c := l.head; c != nil; c = c.next {
		n++
	}
	return n
}
