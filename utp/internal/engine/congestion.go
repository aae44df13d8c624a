package engine

import "time"

// CongestionControl selects an algorithm.
type CongestionControl uint8

// Algorithms.
const (
	CUBIC CongestionControl = iota // RFC 9438; the default
)

// controller is a congestion control algorithm. The unit is payload bytes.
type controller interface {
	// acked reports newly acknowledged payload.
	acked(a ackSample)
	// lost reports the first loss of a round trip, with the bytes in flight
	// before it.
	lost(flightSize int)
	// timedOut reports a retransmission timeout.
	timedOut(flightSize int)
	// setSegment tells the segment size after path MTU discovery.
	setSegment(n int)
	// window returns cwnd.
	window() int
	// pacingRate returns bytes a second, zero for unlimited.
	pacingRate(srtt time.Duration) float64
}

// ackSample is what one packet of the peer acknowledged.
type ackSample struct {
	now     Time
	bytes   int           // newly acknowledged, cumulatively or selectively
	limited bool          // cwnd was what limited sending
	flight  int           // bytes in flight before the acknowledgement
	rtt     time.Duration // of this acknowledgement, zero if it gave no sample
	srtt    time.Duration
	roundUp bool // the first acknowledgement of a new round trip
}

// newController returns the controller for an algorithm.
func newController(cc CongestionControl, segment int) controller {
	switch cc {
	case CUBIC:
		return newCubic(segment)
	default:
		panic("BUG: engine: unknown congestion control")
	}
}
