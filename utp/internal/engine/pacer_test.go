package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuantum(t *testing.T) {
	for _, tt := range []struct {
		name string
		rate float64
		want int
	}{
		{"slow: two segments", 1000, 2000},
		{"1 ms of the rate", 10e6, 10_000},
		{"44 segments at the most", 100e6, 44_000},
		{"just below 5 Gbit/s", fastRate - 1, 44_000},
		{"and above", fastRate, 44_000},
		{"far above", 1e12, 44_000},
	} {
		require.Equal(t, tt.want, quantum(tt.rate, 1000), tt.name)
	}
	require.Equal(t, 44*20_000, quantum(fastRate, 20_000), "above 5 Gbit/s always 44")
	require.Equal(t, 624_999, quantum(fastRate-1000, 20_000))
}

// TestPacerKeepsTheRate sends whenever the pacer lets it, as much as it lets.
func TestPacerKeepsTheRate(t *testing.T) {
	for _, rate := range []float64{10e3, 1e6, 50e6, 1e9, 10e9} {
		var p pacer
		now, sent := Time(time.Second), 0
		start, d := now, 2*time.Second
		if rate > 1e6 {
			d = 100 * ms
		}
		p.advance(now, rate, 1000)
		burst := p.tokens
		require.InDelta(t, max(10_000, 2*float64(quantum(rate, 1000)), rate*0.002), burst, 1, "an initial window, two quanta, or 2 ms")
		for now.Sub(start) < d {
			p.advance(now, rate, 1000)
			if wait := p.wait(rate, 1000); wait > 0 {
				now = now.Add(wait)
				continue
			}
			n := int(p.tokens)
			if float64(n) > burst || n < quantum(rate, 1000)-1 {
				t.Fatalf("%d bytes at once", n)
			}
			p.spend(n)
			sent += n
		}
		total := rate*d.Seconds() + burst
		require.InDelta(t, total, float64(sent), 0.001*total+float64(quantum(rate, 1000)), "at %g bytes a second", rate)
	}
}

// TestPacerWaitIsEnough: no second timer is needed after the first.
func TestPacerWaitIsEnough(t *testing.T) {
	for _, rate := range []float64{1, 3, 1e3, 333_333, 7e6, 1e8, 2.5e9} {
		var p pacer
		now := Time(time.Second)
		p.advance(now, rate, 1180)
		p.spend(int(p.tokens))
		wait := p.wait(rate, 1180)
		require.Positive(t, wait)
		p.advance(now.Add(wait), rate, 1180)
		require.Zero(t, p.wait(rate, 1180), "at %g", rate)
	}
}

// TestPacerCatchesUp: a timer that is 2 ms late costs nothing, and idle time does
// not turn into a burst.
func TestPacerCatchesUp(t *testing.T) {
	const rate = 100e6
	var p pacer
	now := Time(time.Second)
	p.advance(now, rate, 1000)
	p.spend(int(p.tokens))
	p.advance(now.Add(2*ms), rate, 1000)
	require.InDelta(t, 200_000, p.tokens, 1)
	p.advance(now.Add(time.Hour), rate, 1000)
	require.InDelta(t, 200_000, p.tokens, 1)
}

func TestPacerUnlimited(t *testing.T) {
	var p pacer
	p.spend(1 << 30)
	require.Zero(t, p.wait(0, 1000))
}
