package engine

import "utppunch/utp/internal/wire"

// record is one packet that consumed a sequence number and is not yet
// acknowledged cumulatively. Its length is fixed at the first transmission: a
// sequence number cannot be split.
type record struct {
	offset        uint64 // of the payload, in the send buffer
	sentAt        Time   // last transmission
	length        uint16 // payload bytes
	prev, next    uint16 // neighbours in the list that holds the record
	flags         recordFlags
	transmissions uint8 // saturates
}

type recordFlags uint8

const (
	recordSacked recordFlags = 1 << iota // acknowledged selectively; in no list
	recordLost                           // in the lost list; otherwise in the sent list
	recordFin                            // ST_FIN
	recordProbe                          // MTU probe in its first transmission
)

func (r *record) has(f recordFlags) bool { return r.flags&f != 0 }

// inflight is the window [una, nxt) of sent sequence numbers: a ring of
// records, and two lists through it. The sent list is in order of last
// transmission, which makes RACK's walk short (RFC 8985, section 6.2 step 5);
// the lost list is in order of detection, and is retransmitted from the front.
// The oldest packet is never one that was acknowledged selectively.
type inflight struct {
	ring        []record // power of two, indexed by sequence number
	sent, lost  recordList
	sackedCount uint16
	maxCount    uint16 // most packets ever outstanding
	una, nxt    wire.SeqNr
}

type recordList struct {
	bytes      int
	head, tail wire.SeqNr
	count      uint16
}

const (
	minRing = 8
	maxRing = 1 << 15
)

// count is the number of outstanding packets.
func (f *inflight) count() int { return f.nxt.Diff(f.una) }

// flightSize is the payload in the network as far as known, in bytes.
func (f *inflight) flightSize() int { return f.sent.bytes }

// outstandingBytes is the payload that occupies the peer's window: sent and
// neither acknowledged nor selectively acknowledged.
func (f *inflight) outstandingBytes() int { return f.sent.bytes + f.lost.bytes }

func (f *inflight) at(seq wire.SeqNr) *record { return &f.ring[int(seq)&(len(f.ring)-1)] }

// push records the first transmission of the next sequence number.
func (f *inflight) push(now Time, offset uint64, length int, flags recordFlags) {
	if f.count() >= len(f.ring) {
		f.grow()
	}
	seq := f.nxt
	f.nxt++
	*f.at(seq) = record{offset: offset, sentAt: now, length: uint16(length), flags: flags, transmissions: 1}
	f.append(&f.sent, seq)
	f.maxCount = max(f.maxCount, uint16(f.count()))
}

func (f *inflight) grow() {
	if len(f.ring) >= maxRing {
		panic("BUG: engine: more packets outstanding than sequence numbers allow")
	}
	old := f.ring
	f.ring = make([]record, max(minRing, 2*len(old)))
	for seq := f.una; seq != f.nxt; seq++ {
		*f.at(seq) = old[int(seq)&(len(old)-1)]
	}
}

// resend moves a lost record back to the end of the sent list.
func (f *inflight) resend(now Time, seq wire.SeqNr) {
	r := f.at(seq)
	f.remove(&f.lost, seq)
	r.flags &^= recordLost | recordProbe
	r.sentAt = now
	if r.transmissions < 255 {
		r.transmissions++
	}
	f.append(&f.sent, seq)
}

// markLost moves a record from the sent list to the lost list.
func (f *inflight) markLost(seq wire.SeqNr) {
	f.remove(&f.sent, seq)
	f.at(seq).flags |= recordLost
	f.append(&f.lost, seq)
}

// loseAll moves everything to the lost list, the oldest packet first: RFC 6298,
// 5.4. The peer may have no room for any other before that one is there.
func (f *inflight) loseAll() {
	f.sent, f.lost = recordList{}, recordList{}
	for seq := f.una; seq != f.nxt; seq++ {
		if r := f.at(seq); !r.has(recordSacked) {
			r.flags = r.flags&^recordProbe | recordLost
			f.append(&f.lost, seq)
		}
	}
}

// markSacked takes a record out of its list.
func (f *inflight) markSacked(seq wire.SeqNr) {
	r := f.at(seq)
	f.unlist(seq)
	r.flags = r.flags&^recordLost | recordSacked
	f.sackedCount++
}

// pop removes the oldest record.
func (f *inflight) pop() {
	if f.at(f.una).has(recordSacked) {
		f.sackedCount--
	} else {
		f.unlist(f.una)
	}
	f.una++
}

func (f *inflight) unlist(seq wire.SeqNr) {
	if f.at(seq).has(recordLost) {
		f.remove(&f.lost, seq)
	} else {
		f.remove(&f.sent, seq)
	}
}

func (f *inflight) append(l *recordList, seq wire.SeqNr) {
	r := f.at(seq)
	if l.count == 0 {
		l.head = seq
	} else {
		f.at(l.tail).next = uint16(seq)
		r.prev = uint16(l.tail)
	}
	l.tail = seq
	l.count++
	l.bytes += int(r.length)
}

func (f *inflight) remove(l *recordList, seq wire.SeqNr) {
	r := f.at(seq)
	l.count--
	l.bytes -= int(r.length)
	if seq == l.head {
		l.head = wire.SeqNr(r.next)
	} else {
		f.at(wire.SeqNr(r.prev)).next = r.next
	}
	if seq == l.tail {
		l.tail = wire.SeqNr(r.prev)
	} else {
		f.at(wire.SeqNr(r.next)).prev = r.prev
	}
}
