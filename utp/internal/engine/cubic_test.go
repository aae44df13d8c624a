package engine

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cubicTest drives CUBIC through round trips in which a whole window is sent
// and acknowledged, one segment of 1000 bytes at a time.
type cubicTest struct {
	t   *testing.T
	cc  *cubic
	now Time
	rtt time.Duration
}

func newCubicTest(t *testing.T, rtt time.Duration) *cubicTest {
	return &cubicTest{t: t, cc: newCubic(1000), now: Time(time.Second), rtt: rtt}
}

// segments is the window.
func (c *cubicTest) segments() float64 { return c.cc.cwnd / 1000 }

// round acknowledges one window in the course of a round trip.
func (c *cubicTest) round() {
	n := int(c.cc.cwnd / 1000)
	for i := range n {
		c.now = c.now.Add(c.rtt / time.Duration(n))
		c.cc.acked(ackSample{now: c.now, bytes: 1000, limited: true, flight: int(c.cc.cwnd), rtt: c.rtt, srtt: c.rtt, roundUp: i == 0})
	}
}

func (c *cubicTest) rounds(d time.Duration) {
	for end := c.now.Add(d); c.now < end; {
		c.round()
	}
}

func (c *cubicTest) lose() { c.cc.lost(int(c.cc.cwnd)) }

func (c *cubicTest) want(why string, segments float64) {
	c.t.Helper()
	require.InDelta(c.t, segments, c.segments(), 0.01*segments, why)
}

// avoid has it in congestion avoidance with a window of n segments.
func (c *cubicTest) avoid(n int) {
	c.cc.cwnd, c.cc.ssthresh = float64(1000*n), float64(1000*n)
}

func TestCubicSlowStart(t *testing.T) {
	c := newCubicTest(t, 100*ms)
	c.want("RFC 6928, section 2: ten segments", 10)
	c.round()
	c.want("one segment more for each one acknowledged", 20)
	c.round()
	c.round()
	c.want("", 80)
	c.lose()
	// RFC 9438, section 4.6: ssthresh = flight_size * beta_cubic; cwnd = ssthresh.
	c.want("", 56)
	require.Equal(t, c.cc.cwnd, c.cc.ssthresh)
	c.round()
	require.Less(t, c.segments(), 60.0, "no slow start any more")
}

// TestCubicFunction: section 4.2, figures 1 and 2: W_cubic(t) = C*(t-K)^3 +
// W_max, K = cbrt((W_max - cwnd_epoch)/C).
func TestCubicFunction(t *testing.T) {
	c := newCubicTest(t, 100*ms)
	c.avoid(990)
	c.rounds(2 * time.Second) // a stage of its own, whose time counts no more
	c.cc.cwnd = 1000e3
	c.lose()
	c.want("beta", 700)
	begin := c.now
	w := func(d time.Duration) float64 {
		k := math.Cbrt((1000 - 700) / 0.4)
		return 0.4*math.Pow(d.Seconds()-k, 3) + 1000
	}
	c.round()
	require.InDelta(t, 9.086, c.cc.k, 0.001)
	for _, d := range []time.Duration{time.Second, 3 * time.Second, 6 * time.Second, 9 * time.Second, 12 * time.Second, 15 * time.Second} {
		c.rounds(begin.Add(d).Sub(c.now))
		c.want(d.String(), w(d))
	}
	require.Greater(t, c.segments(), 1050.0, "convex beyond K")
}

// TestCubicGrowthIsBounded: section 4.2: the target is no more than 1.5 cwnd.
func TestCubicGrowthIsBounded(t *testing.T) {
	c := newCubicTest(t, 100*ms)
	c.avoid(100)
	c.cc.acked(ackSample{now: c.now, bytes: 1000, limited: true, srtt: c.rtt})
	c.now = c.now.Add(time.Hour)
	before := c.cc.cwnd
	c.round()
	require.InDelta(t, 1.5*before, c.cc.cwnd, 0.01*before, "one window acknowledged adds half of it")
}

// TestCubicRenoFriendly: section 4.3: with a small window and a short round trip
// the estimate of Reno's window rules: alpha_cubic segments a round trip, and
// one once W_est has reached cwnd_prior.
func TestCubicRenoFriendly(t *testing.T) {
	c := newCubicTest(t, 10*ms)
	c.avoid(20)
	c.lose()
	c.want("beta", 14)
	alpha := 3 * (1 - 0.7) / (1 + 0.7)
	require.InDelta(t, alpha, renoAlpha, 1e-9)
	for i := 1; i <= 8; i++ {
		c.round()
		require.InDelta(t, 14+float64(i)*alpha, c.segments(), 0.3, "round %d", i)
	}
	for c.segments() < 20 {
		c.round()
	}
	before := c.segments()
	for range 10 {
		c.round()
	}
	require.InDelta(t, before+10, c.segments(), 0.7, "as Reno")
}

// TestCubicFastConvergence: section 4.7: a flow that is cut before it got back
// to W_max gives way: W_max = cwnd * (1 + beta_cubic) / 2.
func TestCubicFastConvergence(t *testing.T) {
	c := newCubicTest(t, 100*ms)
	c.avoid(1000)
	c.lose()
	require.InDelta(t, 1000e3, c.cc.wMax, 1)
	c.lose()
	require.InDelta(t, 700e3*0.85, c.cc.wMax, 1)
	c.want("and beta as ever", 490)
	require.InDelta(t, 700e3, c.cc.cwndPrior, 1, "section 4.3 goes by the window itself")

	c.avoid(2000)
	c.lose()
	require.InDelta(t, 2000e3, c.cc.wMax, 1, "above W_max it is the window")
}

// TestCubicTimeout: section 4.8: ssthresh by beta_cubic, cwnd of one segment, and
// afterwards K = 0 and W_max = cwnd.
func TestCubicTimeout(t *testing.T) {
	c := newCubicTest(t, 100*ms)
	c.avoid(100)
	c.cc.slowStart.css = true
	c.cc.timedOut(100_000)
	c.want("one segment", 1)
	require.InDelta(t, 70e3, c.cc.ssthresh, 1)
	require.Zero(t, c.cc.slowStart, "HyStart++ begins anew")
	for i := range 6 {
		c.round()
		c.want("slow start", math.Exp2(float64(i+1)))
	}
	for c.cc.cwnd < c.cc.ssthresh {
		c.round()
	}
	begin, from := c.now, c.segments()
	c.round()
	require.Zero(t, c.cc.k)
	c.rounds(begin.Add(8 * time.Second).Sub(c.now))
	require.InDelta(t, from+0.4*8*8*8, c.segments(), 0.05*c.segments())
}

// TestCubicLossWithSmallFlight: section 4.6 reduces from the flight size, which an
// application may have kept small for the moment; we go by half of the window at
// least.
func TestCubicLossWithSmallFlight(t *testing.T) {
	for _, tt := range []struct{ flight, want int }{{100, 70}, {200, 70}, {80, 56}, {50, 35}, {10, 35}, {0, 35}} {
		c := newCubicTest(t, 100*ms)
		c.avoid(100)
		c.cc.lost(1000 * tt.flight)
		require.InDelta(t, 1000*tt.want, c.cc.window(), 1, "%d in flight", tt.flight)
	}
	c := newCubicTest(t, 100*ms)
	c.avoid(2)
	c.lose()
	c.want("never less than two", 2)
	c.cc.timedOut(1000)
	require.InDelta(t, 2000, c.cc.ssthresh, 1)
}

// TestCubicApplicationLimited: section 5.8: no growth while the window is not used.
func TestCubicApplicationLimited(t *testing.T) {
	c := newCubicTest(t, 100*ms)
	c.avoid(100)
	for range 100 {
		c.now = c.now.Add(c.rtt)
		c.cc.acked(ackSample{now: c.now, bytes: 50_000, flight: 99_000, srtt: c.rtt})
	}
	c.want("idle time is no time of growth", 100)
	c.round()
	require.Less(t, c.segments(), 102.0, "nor is it made up for")

	c = newCubicTest(t, 100*ms)
	c.cc.acked(ackSample{now: c.now, bytes: 4999, flight: 4999})
	c.want("less than half used in slow start", 10)
	c.cc.acked(ackSample{now: c.now, bytes: 5000, flight: 5000})
	c.want("half of it used", 15)
}

func TestCubicPacingRate(t *testing.T) {
	c := newCubicTest(t, 100*ms)
	require.Zero(t, c.cc.pacingRate(0), "no round trip, no rate")
	require.InDelta(t, 2*10_000/0.1, c.cc.pacingRate(100*ms), 1)
	c.avoid(100)
	require.InDelta(t, 1.25*100_000/0.1, c.cc.pacingRate(100*ms), 1)
}

func TestCubicSegmentGrows(t *testing.T) {
	c := newCubicTest(t, 100*ms)
	c.cc.setSegment(2000)
	c.cc.timedOut(10_000)
	require.Equal(t, 2000, c.cc.window())
}

// hystartTest feeds HyStart++ whole rounds.
type hystartTest struct {
	t *testing.T
	h hystart
}

// round is one with n samples of rtt; it wants every growth divided by divisor
// from the last sample on.
func (h *hystartTest) round(why string, n int, rtt time.Duration, divisor int, done bool) {
	h.t.Helper()
	gotDivisor, gotDone := 0, false
	for i := range n {
		d, ok := h.h.acked(ackSample{rtt: rtt, roundUp: i == 0})
		gotDivisor, gotDone = d, gotDone || ok
	}
	require.Equal(h.t, divisor, gotDivisor, why)
	require.Equal(h.t, done, gotDone, why)
}

func TestHystart(t *testing.T) {
	h := &hystartTest{t: t}
	// RFC 9406, section 4.2: "lastRoundMinRTT and currentRoundMinRTT are
	// initialized to infinity at the initialization time."
	h.round("nothing to compare with", 20, 100*ms, 1, false)
	// "RttThresh = max(MIN_RTT_THRESH, min(lastRoundMinRTT / MIN_RTT_DIVISOR,
	// MAX_RTT_THRESH))": 12.5 ms.
	h.round("a bit more than before", 20, 112*ms, 1, false)
	h.round("126 are enough in any case", 7, 130*ms, 1, false)
	require.False(t, h.h.css, "but seven samples are not: N_RTT_SAMPLE is 8")
	h.round("less than one eighth more", 8, 142*ms, 1, false)
	// "if (currentRoundMinRTT >= (lastRoundMinRTT + RttThresh)) … exit slow start
	// and enter CSS", with a growth divided by CSS_GROWTH_DIVISOR.
	h.round("16 ms more", 8, 158*ms, 4, false)
	// "If the transition into CSS happens in the middle of a round, that partial
	// round counts towards the limit" of five.
	h.round("second", 8, 158*ms, 4, false)
	h.round("third", 8, 170*ms, 4, false)
	h.round("fourth", 8, 158*ms, 4, false)
	h.round("fifth", 8, 200*ms, 4, false)
	h.round("over", 1, 200*ms, 4, true)
}

// TestHystartResumes: "if (currentRoundMinRTT < cssBaselineMinRtt) … resume slow
// start".
func TestHystartResumes(t *testing.T) {
	h := &hystartTest{t: t}
	h.round("", 8, 100*ms, 1, false)
	h.round("jitter", 8, 150*ms, 4, false)
	h.round("too few samples to tell", 7, 100*ms, 4, false)
	h.round("it was jitter", 8, 149*ms, 1, false)
	h.round("again", 8, 170*ms, 4, false)
	for _, n := range []string{"2", "3", "4", "5"} {
		h.round(n, 8, 170*ms, 4, false)
	}
	h.round("and five rounds anew", 8, 170*ms, 4, true)
}

func TestHystartThreshold(t *testing.T) {
	for _, tt := range []struct{ last, thresh time.Duration }{
		{ms, 4 * ms},        // MIN_RTT_THRESH
		{40 * ms, 5 * ms},   // an eighth
		{400 * ms, 16 * ms}, // MAX_RTT_THRESH
	} {
		h := &hystartTest{t: t}
		h.round("", 8, tt.last, 1, false)
		h.round("just not", 8, tt.last+tt.thresh-1, 1, false)
		h = &hystartTest{t: t}
		h.round("", 8, tt.last, 1, false)
		h.round("just", 8, tt.last+tt.thresh, 4, false)
	}
}

// TestHystartInCubic: conservative slow start grows by a quarter, and its end
// sets ssthresh.
func TestHystartInCubic(t *testing.T) {
	c := newCubicTest(t, 100*ms)
	c.round()
	c.rtt = 120 * ms
	before := c.segments()
	c.round()
	require.Greater(t, c.segments(), 1.25*before, "eight samples pass before it is noticed")
	require.Less(t, c.segments(), 1.7*before)
	for range 4 {
		before = c.segments()
		c.round()
		c.want("a quarter", 1.25*before)
		require.True(t, math.IsInf(c.cc.ssthresh, 1))
	}
	before = c.segments()
	c.round()
	require.InDelta(t, before+0.25, c.cc.ssthresh/1000, 0.01)
	require.Less(t, c.segments(), before+2, "congestion avoidance")
}
