package engine

import (
	"time"

	"utppunch/utp/internal/wire"
)

const (
	// maxAckDelay bounds how long an acknowledgement waits for data to travel
	// with. Peers time out after 200 ms at the earliest (librqbit).
	maxAckDelay = 25 * time.Millisecond
	// ackEvery is the number of packets that are acknowledged without delay
	// (RFC 1122, section 4.2.3.2).
	ackEvery = 2
)

// ackState decides when to acknowledge. A STATE never causes a STATE.
type ackState struct {
	due     bool // send an acknowledgement with the next flush
	alone   bool // it must be a STATE: the peer takes it from nothing else
	pending byte // packets received since the last acknowledgement, at most ackEvery
}

// received notes a packet that wants an acknowledgement. It returns the time by
// which one has to leave, zero if it is due at once or asked for already.
func (a *ackState) received(now Time) (deadline Time) {
	if a.pending = min(a.pending+1, ackEvery); a.pending == ackEvery {
		a.due = true
	}
	if a.due || a.pending > 1 {
		return 0
	}
	return now.Add(maxAckDelay)
}

// now asks for an acknowledgement with the next flush.
func (a *ackState) now() { a.due = true }

// nowAlone asks for one that travels in a STATE of its own.
func (a *ackState) nowAlone() { a.due, a.alone = true, true }

// sent notes that a packet with the current ack_nr left.
func (a *ackState) sent() { *a = ackState{} }

// putSack writes the selective acknowledgement of o behind a header and returns
// its length: the shortest multiple of 4 bytes that reaches the furthest packet
// held. ack_nr + 1 is missing by implication. One element, or to our own kind as
// many as fit; beyond that the furthest packets are left out.
func putSack(b []byte, o *reorder, next wire.SeqNr, ownKind bool) int {
	first := next + 1
	n, size := 0, (o.last.Diff(first)/8+4)&^3
	for size > 0 {
		part := min(size, wire.MaxSackBytes)
		if n+2+part > len(b) {
			part = (len(b) - n - 2) &^ 3
			size = part
		}
		if part <= 0 {
			break
		}
		b[n], b[n+1] = 0, byte(part)
		o.mask(b[n+2:n+2+part], first)
		if n > 0 {
			b[n-2-wire.MaxSackBytes] = wire.ExtSelectiveAck
		}
		n += 2 + part
		size -= part
		first += wire.SeqNr(8 * part)
		if !ownKind {
			break
		}
	}
	return n
}
