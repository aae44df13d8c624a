package engine

import "time"

// Bounds of the retransmission timeout.
const (
	// initialRTO is used until there is an RTT sample (RFC 6298, 2.1).
	initialRTO = time.Second
	// minRTO for peers of our own kind, whose acknowledgements are delayed by at
	// most maxAckDelay; below RFC 6298's second, like every current TCP.
	minRTO = 200 * time.Millisecond
	// minRTOForeign allows for the ticks and delayed acknowledgements of other
	// implementations (40 ms and scheduling; BEP 29 says 500 ms).
	minRTOForeign = 500 * time.Millisecond
	// maxRTO bounds the timeout, with and without back-off (RFC 6298, 2.5, allows
	// any bound ≥ 60 s; a punched path is worth probing more often).
	maxRTO = 15 * time.Second
)

// rttEstimator is RFC 6298, with the minimum kept beside it.
type rttEstimator struct {
	srtt, rttVar time.Duration
	minRTT       time.Duration
	backoff      uint8 // consecutive timeouts
}

func (r *rttEstimator) sample(rtt time.Duration) {
	rtt = max(rtt, time.Microsecond)
	if r.minRTT == 0 || rtt < r.minRTT {
		r.minRTT = rtt
	}
	// RFC 6298, 2.2: SRTT <- R, RTTVAR <- R/2.
	if r.srtt == 0 {
		r.srtt, r.rttVar = rtt, rtt/2
		return
	}
	// RFC 6298, 2.3: alpha = 1/8, beta = 1/4.
	r.rttVar += ((r.srtt - rtt).Abs() - r.rttVar) / 4
	r.srtt += (rtt - r.srtt) / 8
}

// rto returns the timeout with its back-off (RFC 6298, 5.5).
func (r *rttEstimator) rto(floor time.Duration) time.Duration {
	rto := r.base(floor)
	for range r.backoff {
		if rto *= 2; rto >= maxRTO {
			return maxRTO
		}
	}
	return rto
}

// base returns the timeout without back-off (RFC 6298, 2.3).
func (r *rttEstimator) base(floor time.Duration) time.Duration {
	if r.srtt == 0 {
		return initialRTO
	}
	return min(max(r.srtt+4*r.rttVar, floor), maxRTO)
}

func (r *rttEstimator) timedOut() {
	if r.backoff < 16 {
		r.backoff++
	}
}

// progress ends the back-off: the path works.
func (r *rttEstimator) progress() { r.backoff = 0 }
