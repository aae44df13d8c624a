package engine

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// reorderModel is reorder as a map.
type reorderModel struct {
	next wire.SeqNr
	held map[wire.SeqNr]reorderItem
}

type reorderItem struct {
	payload string
	fin     bool
	ts      wire.Timestamp
}

func (m *reorderModel) check(t *testing.T, o *reorder, mem *testMemory, window int) {
	t.Helper()
	bytes, charge, last := 0, 0, -1
	for d := range window {
		seq := m.next + wire.SeqNr(d)
		item, ok := m.held[seq]
		if o.holds(seq) != ok {
			t.Fatalf("packet %d, %d ahead of %d, ring of %d: held %v", seq, d, m.next, o.size(), !ok)
		}
		if ok {
			last = d
			bytes += len(item.payload)
			charge += chargeFor(len(item.payload))
		}
	}
	require.Equal(t, len(m.held), o.count)
	require.Equal(t, bytes, o.bytes)
	require.Equal(t, charge, o.charge)
	if last >= 0 {
		require.Equal(t, m.next+wire.SeqNr(last), o.last)
		// The mask says what is held, however long it is.
		for _, n := range []int{last/8 + 1, last/8 + 5} {
			mask := make([]byte, n)
			o.mask(mask, m.next+1)
			for i := range 8 * n {
				if _, held := m.held[m.next+1+wire.SeqNr(i)]; held != (mask[i/8]>>(i%8)&1 == 1) {
					t.Fatalf("bit %d of %d bytes, next %d, ring of %d: want %v", i, n, m.next, o.size(), held)
				}
			}
		}
	}
	chunks := 0
	for _, item := range m.held {
		if item.payload != "" {
			chunks++
		}
	}
	require.Equal(t, chunks, mem.chunks)
}

// TestReorderModel fills gaps at random, across the wrap of the sequence numbers
// and of the ring.
func TestReorderModel(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 0))
		mem := &testMemory{}
		o := &reorder{}
		m := &reorderModel{next: wire.SeqNr(-r.IntN(200)), held: map[wire.SeqNr]reorderItem{}}
		window := pick(r, 10, 64, 65, 130, 300)
		for range 400 {
			if r.IntN(3) > 0 {
				seq := m.next + 1 + wire.SeqNr(r.IntN(window-1))
				if _, ok := m.held[seq]; ok {
					continue
				}
				item := reorderItem{string(bytes.Repeat([]byte{byte(seq)}, r.IntN(30))), r.IntN(9) == 0, wire.Timestamp(r.Uint32())}
				o.add(mem, m.next, seq, []byte(item.payload), item.fin, item.ts)
				m.held[seq] = item
			} else {
				// The gap is filled, and everything that follows it is taken.
				for m.next++; o.holds(m.next); m.next++ {
					s := o.remove(m.next)
					item := m.held[m.next]
					delete(m.held, m.next)
					require.EqualValues(t, len(item.payload), s.length)
					require.Equal(t, item.fin, s.fin)
					require.Equal(t, item.ts, s.timestamp)
					if item.payload == "" {
						require.Nil(t, s.chunk)
					} else {
						require.Equal(t, item.payload, string(s.chunk.Buf[:s.length]))
						mem.Put(s.chunk)
					}
				}
			}
			m.check(t, o, mem, window+10)
		}
		o.clear(mem)
		require.Zero(t, *o)
		require.Zero(t, mem.chunks)
	}
}

// TestReorderIsNotConfusedByItsRing: a packet that falls into the slot of
// another one is not that other one.
func TestReorderIsNotConfusedByItsRing(t *testing.T) {
	for _, size := range []wire.SeqNr{64, 128, 1024, 32768 / 2} {
		mem := &testMemory{}
		o := &reorder{}
		next := wire.SeqNr(65000)
		o.add(mem, next, next+1, []byte("first"), false, 1)
		o.add(mem, next, next+size-1, []byte("last in the ring"), false, 1)
		require.Len(t, o.slots, int(size))
		require.False(t, o.holds(next+1+size))
		o.add(mem, next, next+1+size, []byte("alias"), false, 1)
		require.Len(t, o.slots, int(2*size))
		for seq, want := range map[wire.SeqNr]string{next + 1: "first", next + size - 1: "last in the ring", next + 1 + size: "alias"} {
			require.True(t, o.holds(seq))
			s := o.remove(seq)
			require.Equal(t, want, string(s.chunk.Buf[:s.length]))
		}
	}
}

// TestReorderHoldsHalfTheSpace, the furthest packet first.
func TestReorderHoldsHalfTheSpace(t *testing.T) {
	mem := &testMemory{}
	o := &reorder{}
	next := wire.SeqNr(50000)
	for d := reorderCapOwnKind - 1; d > 0; d -= 7 {
		o.add(mem, next, next+wire.SeqNr(d), nil, false, 1)
	}
	require.Len(t, o.slots, 1<<15)
	require.Zero(t, mem.chunks, "no payload, no memory")
	for d := 1; d < reorderCapOwnKind; d++ {
		if o.holds(next+wire.SeqNr(d)) != ((reorderCapOwnKind-1-d)%7 == 0) {
			t.Fatalf("%d ahead", d)
		}
	}
	mask := make([]byte, wire.MaxSackBytes)
	first := next + 1 + wire.SeqNr(8*13*wire.MaxSackBytes)
	o.mask(mask, first)
	for i := range wire.SackPackets {
		if o.holds(first+wire.SeqNr(i)) != (mask[i/8]>>(i%8)&1 == 1) {
			t.Fatalf("bit %d", i)
		}
	}
}

// TestReorderCharge: a slot costs what it occupies, not what it carries.
func TestReorderCharge(t *testing.T) {
	require.Equal(t, 32, chargeFor(0))
	require.Equal(t, 32+MinChunk, chargeFor(1))
	require.Equal(t, 32+MinChunk, chargeFor(MinChunk))
	require.Equal(t, 32+9000, chargeFor(9000))
}
