package engine

import (
	"math"
	"time"
)

// Constants of RFC 9438.
const (
	cubicBeta = 0.7 // section 4.6
	cubicC    = 0.4 // section 5
	// renoAlpha is the additive increase that makes a decrease to cubicBeta as
	// aggressive as Reno (section 4.3).
	renoAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)

	// initialWindowSegments is RFC 6928's initial window.
	initialWindowSegments = 10
	minWindowSegments     = 2
)

// Constants of HyStart++ (RFC 9406, section 4.3).
const (
	minRTTThresh     = 4 * time.Millisecond
	maxRTTThresh     = 16 * time.Millisecond
	minRTTDivisor    = 8
	nRTTSample       = 8
	cssGrowthDivisor = 4
	cssRounds        = 5
)

// Pacing gains, as Linux: fast enough to let the window grow, slow enough to
// avoid bursts.
const (
	slowStartPacingGain = 2.0
	avoidancePacingGain = 1.25
)

// cubic is CUBIC (RFC 9438) with HyStart++ (RFC 9406).
type cubic struct {
	segment  int
	cwnd     float64
	ssthresh float64

	// Of the current congestion avoidance stage (RFC 9438, section 4.1.2).
	wMax, wEst float64
	cwndPrior  float64 // cwnd at the last decrease
	k          float64 // seconds
	epoch      Time    // zero: begins with the next acknowledgement

	slowStart hystart
}

func newCubic(segment int) *cubic {
	return &cubic{segment: segment, cwnd: float64(initialWindowSegments * segment), ssthresh: math.Inf(1)}
}

func (c *cubic) window() int      { return int(c.cwnd) }
func (c *cubic) setSegment(n int) { c.segment = n }

func (c *cubic) pacingRate(srtt time.Duration) float64 {
	if srtt == 0 {
		return 0
	}
	gain := avoidancePacingGain
	if c.cwnd < c.ssthresh {
		gain = slowStartPacingGain
	}
	return gain * c.cwnd / srtt.Seconds()
}

func (c *cubic) acked(a ackSample) {
	slowStart := c.cwnd < c.ssthresh
	// RFC 9438, section 5.8: no growth while the application limits sending. In
	// slow start the window may be twice what is used, or the bursts of an
	// application that waits for answers would never open it.
	if !a.limited && !(slowStart && 2*float64(a.flight) >= c.cwnd) {
		c.epoch = 0
		return
	}
	if slowStart {
		grow, done := c.slowStart.acked(a)
		c.cwnd += float64(a.bytes) / float64(grow)
		if done {
			c.ssthresh = c.cwnd
		}
		return
	}
	if c.epoch == 0 {
		c.startEpoch(a.now)
	}
	mss := float64(c.segment)
	// RFC 9438, section 4.2: target = W_cubic(t + RTT), within [cwnd, 1.5 cwnd].
	t := a.now.Sub(c.epoch).Seconds() + a.srtt.Seconds() - c.k
	target := c.wMax + cubicC*t*t*t*mss
	target = min(max(target, c.cwnd), 1.5*c.cwnd)
	// Section 4.3: the Reno-friendly estimate; alpha is 1 once it has reached
	// the previous window.
	alpha := renoAlpha
	if c.wEst >= c.cwndPrior {
		alpha = 1
	}
	c.wEst += alpha * float64(a.bytes) / c.cwnd * mss
	// Section 4.4: (target − cwnd) / cwnd a segment acknowledged.
	c.cwnd += (target - c.cwnd) / c.cwnd * float64(a.bytes)
	c.cwnd = max(c.cwnd, c.wEst)
}

func (c *cubic) startEpoch(now Time) {
	c.epoch = now
	c.wEst = c.cwnd
	if c.wMax < c.cwnd {
		c.wMax = c.cwnd
	}
	// Section 4.2, figure 2; cwnd is cwnd_epoch here.
	c.k = math.Cbrt((c.wMax - c.cwnd) / (cubicC * float64(c.segment)))
}

// lost is section 4.6, with the fast convergence of section 4.7.
func (c *cubic) lost(flightSize int) {
	c.decrease(flightSize)
	c.cwnd = c.ssthresh
}

// timedOut is section 4.8: the next congestion avoidance stage begins with K = 0
// and W_max = cwnd.
func (c *cubic) timedOut(flightSize int) {
	c.decrease(flightSize)
	c.wMax = 0
	c.cwnd = float64(c.segment)
	c.slowStart = hystart{}
}

func (c *cubic) decrease(flightSize int) {
	c.epoch = 0
	c.cwndPrior = c.cwnd
	if c.cwnd < c.wMax {
		c.wMax = c.cwnd * (1 + cubicBeta) / 2
	} else {
		c.wMax = c.cwnd
	}
	// Section 4.6: from the flight size if the window was not used up.
	w := min(c.cwnd, max(float64(flightSize), c.cwnd/2))
	c.ssthresh = max(w*cubicBeta, float64(minWindowSegments*c.segment))
}

// hystart is HyStart++: it leaves slow start when the round trip grows, by way
// of conservative slow start (CSS).
type hystart struct {
	lastMin, currentMin time.Duration // of the last and the current round
	cssBaseline         time.Duration
	samples             uint8 // of the current round, at most nRTTSample
	cssRound            uint8
	css                 bool
}

// acked returns the divisor of the window's growth, and whether slow start is
// over.
func (h *hystart) acked(a ackSample) (divisor int, done bool) {
	if a.roundUp {
		h.lastMin, h.currentMin, h.samples = h.currentMin, 0, 0
		if h.css {
			if h.cssRound++; h.cssRound >= cssRounds {
				return cssGrowthDivisor, true
			}
		}
	}
	if a.rtt != 0 {
		h.samples = min(h.samples+1, nRTTSample)
		if h.currentMin == 0 || a.rtt < h.currentMin {
			h.currentMin = a.rtt
		}
	}
	if h.samples < nRTTSample || h.lastMin == 0 {
		return h.divisor(), false
	}
	if h.css {
		// The growth was not the queue's: back to slow start.
		if h.currentMin < h.cssBaseline {
			h.css = false
		}
	} else {
		thresh := min(max(h.lastMin/minRTTDivisor, minRTTThresh), maxRTTThresh)
		if h.currentMin >= h.lastMin+thresh {
			h.css, h.cssBaseline, h.cssRound = true, h.currentMin, 0
		}
	}
	return h.divisor(), false
}

func (h *hystart) divisor() int {
	if h.css {
		return cssGrowthDivisor
	}
	return 1
}
