package engine

import (
	"math/bits"

	"utppunch/utp/internal/wire"
)

const (
	// reorderCap is how far ahead of a gap a packet of any peer may be, in
	// packets: libutp's own limit.
	reorderCap = 1024
	// reorderCapOwnKind is half of the sequence space, less one.
	reorderCapOwnKind = 1<<15 - 1
)

// reorder holds packets that arrived ahead of a gap, one slot each: their place
// in the byte stream is not known before the gap is filled. The bitmap beside
// the slots is what selective acknowledgements are read from.
type reorder struct {
	*reorderRing     // nil: nothing is held, or was lately
	count        int // packets held
	bytes        int // payload held
	charge       int // memory held
}

type reorderRing struct {
	slots []reorderSlot // power of two ≥ 64, indexed by sequence number
	bits  []uint64      // the same, one bit a slot
	last  wire.SeqNr    // the furthest packet held, while there is one
}

type reorderSlot struct {
	chunk     *Chunk // nil for a packet without payload
	length    uint16
	fin       bool
	timestamp wire.Timestamp
}

// slotCharge is what a slot costs besides its chunk.
const slotCharge = 32

// chargeFor is the memory that a packet of n payload bytes occupies.
func chargeFor(n int) int {
	if n == 0 {
		return slotCharge
	}
	return slotCharge + max(MinChunk, n)
}

// slotSize is what a slot of the ring occupies, used or not.
const slotSize = 16

// cost is the memory that would be occupied with one more packet, of n payload
// bytes and d ahead of the first missing one.
func (o *reorder) cost(d, n int) int {
	return o.charge + chargeFor(n) + slotSize*max(o.size(), ringSize(d+1))
}

// size is the number of slots.
func (o *reorder) size() int {
	if o.reorderRing == nil {
		return 0
	}
	return len(o.slots)
}

// ringSize is the number of slots for a window of n packets.
func ringSize(n int) int { return max(64, 1<<bits.Len(uint(n-1))) }

func (o *reorder) index(seq wire.SeqNr) int { return int(seq) & (len(o.slots) - 1) }

// holds reports whether the packet seq is held, which is not before the first
// missing number. What is further than the last one held only shares its slot.
func (o *reorder) holds(seq wire.SeqNr) bool {
	if o.count == 0 || seq.After(o.last) {
		return false
	}
	i := o.index(seq)
	return o.bits[i>>6]>>(i&63)&1 != 0
}

// add stores a packet that is ahead of next, the first missing number. The
// caller has made sure that it is not held yet.
func (o *reorder) add(mem Memory, next, seq wire.SeqNr, payload []byte, fin bool, ts wire.Timestamp) {
	o.reserve(next, seq)
	s := reorderSlot{length: uint16(len(payload)), fin: fin, timestamp: ts}
	if len(payload) > 0 {
		s.chunk = mem.Get(len(payload))
		copy(s.chunk.Buf, payload)
	}
	i := o.index(seq)
	o.slots[i] = s
	o.bits[i>>6] |= 1 << (i & 63)
	if o.count == 0 || seq.After(o.last) {
		o.last = seq
	}
	o.count++
	o.bytes += len(payload)
	o.charge += chargeFor(len(payload))
}

// reserve makes the ring large enough for the window [next, seq].
func (o *reorder) reserve(next, seq wire.SeqNr) {
	need := seq.Diff(next) + 1
	if need <= o.size() {
		return
	}
	size := ringSize(need)
	old := *o
	o.reorderRing = &reorderRing{slots: make([]reorderSlot, size), bits: make([]uint64, size/64)}
	if old.count == 0 {
		return
	}
	o.last = old.last
	for s := next; !s.After(old.last); s++ {
		if old.holds(s) {
			i := o.index(s)
			o.slots[i] = old.slots[old.index(s)]
			o.bits[i>>6] |= 1 << (i & 63)
		}
	}
}

// remove takes the packet seq out; it must be held.
func (o *reorder) remove(seq wire.SeqNr) reorderSlot {
	i := o.index(seq)
	s := o.slots[i]
	o.slots[i] = reorderSlot{}
	o.bits[i>>6] &^= 1 << (i & 63)
	o.count--
	o.bytes -= int(s.length)
	o.charge -= chargeFor(int(s.length))
	return s
}

// clear drops everything.
func (o *reorder) clear(mem Memory) {
	for i := range o.size() {
		if c := o.slots[i].chunk; c != nil {
			mem.Put(c)
		}
	}
	*o = reorder{}
}

// mask fills dst with the selective acknowledgement of the packets from first
// on, bit by bit, lowest first.
func (o *reorder) mask(dst []byte, first wire.SeqNr) {
	for k := range dst {
		i := o.index(first + wire.SeqNr(8*k))
		w := o.bits[i>>6] >> (i & 63)
		if rest := 64 - i&63; rest < 8 {
			next := (i>>6 + 1) & (len(o.bits) - 1)
			w |= o.bits[next] << rest
		}
		dst[k] = byte(w)
		// Numbers beyond the last one held alias the ring's start.
		if ahead := o.last.Diff(first+wire.SeqNr(8*k)) + 1; ahead < 8 {
			dst[k] &= 1<<max(ahead, 0) - 1
		}
	}
}
