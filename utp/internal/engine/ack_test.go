package engine

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// TestAckEverySecondPacket: RFC 1122, section 4.2.3.2: "a delayed ACK … MUST be
// less than 0.5 seconds, and in a stream of full-sized segments there SHOULD be
// an ACK for at least every second segment."
func TestAckEverySecondPacket(t *testing.T) {
	var a ackState
	now := Time(time.Second)
	for range 3 {
		require.Equal(t, now.Add(maxAckDelay), a.received(now), "the first may wait")
		require.False(t, a.due)
		require.Zero(t, a.received(now.Add(ms)), "the second may not")
		require.True(t, a.due)
		require.False(t, a.alone, "data will carry it")
		require.Zero(t, a.received(now.Add(ms)))
		a.sent()
		require.Zero(t, a)
	}
	require.Less(t, maxAckDelay, 200*ms, "the shortest timeout of any peer")

	a.now()
	require.True(t, a.due)
	require.Zero(t, a.received(now), "one is due already")
	a.nowAlone()
	require.True(t, a.due && a.alone)
}

// sackOf returns a STATE with the selective acknowledgement of the packets held,
// next being the first one missing. The acknowledgement has so much room.
func sackOf(t *testing.T, room int, ownKind bool, next wire.SeqNr, held ...wire.SeqNr) []byte {
	t.Helper()
	mem := &testMemory{}
	o := &reorder{}
	for _, seq := range held {
		o.add(mem, next, seq, nil, false, 1)
	}
	b := bytes.Repeat([]byte{0xa5}, wire.HeaderSize+room+50)
	n := putSack(b[wire.HeaderSize:wire.HeaderSize+room], o, next, ownKind)
	require.LessOrEqual(t, n, room)
	behind := b[wire.HeaderSize+n:]
	require.Equal(t, len(behind), bytes.Count(behind, []byte{0xa5}), "behind the acknowledgement")
	h := wire.Header{Type: wire.State, AckNr: next - 1}
	h.Put(b, wire.ExtSelectiveAck)
	return b[:wire.HeaderSize+n]
}

// parseSack returns the packets that a STATE acknowledges selectively, as
// handleAck understands it, and the lengths of its elements.
func parseSack(t *testing.T, b []byte) (held []wire.SeqNr, lengths []int) {
	t.Helper()
	var p wire.Packet
	require.True(t, p.Parse(b))
	require.Empty(t, p.Payload)
	seq := p.AckNr + 2
	for typ, mask := range p.Extensions.All() {
		require.Equal(t, wire.ExtSelectiveAck, typ)
		lengths = append(lengths, len(mask))
		for _, bits := range mask {
			for i := range wire.SeqNr(8) {
				if bits>>i&1 != 0 {
					held = append(held, seq+i)
				}
			}
			seq += 8
		}
	}
	return held, lengths
}

// TestSackIsShort: the shortest multiple of 4 bytes that reaches the last packet
// held. anacrolix/utp takes every zero behind it for a loss.
func TestSackIsShort(t *testing.T) {
	next := wire.SeqNr(65500)
	for _, tt := range []struct {
		ahead wire.SeqNr
		bytes int
	}{{1, 4}, {2, 4}, {9, 4}, {32, 4}, {33, 8}, {64, 8}, {65, 12}, {1000, 128}, {2016, 252}} {
		for _, ownKind := range []bool{false, true} {
			b := sackOf(t, 1400, ownKind, next, next+tt.ahead)
			held, lengths := parseSack(t, b)
			require.Equal(t, []wire.SeqNr{next + tt.ahead}, held, "%d ahead", tt.ahead)
			require.Equal(t, []int{tt.bytes}, lengths, "%d ahead", tt.ahead)
		}
	}
	require.Equal(t, []byte{0, 4, 0b101, 0, 0, 0x80}, sackOf(t, 1400, false, 10, 11, 13, 42)[wire.HeaderSize:])
}

// TestSackChain: to our own kind elements follow one another, as many as a
// datagram holds; what is furthest ahead is left out then.
func TestSackChain(t *testing.T) {
	next := wire.SeqNr(40000)
	held := []wire.SeqNr{next + 1, next + 2016, next + 2017, next + 4033, next + 9000, next + 32766}
	for _, tt := range []struct {
		room    int
		own     bool
		want    int // of held
		lengths []int
	}{
		{1452, false, 2, []int{252}},
		{1452, true, 5, []int{252, 252, 252, 252, 252, 180}},
		{65000, true, 6, []int{252, 252, 252, 252, 252, 252, 252, 252, 252, 252, 252, 252, 252, 252, 252, 252, 64}},
		{1180, true, 5, []int{252, 252, 252, 252, 160}},
		{254 + 254, true, 3, []int{252, 252}},
		{254 + 253, true, 3, []int{252, 248}},
		{254 + 6, true, 3, []int{252, 4}},
		{254 + 5, true, 2, []int{252}},
		{254 + 1, true, 2, []int{252}},
		{130, true, 1, []int{128}},
		{6, true, 1, []int{4}},
		{6, false, 1, []int{4}},
	} {
		got, lengths := parseSack(t, sackOf(t, tt.room, tt.own, next, held...))
		require.Equal(t, tt.lengths, lengths, "room for %d", tt.room)
		require.Equal(t, held[:tt.want], got, "room for %d", tt.room)
	}
}

// TestSackIsUnderstood has many holes in half of the sequence space told to a
// sender of our own kind, which resends them and nothing else.
func TestSackIsUnderstood(t *testing.T) {
	long(t)
	p := newPair(1)
	p.a.out, p.b.out = link{delay: 20 * ms}, link{delay: 20 * ms}
	p.a.params.SendBuffer = 32 << 20
	p.b.params.RecvBuffer = 256 << 20
	p.a.params.MaxDatagram = BaseDatagram
	p.connect(t)
	p.move(t, p.a, 20<<20, func() {})
	a, b := p.a.conn, p.b.conn
	holes := 0
	first := a.out.nxt
	p.drop = func(from *peer, pkt *wire.Packet) bool {
		if from == p.a && pkt.Type == wire.Data && pkt.SeqNr.Diff(first)%100 == 0 && !pkt.SeqNr.Before(first) && holes < 70 {
			holes++
			return true
		}
		return false
	}
	resent := a.stats.Retransmits
	p.move(t, p.a, 8<<20, func() {})
	require.Equal(t, 70, holes)
	require.EqualValues(t, 70, a.stats.Retransmits-resent)
	require.Greater(t, b.stats.OutOfOrder, uint64(5000), "more than one element covers")
	require.Zero(t, a.stats.Timeouts)
	require.Zero(t, b.stats.Duplicates)
}
