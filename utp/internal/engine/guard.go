package engine

import (
	"time"

	"utppunch/utp/internal/wire"
)

const (
	guardStep  = 4096              // delivered packets between two marks
	guardMarks = 65536 / guardStep // marks in one turn of the sequence space
	halfSpace  = 1 << 15
	// staleAck is how much older than the newest packet one may be before its
	// acknowledgement and window are ignored: a quarter of the clock's wrap.
	staleAck = 1 << 30
	// guardMemory is how long a timestamp is good for a comparison: no duplicate
	// lives as long, and later the peer's clock may have turned (RFC 7323,
	// section 5.5).
	guardMemory = staleAck * time.Microsecond
)

// guard tells packets of this turn of the sequence space from duplicates of the
// last one. 65,536 packets pass in 30 ms at full speed, and uTP has nothing
// like PAWS (RFC 7323, section 5). But a packet that belongs to sequence number
// seq left its sender after seq − 32,768 had been delivered here, so its
// timestamp is not older than that packet's.
type guard struct {
	newest   wire.Timestamp
	marked   uint16                 // bit a mark: it was set
	newestAt Time                   // when the newest packet arrived, zero: none did
	marks    *[guardMarks]guardMark // of every guardStep-th packet
	// Since when there were only DATA of another turn, or stale packets: the
	// peer's clock may have been set.
	strayedAt, stalledAt Time
}

type guardMark struct {
	timestamp wire.Timestamp
	at        Time // when it was the newest
}

// delivered notes the timestamp of a packet as it enters the stream.
func (g *guard) delivered(seq wire.SeqNr, ts wire.Timestamp) {
	if seq%guardStep != 0 || ts == 0 {
		return
	}
	if g.marks == nil {
		g.marks = new([guardMarks]guardMark)
	}
	i := int(seq / guardStep)
	g.marks[i] = guardMark{ts, g.newestAt}
	g.marked |= 1 << i
}

// check reports whether a packet belongs to this turn of the sequence space,
// and whether its acknowledgement and window may be used. After one timeout rto
// of nothing but refusals the guard starts anew.
func (g *guard) check(now Time, p *wire.Packet, rto time.Duration) (inTurn, fresh bool) {
	if p.Timestamp == 0 {
		return true, true
	}
	known := g.newestAt != 0 && now.Sub(g.newestAt) <= guardMemory
	inTurn = p.Type == wire.State || g.fits(now, p.SeqNr, p.Timestamp)
	fresh = !known || int32(g.newest-p.Timestamp) <= staleAck
	if p.Type != wire.State && persists(&g.strayedAt, !inTurn, now, rto) ||
		persists(&g.stalledAt, !fresh, now, rto) {
		*g = guard{}
		known, inTurn, fresh = false, true, true
	}
	if fresh && (!known || g.newest.Before(p.Timestamp)) {
		g.newest, g.newestAt = p.Timestamp, now
	}
	return inTurn, fresh
}

// fits reports whether the timestamp of a DATA or FIN is one of this turn.
func (g *guard) fits(now Time, seq wire.SeqNr, ts wire.Timestamp) bool {
	if g.marks == nil {
		return true
	}
	i := int((seq - halfSpace) / guardStep)
	m := &g.marks[i]
	return g.marked>>i&1 == 0 || now.Sub(m.at) > guardMemory || !ts.Before(m.timestamp)
}

// persists keeps in since when bad has been the case, and reports whether that
// is d ago.
func persists(since *Time, bad bool, now Time, d time.Duration) bool {
	switch {
	case !bad:
		*since = 0
	case *since == 0:
		*since = now
	default:
		return now.Sub(*since) >= d
	}
	return false
}
