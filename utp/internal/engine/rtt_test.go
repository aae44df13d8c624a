package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

const ms = time.Millisecond

func TestRTO(t *testing.T) {
	var r rttEstimator
	// RFC 6298, 2.1: "Until a round-trip time (RTT) measurement has been made for
	// a segment sent between the sender and receiver, the sender SHOULD set RTO
	// <- 1 second".
	require.Equal(t, time.Second, r.rto(minRTO))

	// 2.2: "When the first RTT measurement R is made, the host MUST set SRTT <- R,
	// RTTVAR <- R/2, RTO <- SRTT + max (G, K*RTTVAR) where K = 4."
	r.sample(400 * ms)
	require.Equal(t, 400*ms, r.srtt)
	require.Equal(t, 200*ms, r.rttVar)
	require.Equal(t, 1200*ms, r.rto(minRTO))

	// 2.3: "RTTVAR <- (1 - beta) * RTTVAR + beta * |SRTT - R'|, SRTT <- (1 -
	// alpha) * SRTT + alpha * R'. The value of SRTT used in the update to RTTVAR
	// is its value before updating SRTT itself using the second assignment. The
	// above SHOULD be computed using alpha=1/8 and beta=1/4."
	r.sample(800 * ms)
	require.Equal(t, 450*ms, r.srtt)
	require.Equal(t, 250*ms, r.rttVar)
	require.Equal(t, 1450*ms, r.rto(minRTO))
	r.sample(50 * ms)
	require.Equal(t, 400*ms, r.srtt)
	require.Equal(t, (250*3+400)*ms/4, r.rttVar)

	// 2.4: "Whenever RTO is computed, if it is less than 1 second, then the RTO
	// SHOULD be rounded up to 1 second." We round up to less.
	for range 200 {
		r.sample(10 * ms)
	}
	require.InDelta(t, 10*ms, r.srtt, float64(ms)/1000)
	require.Equal(t, minRTO, r.rto(minRTO))
	require.Equal(t, minRTOForeign, r.rto(minRTOForeign))
}

func TestRTOBackoff(t *testing.T) {
	var r rttEstimator
	r.sample(200 * ms) // RTO 600 ms
	// RFC 6298, 5.5: "The host MUST set RTO <- RTO * 2 ("back off the timer")."
	for _, want := range []time.Duration{600 * ms, 1200 * ms, 2400 * ms, 4800 * ms, 9600 * ms} {
		require.Equal(t, want, r.rto(minRTO))
		require.Equal(t, 600*ms, r.base(minRTO), "without back-off")
		r.timedOut()
	}
	// 2.5: "A maximum value MAY be placed on RTO".
	for range 1000 {
		require.Equal(t, maxRTO, r.rto(minRTO))
		r.timedOut()
	}
	r.progress()
	require.Equal(t, 600*ms, r.rto(minRTO), "the path works again")

	r.sample(time.Hour)
	require.Equal(t, maxRTO, r.base(minRTO))
	require.Equal(t, maxRTO, r.rto(minRTO))
}

func TestRTOBackoffWithoutSample(t *testing.T) {
	var r rttEstimator
	for _, want := range []time.Duration{1, 2, 4, 8, 15, 15} {
		require.Equal(t, want*time.Second, r.rto(minRTO))
		r.timedOut()
	}
}

// TestSlowPathIsNotStalled: after round trips of a minute, as an outage makes
// them, the rate is next to nothing; what is lost goes out nevertheless.
func TestSlowPathIsNotStalled(t *testing.T) {
	p := newPair(1)
	p.a.out, p.b.out = link{delay: 20 * ms}, link{delay: 20 * ms}
	p.connect(t)
	c := p.a.conn
	c.rtt.srtt, c.rtt.rttVar = time.Minute, time.Minute
	c.cc.timedOut(1000)
	c.pacer.advance(p.now, c.cc.pacingRate(c.rtt.srtt), c.segment())
	c.pacer.tokens = 0
	begin := p.now
	c.Write(make([]byte, 5*1180))
	require.NoError(t, p.run(time.Minute, c.Flushed))
	require.Less(t, p.now.Sub(begin), time.Second)
}

func TestMinRTT(t *testing.T) {
	var r rttEstimator
	for _, tt := range []struct{ sample, min time.Duration }{
		{50 * ms, 50 * ms}, {60 * ms, 50 * ms}, {40 * ms, 40 * ms}, {70 * ms, 40 * ms},
		// A coarse clock measures nothing; zero would mean "no sample yet".
		{0, time.Microsecond}, {-ms, time.Microsecond},
	} {
		r.sample(tt.sample)
		require.Equal(t, tt.min, r.minRTT)
	}
	require.Positive(t, r.srtt)
	require.Positive(t, r.rttVar)
}

// TestKarn: RFC 6298, section 3: "RTT samples MUST NOT be made using segments
// that were retransmitted (and thus for which it is ambiguous whether the reply
// was for the first instance of the packet or a later instance)."
func TestKarn(t *testing.T) {
	p := newPair(1)
	p.a.out, p.b.out = link{delay: 50 * ms}, link{delay: 50 * ms}
	p.connect(t)
	c := p.a.conn
	require.Equal(t, 100*ms, c.rtt.srtt)

	// The only packet is lost, and repeated by the timer.
	lost := false
	p.drop = func(from *peer, pkt *wire.Packet) bool {
		drop := from == p.a && len(pkt.Payload) > 0 && !lost
		lost = lost || drop
		return drop
	}
	samples := c.rtt
	require.Equal(t, 5, c.Write([]byte("hello")))
	require.NoError(t, p.run(time.Minute, func() bool { return lost && c.Flushed() }))
	require.EqualValues(t, 1, c.stats.Retransmits)
	require.Equal(t, samples, c.rtt, "no sample, and no back-off any more")
	require.NoError(t, p.run(time.Minute, func() bool { return p.b.conn.Readable() == 5 }))

	// The next one counts.
	require.Equal(t, 5, c.Write([]byte("again")))
	require.NoError(t, p.run(time.Minute, c.Flushed))
	samples.sample(125 * ms)
	require.Equal(t, samples, c.rtt, "the path's 100 ms, and 25 of delayed acknowledgement")
}
