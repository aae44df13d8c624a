package engine

import "time"

const (
	// maxRun is the number of segments that one run, one system call with
	// segmentation offload, may have: 44 of 1472 bytes are just under 64 KiB.
	maxRun = 44
	// initialBurst may leave at once, as RFC 6928's initial window does.
	initialBurst = 10
	// pacerSlack is the longest time whose worth of sending may be caught up
	// on: operating system timers are late by a millisecond and more.
	pacerSlack = 2 * time.Millisecond
	// fastRate, in bytes a second, is the rate above which runs are always as
	// long as they can be: throughput follows the run length there.
	fastRate = 5e9 / 8
)

// pacer spreads sending over the round trip: a token bucket in bytes.
type pacer struct {
	tokens float64
	last   Time
}

// quantum is the number of bytes that leave together: 1 ms of the rate, 2 to
// maxRun segments.
func quantum(rate float64, segment int) int {
	if rate >= fastRate {
		return maxRun * segment
	}
	n := int(rate / 1000)
	return min(max(n, 2*segment), maxRun*segment)
}

// advance fills the bucket. A rate of zero is unlimited.
func (p *pacer) advance(now Time, rate float64, segment int) {
	depth := max(float64(initialBurst*segment), float64(2*quantum(rate, segment)), rate*pacerSlack.Seconds())
	if p.last == 0 {
		p.tokens = depth
	} else {
		p.tokens = min(depth, p.tokens+rate*now.Sub(p.last).Seconds())
	}
	p.last = now
}

// wait returns how long to wait until a quantum may leave, zero for at once.
func (p *pacer) wait(rate float64, segment int) time.Duration {
	need := float64(quantum(rate, segment))
	if p.tokens >= need || rate == 0 {
		return 0
	}
	return time.Duration((need-p.tokens)/rate*1e9) + 1
}

func (p *pacer) spend(n int) { p.tokens -= float64(n) }
