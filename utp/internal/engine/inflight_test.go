package engine

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// inflightModel is inflight as one would write it without a thought for speed.
type inflightModel struct {
	una, nxt   wire.SeqNr
	sent, lost []wire.SeqNr
	sacked     map[wire.SeqNr]bool
	packets    map[wire.SeqNr]record
	maxCount   int
}

func (m *inflightModel) bytes(seqs []wire.SeqNr) (n int) {
	for _, s := range seqs {
		n += int(m.packets[s].length)
	}
	return n
}

func remove(list []wire.SeqNr, seq wire.SeqNr) []wire.SeqNr {
	return slices.DeleteFunc(list, func(s wire.SeqNr) bool { return s == seq })
}

func (m *inflightModel) check(t *testing.T, f *inflight) {
	t.Helper()
	var lost, sent []wire.SeqNr
	for l, to := range map[*recordList]*[]wire.SeqNr{&f.lost: &lost, &f.sent: &sent} {
		for seq, n := l.head, l.count; n > 0; n-- {
			*to = append(*to, seq)
			seq = wire.SeqNr(f.at(seq).next)
		}
		if l.count > 0 {
			require.Equal(t, (*to)[l.count-1], l.tail)
		}
	}
	require.True(t, slices.Equal(m.sent, sent), "sent list: want %d, got %d", m.sent, sent)
	require.True(t, slices.Equal(m.lost, lost), "lost list: want %d, got %d", m.lost, lost)
	require.Equal(t, m.bytes(m.sent), f.flightSize())
	require.Equal(t, m.bytes(m.sent)+m.bytes(m.lost), f.outstandingBytes())
	require.Equal(t, m.una, f.una)
	require.Equal(t, m.nxt, f.nxt)
	require.Equal(t, int(m.nxt-m.una), f.count())
	require.EqualValues(t, m.maxCount, f.maxCount)
	require.EqualValues(t, len(m.sacked), f.sackedCount)
	for s := m.una; s != m.nxt; s++ {
		got, want := *f.at(s), m.packets[s]
		got.prev, got.next = 0, 0
		if m.sacked[s] {
			want.flags |= recordSacked
		}
		if slices.Contains(m.lost, s) {
			want.flags |= recordLost
		}
		if got != want {
			t.Fatalf("packet %d: %+v, want %+v", s, got, want)
		}
	}
}

// TestInflightModel does at random what happens to packets, across the wrap of
// the sequence numbers and several growths of the ring.
func TestInflightModel(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 0))
		first := wire.SeqNr(-r.IntN(100))
		f := &inflight{una: first, nxt: first}
		m := &inflightModel{una: first, nxt: first, sacked: map[wire.SeqNr]bool{}, packets: map[wire.SeqNr]record{}}
		most := 1 + r.IntN(100)
		now := Time(1)
		for range 600 {
			now++
			switch op := r.IntN(10); {
			case op < 4 && f.count() < most:
				n, flags := r.IntN(1500), pick(r, 0, 0, 0, recordFin)
				f.push(now, uint64(now), n, flags)
				m.packets[m.nxt] = record{offset: uint64(now), sentAt: now, length: uint16(n), flags: flags, transmissions: 1}
				m.sent = append(m.sent, m.nxt)
				m.nxt++
				m.maxCount = max(m.maxCount, int(m.nxt-m.una))
			case op == 4 && len(m.sent) > 0:
				s := m.sent[r.IntN(len(m.sent))]
				f.markLost(s)
				m.sent, m.lost = remove(m.sent, s), append(m.lost, s)
			case op == 5 && len(m.lost) > 0:
				s := m.lost[r.IntN(len(m.lost))]
				f.resend(now, s)
				m.lost, m.sent = remove(m.lost, s), append(m.sent, s)
				p := m.packets[s]
				p.sentAt, p.transmissions = now, p.transmissions+1
				m.packets[s] = p
			case op == 6 && len(m.sent) > 0:
				s := m.sent[r.IntN(len(m.sent))]
				f.markSacked(s)
				m.sent, m.sacked[s] = remove(m.sent, s), true
			case op == 7 && len(m.lost) > 0:
				s := m.lost[r.IntN(len(m.lost))]
				f.markSacked(s)
				m.lost, m.sacked[s] = remove(m.lost, s), true
			case op == 8 && m.una != m.nxt:
				for n := 1 + r.IntN(int(m.nxt-m.una)); n > 0; n-- {
					f.pop()
					m.sent, m.lost = remove(m.sent, m.una), remove(m.lost, m.una)
					delete(m.sacked, m.una)
					delete(m.packets, m.una)
					m.una++
				}
			case op == 9 && r.IntN(10) == 0:
				f.loseAll()
				m.sent, m.lost = nil, nil
				for s := m.una; s != m.nxt; s++ {
					if !m.sacked[s] {
						m.lost = append(m.lost, s)
					}
				}
			}
			m.check(t, f)
		}
	}
}

// TestInflightHoldsHalfTheSpace: as many packets as numbers can be told apart,
// and one more is a bug.
func TestInflightHoldsHalfTheSpace(t *testing.T) {
	f := &inflight{una: 40000, nxt: 40000}
	for i := range maxRing - 1 {
		f.push(1, uint64(i), 1, 0)
	}
	require.Equal(t, maxRing-1, f.count())
	require.Len(t, f.ring, maxRing)
	for i := range maxRing - 1 {
		if f.at(40000+wire.SeqNr(i)).offset != uint64(i) {
			t.Fatalf("packet %d", i)
		}
	}
	require.Equal(t, maxRing-1, f.flightSize())
}

func TestInflightForgetsTheProbe(t *testing.T) {
	f := &inflight{}
	f.push(1, 0, 1000, recordProbe)
	require.True(t, f.at(0).has(recordProbe))
	f.markLost(0)
	f.resend(2, 0)
	require.False(t, f.at(0).has(recordProbe), "sent again, it may be fragmented and proves nothing")
	f.push(1, 0, 1000, recordProbe)
	f.loseAll()
	require.False(t, f.at(1).has(recordProbe))
}

func TestInflightTransmissionsSaturate(t *testing.T) {
	f := &inflight{}
	f.push(1, 0, 1000, 0)
	for range 300 {
		f.markLost(0)
		f.resend(2, 0)
	}
	require.EqualValues(t, 255, f.at(0).transmissions)
}
