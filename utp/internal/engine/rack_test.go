package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// rackTest drives rack and the list of outstanding packets as Conn does, and
// tells it as a story: send, ack, sack, advance, wantLost.
type rackTest struct {
	t      *testing.T
	now    Time
	rack   rack
	out    inflight
	minRTT time.Duration
	srtt   time.Duration
	wait   time.Duration
	lost   []wire.SeqNr
	inRecovery,
	uncovered bool // the peer does not say what arrived beyond the sacked ones
}

func newRackTest(t *testing.T, first wire.SeqNr) *rackTest {
	r := &rackTest{t: t, now: Time(time.Second), minRTT: 100 * ms, srtt: 100 * ms}
	r.out.una, r.out.nxt = first, first
	r.rack.covered = first - 1
	t.Cleanup(func() { require.Empty(t, r.lost, "packets lost that nobody asked for") })
	return r
}

func (r *rackTest) advance(d time.Duration) {
	r.t.Helper()
	r.t.Logf("# %v pass", d)
	r.now = r.now.Add(d)
	r.detect()
}

// send sends n packets at once.
func (r *rackTest) send(n int) {
	r.t.Helper()
	r.t.Logf("# send %d to %d", r.out.nxt, r.out.nxt+wire.SeqNr(n)-1)
	for range n {
		r.out.push(r.now, 0, 1000, 0)
	}
}

// resend sends what was lost.
func (r *rackTest) resend(want ...wire.SeqNr) {
	r.t.Helper()
	for _, seq := range want {
		r.t.Logf("# send %d again", seq)
		require.Equal(r.t, seq, r.out.lost.head)
		r.out.resend(r.now, seq)
	}
}

// ack is a cumulative acknowledgement of everything through seq.
func (r *rackTest) ack(seq wire.SeqNr) {
	r.t.Helper()
	r.t.Logf("# ack %d", seq)
	for !r.out.una.After(seq) {
		if rec := r.out.at(r.out.una); !rec.has(recordSacked) {
			r.rack.delivered(r.now, r.out.una, rec, r.minRTT)
		}
		r.out.pop()
	}
	r.rack.cover(seq)
	r.detect()
}

// sack is a selective acknowledgement of some packets; the mask ends with the
// last of them, or covers everything sent.
func (r *rackTest) sack(seqs ...wire.SeqNr) {
	r.t.Helper()
	r.t.Logf("# sack %d", seqs)
	for _, seq := range seqs {
		r.rack.delivered(r.now, seq, r.out.at(seq), r.minRTT)
		r.out.markSacked(seq)
		r.rack.cover(seq)
	}
	if !r.uncovered {
		r.rack.cover(r.out.nxt - 1)
	}
	r.detect()
}

func (r *rackTest) detect() {
	reoWnd := r.rack.reoWnd(r.inRecovery, int(r.out.sackedCount), r.minRTT, r.srtt)
	r.wait = r.rack.detect(r.now, &r.out, reoWnd, func(seq wire.SeqNr, rec *record) {
		require.True(r.t, rec.has(recordLost))
		r.lost = append(r.lost, seq)
	})
}

// wantLost says which packets have been taken for lost since the last call, and
// after which time another one will be.
func (r *rackTest) wantLost(why string, wait time.Duration, seqs ...wire.SeqNr) {
	r.t.Helper()
	require.Equal(r.t, seqs, r.lost, why)
	require.Equal(r.t, wait, r.wait, why)
	r.lost = nil
}

func TestRackReorderingWindow(t *testing.T) {
	r := newRackTest(t, 1)
	r.send(1)
	r.advance(10 * ms)
	r.send(2)
	r.wantLost("nothing is known", 0)
	r.advance(100 * ms)
	r.sack(2)
	// RFC 8985, section 6.2, step 5: "the first packet is deemed lost if it has
	// been RACK.rtt + RACK.reo_wnd since it was sent": 125 ms, of which 110 have
	// passed. A packet of the same transmission time with a higher number is not
	// sent before.
	r.wantLost("a quarter of the smallest round trip is allowed for", 15*ms)
	r.advance(15*ms - 1)
	r.wantLost("not yet", 1)
	r.advance(1)
	r.wantLost("now", 0, 1)
	r.advance(time.Hour)
	r.wantLost("3 was sent with 2, and after it", 0)
}

// TestRackThreshold: section 6.2, step 4: "if RACK.reordering_seen is FALSE: …
// the RACK reordering window is zero if … the number of segments SACKed is at
// least DupThresh".
func TestRackThreshold(t *testing.T) {
	r := newRackTest(t, 65534)
	r.send(5)
	r.advance(100 * ms)
	r.sack(65535)
	r.wantLost("one later packet arrived", 25*ms)
	r.sack(0)
	r.wantLost("two", 25*ms)
	r.sack(1)
	r.wantLost("three, across the wrap", 0, 65534)
}

// TestRackInRecovery: "… or in recovery".
func TestRackInRecovery(t *testing.T) {
	r := newRackTest(t, 1)
	r.inRecovery = true
	r.send(2)
	r.advance(100 * ms)
	r.sack(2)
	r.wantLost("no patience", 0, 1)
}

// TestRackAfterReordering: step 3: packets that were not lost but late show that
// the path reorders; "RACK.reordering_seen = TRUE".
func TestRackAfterReordering(t *testing.T) {
	r := newRackTest(t, 1)
	r.send(4)
	r.advance(100 * ms)
	r.sack(2, 3)
	r.advance(10 * ms)
	r.ack(3)
	require.True(t, r.rack.reorderingSeen)
	r.send(10)
	r.inRecovery = true
	r.advance(100 * ms)
	// RACK.rtt is that of 5: 100 ms.
	r.sack(6, 7, 8, 9)
	r.wantLost("4 was sent 210 ms ago, 5 is given time in spite of three later ones", 25*ms, 4)
	r.advance(25 * ms)
	r.wantLost("25 ms", 0, 5)
}

// TestRackRetransmissionIsNoReordering: what arrives late and was sent again
// tells nothing about the order of the path.
func TestRackRetransmissionIsNoReordering(t *testing.T) {
	r := newRackTest(t, 1)
	r.send(5)
	r.advance(100 * ms)
	r.sack(2, 3, 4)
	r.wantLost("three later", 0, 1)
	r.resend(1)
	r.advance(100 * ms)
	r.ack(4)
	require.False(t, r.rack.reorderingSeen)
	r.wantLost("5 was sent before what was sent again, and the mask says nothing else", 0, 5)
}

// TestRackAmbiguity: step 2: "If RTT < RACK.min_RTT, the packet's retransmission
// is probably not what was acknowledged": RACK must not take everything sent
// before the retransmission for lost because the original arrived.
func TestRackAmbiguity(t *testing.T) {
	r := newRackTest(t, 1)
	r.send(1)
	r.advance(50 * ms)
	r.send(4)
	r.out.markLost(1)
	r.resend(1)
	r.advance(60 * ms)
	r.ack(1)
	r.wantLost("60 ms are no round trip: the original of 1 was late", 0)
	require.False(t, r.rack.known)

	r.advance(40 * ms)
	r.sack(3)
	r.wantLost("2 may be overtaken", 25*ms)
	r.advance(100 * ms)
	r.wantLost("it was not", 0, 2)
	r.resend(2)
	r.advance(100 * ms)
	r.ack(3)
	r.wantLost("a whole round trip: what was sent before that is lost", 0, 4, 5)
}

// TestRackAmbiguityKnowsTheOrder: the highest number delivered is noted even if
// it is not known which transmission arrived.
func TestRackAmbiguityKnowsTheOrder(t *testing.T) {
	r := newRackTest(t, 1)
	r.send(4)
	r.out.markLost(3)
	r.resend(3)
	r.advance(50 * ms)
	r.sack(3)
	require.Equal(t, wire.SeqNr(3), r.rack.fack)
	r.advance(50 * ms)
	r.sack(2)
	require.True(t, r.rack.reorderingSeen, "2 was never sent again and came after 3")
}

// TestRackEqualTimes: a run of packets has one time of transmission; their
// numbers decide (RACK_sent_after).
func TestRackEqualTimes(t *testing.T) {
	r := newRackTest(t, 10)
	r.send(8)
	r.advance(100 * ms)
	r.sack(12, 13, 14)
	r.wantLost("what was sent before 14", 0, 10, 11)
	r.sack(17)
	r.wantLost("what was sent before 17", 0, 15, 16)
	r.resend(10, 11, 15, 16)
	r.advance(100 * ms)
	r.sack(15)
	r.wantLost("of the four that left at once, two before 15", 0, 10, 11)
}

// TestRackSilenceBeyondTheMask: a mask of libutp's has 30 bits. What it does not
// reach may have arrived.
func TestRackSilenceBeyondTheMask(t *testing.T) {
	r := newRackTest(t, 1)
	r.send(100)
	r.uncovered = true
	r.advance(100 * ms)
	r.sack(2, 3, 4, 31)
	r.wantLost("up to 31", 0, append([]wire.SeqNr{1}, seqs(5, 30)...)...)
	r.resend(1)
	r.advance(100 * ms)
	// 1 was sent last, so all the others were sent before it.
	r.ack(1)
	r.wantLost("nothing was said about 32 and later", 0)
	r.advance(time.Hour)
	r.wantLost("however long it takes", 0)
	r.sack(40)
	r.wantLost("the mask has moved", 0, seqs(32, 39)...)
}

// TestRackMovesPastSilence: packets of which nothing was said, at the front of
// the list, do not hide one behind them.
func TestRackMovesPastSilence(t *testing.T) {
	r := newRackTest(t, 1)
	r.inRecovery = true
	r.send(5)
	r.advance(10 * ms)
	r.out.markLost(1)
	r.resend(1) // the list is now 2 3 4 5 1
	r.advance(10 * ms)
	r.send(1)
	r.advance(100 * ms)
	r.rack.delivered(r.now, 6, r.out.at(6), r.minRTT)
	r.out.markSacked(6)
	r.detect()
	r.wantLost("nothing is covered", 0)
	r.rack.cover(1)
	r.detect()
	r.wantLost("1 is, and was sent before 6", 0, 1)
	r.rack.cover(4)
	r.detect()
	r.wantLost("2 to 4 are", 0, 2, 3, 4)
}

func seqs(from, to wire.SeqNr) []wire.SeqNr {
	var s []wire.SeqNr
	for ; !from.After(to); from++ {
		s = append(s, from)
	}
	return s
}

// TestRackCoverNeverFalls: overtaken packets bring short masks.
func TestRackCoverNeverFalls(t *testing.T) {
	k := rack{covered: 65530}
	for _, tt := range []struct{ seq, want wire.SeqNr }{{65535, 65535}, {65531, 65535}, {5, 5}, {65535, 5}, {5, 5}} {
		k.cover(tt.seq)
		require.Equal(t, tt.want, k.covered)
	}
}

func TestRackReoWnd(t *testing.T) {
	for _, tt := range []struct {
		name       string
		seen       bool
		inRecovery bool
		sacked     int
		minRTT     time.Duration
		srtt       time.Duration
		want       time.Duration
	}{
		{"a quarter of the smallest round trip", false, false, 0, 100 * ms, 200 * ms, 25 * ms},
		{"no more than the smoothed one", false, false, 2, 100 * ms, 20 * ms, 20 * ms},
		{"nothing after DupThresh", false, false, 3, 100 * ms, 100 * ms, 0},
		{"nothing in recovery", false, true, 0, 100 * ms, 100 * ms, 0},
		{"unless the path reorders", true, true, 3, 100 * ms, 100 * ms, 25 * ms},
	} {
		k := rack{reorderingSeen: tt.seen}
		require.Equal(t, tt.want, k.reoWnd(tt.inRecovery, tt.sacked, tt.minRTT, tt.srtt), tt.name)
	}
}
