package engine

import (
	"time"

	"utppunch/utp/internal/wire"
)

const (
	// tombstoneLife is how long the peer's FIN is acknowledged again.
	tombstoneLife = 5 * time.Second
	// minReuse is how long at least an id is not used again: packets of its last
	// life may still be on their way.
	minReuse = 250 * time.Millisecond
)

// Tombstone remains of a connection whose both directions ended. Nothing is lost
// any more, but the peer may not know: it acknowledges what is repeated.
type Tombstone struct {
	Expires  Time       // when it can be forgotten
	Reusable Time       // when the id may be used for another connection
	SynSeqNr wire.SeqNr // of the SYN that opened the connection

	connIDSend     uint16
	sndNxt, rcvNxt wire.SeqNr
	window         uint32
	alone          bool // a STATE is sent once
}

// Tombstone returns what is to be kept of a connection that is Finished, and
// whether anything is.
func (c *Conn) Tombstone(now Time) (Tombstone, bool) {
	if c.reason != Finished || !c.eof {
		return Tombstone{}, false
	}
	reuse := max(2*c.rtt.srtt, minReuse)
	if c.punch() {
		reuse = punchReuse
	}
	return Tombstone{
		Expires:    now.Add(max(tombstoneLife, reuse)),
		Reusable:   now.Add(reuse),
		SynSeqNr:   c.SynSeqNr(),
		connIDSend: c.connIDSend,
		sndNxt:     c.out.nxt,
		rcvNxt:     c.rcvNxt,
		window:     uint32(c.window.promised()),
		alone:      !c.finSent || c.ownKind || c.punch(),
	}, true
}

// Reply writes the answer to a packet into b, which has room for two headers,
// and returns its description; Len is zero if there is none.
func (t *Tombstone) Reply(now Time, p *wire.Packet, b []byte) Transmit {
	d := p.SeqNr.Diff(t.rcvNxt)
	if p.Type != wire.Data && p.Type != wire.Fin || d >= 0 || d < -reorderCapOwnKind || p.AckNr.After(t.sndNxt-1) {
		return Transmit{}
	}
	h := wire.Header{
		Type:          wire.State,
		ConnID:        t.connIDSend,
		Timestamp:     now.timestamp(),
		TimestampDiff: p.Timestamp.DiffSince(int64(now)),
		Window:        t.window,
		SeqNr:         t.sndNxt,
		AckNr:         t.rcvNxt - 1,
	}
	if t.alone {
		h.Put(b, 0)
		return single(wire.HeaderSize)
	}
	return putStatePair(b, &h, 0, wire.HeaderSize)
}
