package engine

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

func TestWindowBegins(t *testing.T) {
	for _, tt := range []struct{ buffer, want int }{{1 << 20, 64 << 10}, {64 << 10, 64 << 10}, {1000, 1000}} {
		var w recvWindow
		w.init(tt.buffer)
		require.Equal(t, tt.want, w.limit)
		require.Equal(t, tt.want, w.advertise(0))
	}
}

// TestWindowEdgeNeverMovesBack: RFC 9293, section 3.8.6: "A TCP receiver SHOULD
// NOT shrink the window, i.e., move the right window edge to the left". Whatever
// is received, held and read, in whatever order.
func TestWindowEdgeNeverMovesBack(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		mem := &testMemory{}
		var w recvWindow
		w.init(pick(r, 1000, 4096, 65536, 1<<20))
		now, held, edge, most := Time(time.Second), 0, w.edge, w.limit
		for range 500 {
			now = now.Add(time.Duration(r.Int64N(int64(50 * ms))))
			switch n := r.IntN(3000); r.IntN(4) {
			case 0:
				if w.admit(now, n) {
					w.accepted(now, n)
					held += n
				}
			case 1:
				n = min(n, held)
				held -= n
				w.consumed(now, n, mem)
			case 2:
				got := w.advertise(held)
				if got != w.promised() || got < 0 || got > max(w.limit, int(edge-w.received)) || w.received+uint64(got) > max(edge, w.received+uint64(max(0, w.limit-held))) {
					t.Fatalf("advertised %d: %+v, %d held", got, w, held)
				}
			case 3:
				w.pathSample(now, time.Duration(n)*ms/100)
			}
			if w.edge < edge {
				t.Fatalf("the right edge moved from %d to %d", edge, w.edge)
			}
			edge = w.edge
			most = max(most, w.limit)
			if held > most+overshootLimit {
				t.Fatalf("%d bytes held, limit %d", held, w.limit)
			}
		}
	}
}

// TestWindowIsNotSilly: RFC 1122, section 4.2.3.3: "the receiver's SWS avoidance
// algorithm is to … keep RCV.NXT+RCV.WND fixed until the reduction satisfies:
// RCV.BUFF - RCV.USER - RCV.WND >= min( Fr * RCV.BUFF, Eff.snd.MSS )" with Fr =
// 1/2.
func TestWindowIsNotSilly(t *testing.T) {
	for _, tt := range []struct{ buffer, step int }{{64 << 10, MaxDatagramIPv4}, {2000, 1000}, {2944, 1472}} {
		var w recvWindow
		w.init(tt.buffer)
		w.accepted(1, tt.buffer)
		for held := tt.buffer; held > tt.buffer-tt.step; held-- {
			require.Zero(t, w.advertise(held), "%d of %d bytes read", tt.buffer-held, tt.buffer)
		}
		require.Equal(t, tt.step, w.advertise(tt.buffer-tt.step))
	}
}

// TestWindowFollowsTheReader: the window becomes twice what was read in a round
// trip, as soon as that is known, and never less.
func TestWindowFollowsTheReader(t *testing.T) {
	mem := &testMemory{}
	var w recvWindow
	w.init(1 << 20)
	now := Time(time.Second)
	w.consumed(now, 50_000, mem)
	now = now.Add(time.Second)
	w.consumed(now, 50_000, mem)
	require.Equal(t, 64<<10, w.limit, "no round trip is known")

	w.rtt, w.copied, w.epoch = 100*ms, 0, 0
	w.consumed(now, 40_000, mem)
	now = now.Add(99 * ms)
	w.consumed(now, 40_000, mem)
	require.Equal(t, 64<<10, w.limit, "the round trip is not over")
	now = now.Add(ms)
	w.consumed(now, 20_000, mem)
	require.Equal(t, 200_000, w.limit, "twice 100,000")
	require.Equal(t, 200_000-64<<10, mem.reserved, "reserved, beyond what it began with")

	w.consumed(now, 10_000, mem)
	w.consumed(now.Add(100*ms), 10_000, mem)
	require.Equal(t, 200_000, w.limit, "it does not shrink")

	now = now.Add(200 * ms)
	w.consumed(now, 1<<20, mem)
	w.consumed(now.Add(100*ms), 1, mem)
	require.Equal(t, 1<<20, w.limit, "RecvBuffer is the limit")
}

// TestWindowOfAShortPath: what a short path cannot hold would wait in the hosts.
func TestWindowOfAShortPath(t *testing.T) {
	mem := &testMemory{reserved: 64 << 10}
	var w recvWindow
	w.init(16 << 20)
	w.rtt = ms
	now := Time(time.Second)
	read := func(n int) {
		w.consumed(now, n, mem)
		now = now.Add(ms)
		w.consumed(now, 0, mem)
		require.Equal(t, w.limit, mem.reserved)
	}
	read(8 << 20)
	require.Equal(t, 16<<20, w.limit, "nothing is known of the path")
	w.pathSample(now, 10*ms)
	read(1)
	require.Equal(t, localWindow+12_500_000, w.limit, "10 Gbit/s for 10 ms")
	edge := w.received + uint64(w.advertise(0))
	w.pathSample(now, 20*ms)
	w.pathSample(now, 20*time.Microsecond)
	read(1)
	require.Equal(t, localWindow+25_000, w.limit, "it is shorter than it seemed")
	require.Equal(t, edge, w.received+uint64(w.advertise(0)), "what was promised is promised")
	read(8 << 20)
	require.Equal(t, localWindow+25_000, w.limit, "however much is read")
	w.pathSample(now.Add(pathAge), 5*ms)
	read(1)
	require.Equal(t, localWindow+25_000, w.limit, "it was as short a minute ago")
	w.pathSample(now.Add(pathAge), 5*ms)
	read(8 << 20)
	require.Equal(t, localWindow+6_250_000, w.limit, "the path has changed")
}

// TestWindowMeasuresThePath: the receiver of a stream knows the round trip although
// nothing that it says is answered, whatever the clocks are.
func TestWindowMeasuresThePath(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour, -1000 * time.Second, 36 * time.Minute} {
		p := newPair(1)
		p.a.skew = skew
		p.a.out, p.b.out = link{delay: 7 * ms}, link{delay: 4 * ms}
		p.connect(t)
		p.transfer(t, p.a, 100_000)
		require.InDelta(t, 11*ms, p.b.conn.window.path, float64(2*time.Microsecond), "skew %v", skew)
		require.InDelta(t, 11*ms, p.a.conn.window.path, float64(2*time.Microsecond), "skew %v", skew)
	}
}

// TestWindowBudget: growth stops when the endpoint has no more to give, and goes
// on when it has.
func TestWindowBudget(t *testing.T) {
	mem := &testMemory{budget: 100_000, reserved: 64 << 10}
	var w recvWindow
	w.init(1 << 20)
	w.rtt = 100 * ms
	w.epoch = Time(time.Second)
	w.consumed(Time(2*time.Second), 60_000, mem)
	require.Equal(t, 64<<10, w.limit)
	require.Equal(t, 64<<10, mem.reserved)
	w.consumed(Time(3*time.Second), 45_000, mem)
	require.Equal(t, 90_000, w.limit, "a little more is granted")
	mem.budget = 1 << 20
	w.consumed(Time(4*time.Second), 60_000, mem)
	require.Equal(t, 120_000, w.limit)
	require.Equal(t, 120_000, mem.reserved)
}

// TestWindowBeginsInAnyCase: what every connection promises is accounted for even
// when there is no more to give.
func TestWindowBeginsInAnyCase(t *testing.T) {
	p := newPair(1)
	p.a.mem.budget, p.b.mem.budget = 1, 1
	p.connect(t)
	require.Equal(t, 64<<10, p.a.mem.reserved)
	require.Equal(t, 64<<10, p.b.mem.reserved)
	p.a.conn.Abort()
	require.Zero(t, p.a.mem.reserved)
}

// TestWindowMeasuresTheRoundTrip: at a pure receiver it is the time that a window
// of data takes; the shortest of late.
func TestWindowMeasuresTheRoundTrip(t *testing.T) {
	var w recvWindow
	w.init(10_000)
	now := Time(time.Second)
	window := func(d time.Duration) {
		for range 10 {
			now = now.Add(d / 10)
			w.accepted(now, 1000)
		}
	}
	w.accepted(now, 1)
	window(200 * ms)
	require.Equal(t, 200*ms, w.rtt)
	window(100 * ms)
	require.Equal(t, 100*ms, w.rtt)
	window(300 * ms)
	require.Equal(t, 100*ms, w.rtt, "that one was limited by something else")
	for range 40 {
		window(300 * ms)
	}
	require.Equal(t, 300*ms, w.rtt, "the path has become longer")
}

func TestWindowOvershoot(t *testing.T) {
	now := Time(time.Second)
	full := func() recvWindow {
		var w recvWindow
		w.init(10_000)
		w.accepted(now, 10_000)
		return w
	}
	w := full()
	require.True(t, w.admit(now, 0), "a FIN needs no room")
	require.Zero(t, w.overshotAt)
	require.True(t, w.admit(now, 1452), "a probe: one packet beyond the window")
	w.accepted(now, 1452)
	require.False(t, w.admit(now.Add(999*ms), 1452), "another, too soon")
	require.True(t, w.admit(now.Add(time.Second), 1452))

	// The right edge stands: what was accepted beyond it is not granted again.
	require.Zero(t, w.promised())
	require.Zero(t, w.advertise(11_452))
	require.Equal(t, 8548, w.advertise(1452+0))

	w = full()
	require.True(t, w.admit(now, overshootLimit))
	require.False(t, w.admit(now.Add(time.Hour), overshootLimit+1))
	for n := 0; n <= overshootLimit-1452; n += 1452 {
		now = now.Add(time.Second)
		require.True(t, w.admit(now, 1452), "%d beyond", n)
		w.accepted(now, 1452)
	}
	require.False(t, w.admit(now.Add(time.Hour), 1452), "there is an end to it")
	require.True(t, w.admit(now.Add(time.Hour), 188))
}

// TestWindowGrowsInUse: over a long path a connection that reads all it gets is
// not held to 64 KiB a round trip, nor given more than twice what it uses.
func TestWindowGrowsInUse(t *testing.T) {
	long(t)
	for _, budget := range []int{0, 100_000} {
		p := newPair(1)
		p.a.out, p.b.out = link{delay: 50 * ms, rate: 10e6, queue: 2e6}, link{delay: 50 * ms}
		p.a.params.SendBuffer, p.b.params.RecvBuffer = 16<<20, 16<<20
		p.b.mem.budget = budget
		p.connect(t)
		begin := p.now
		p.transfer(t, p.a, 10<<20)
		took, w := p.now.Sub(begin), p.b.conn.window.limit
		t.Logf("budget %d: 10 MiB in %v, window %d", budget, took, w)
		if budget > 0 {
			require.LessOrEqual(t, w, budget)
			require.Greater(t, took, 5*time.Second, "a small window makes it slow")
			continue
		}
		// 10 MB/s and 100 ms, or up to 300 with the queue full.
		require.Greater(t, w, 2*1_000_000*9/10)
		require.Less(t, w, 2*10_000_000*3/10)
		require.Less(t, took, 3*time.Second, "at 10 MB/s it takes 1.05 s")
		require.Equal(t, w, p.b.mem.reserved)
	}
}

// A long path does not overflow the bound of the window where int has 32 bits.
func TestWindowOfALongPath(t *testing.T) {
	for _, rtt := range []time.Duration{time.Second, 1710 * ms, 1720 * ms, 2 * time.Second, 2000 * time.Second} {
		mem := &testMemory{reserved: 64 << 10}
		var w recvWindow
		w.init(16 << 20)
		w.rtt = ms
		now := Time(time.Second)
		w.pathSample(now, rtt)
		w.consumed(now, 8<<20, mem)
		w.consumed(now.Add(ms), 0, mem)
		require.Equal(t, 16<<20, w.limit, "round trip %v", rtt)
		require.Equal(t, w.limit, mem.reserved)
	}
}

// TestWindowSamplesOfThePath: a difference is a sample of the path only if our own
// kind has measured it, and the clocks have not drifted apart by more meanwhile.
func TestWindowSamplesOfThePath(t *testing.T) {
	sample := func(tc *testConn, diff time.Duration) time.Duration {
		tc.conn.window.path = 0
		var p wire.Packet
		p.Timestamp = tc.now.timestamp()
		p.TimestampDiff = uint32(diff / time.Microsecond)
		tc.conn.heard(tc.now.Add(5*ms), &p)
		return tc.conn.window.path
	}
	tc := newScript(t, ownKind)
	require.Equal(t, 25*ms, sample(tc, 20*ms))
	require.Zero(t, sample(tc, -6*ms), "less than nothing")
	require.Zero(t, sample(tc, 0), "it has measured nothing yet")
	require.Zero(t, sample(newScript(t), 20*ms), "others")
}
