package simnet

import (
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"time"
)

const (
	defaultQueue        = 256 << 10 // bytes; a home router's, and far too long for its uplink, as there
	maxQueue            = 1 << 30   // bytes; keeps the arithmetic of serialisation in 64 bits
	defaultReorderDelay = 10 * time.Millisecond
	maxPayload          = 65507 // the largest UDP payload in IPv4: 65,535 less 20 and 8 bytes of headers
)

// Link is one direction of a Conn's access link. The zero value is perfect and instant. Sizes and rates count UDP
// payload, without IP and UDP headers.
type Link struct {
	// Latency is the propagation delay.
	Latency time.Duration
	// Jitter is the upper end of a delay added to Latency, uniform in [0, Jitter] for each datagram by itself:
	// datagrams may overtake each other.
	Jitter time.Duration

	// Rate is the bandwidth in bit/s. At zero it is unlimited, and nothing ever queues.
	Rate int64
	// Queue is how many bytes may be waiting at a link with a Rate, what is left of the datagram now being sent
	// included; a datagram that does not fit is dropped. An idle link takes any datagram. If zero, 256 KiB.
	Queue int

	// Loss is the probability that a datagram is lost, after it has used the link's bandwidth.
	Loss float64
	// Duplicate is the probability that a datagram arrives twice, each copy with its own delay.
	Duplicate float64
	// Reorder is the probability that a datagram is held back by ReorderDelay.
	Reorder float64
	// ReorderDelay is for how long Reorder holds a datagram back. If zero, 10 ms.
	ReorderDelay time.Duration

	// MTU is the largest payload that passes; larger ones vanish without a trace, as behind a router that filters
	// ICMP. If zero, 65,507.
	MTU int
}

// check returns why a test cannot have meant l.
func (l Link) check() error {
	for _, p := range []float64{l.Loss, l.Duplicate, l.Reorder} {
		if !(p >= 0 && p <= 1) { // also refuses NaN
			return errors.New("simnet: a probability outside [0, 1]")
		}
	}
	if l.Latency < 0 || l.Jitter < 0 || l.ReorderDelay < 0 {
		return errors.New("simnet: a negative delay")
	}
	if l.Rate < 0 || l.Queue < 0 || l.Queue > maxQueue || l.MTU < 0 {
		return errors.New("simnet: a rate, queue or MTU out of range")
	}
	return nil
}

// direction tells a Conn's two links apart.
type direction byte

const (
	up direction = iota
	down
)

// link is a Link at work. It does not lock: its Network does.
type link struct {
	Link // with its defaults filled in

	rng *rand.Rand
	// idleAt is when the last bit of everything accepted so far has been sent.
	idleAt time.Duration
}

func newLink(l Link, seed uint64, addr netip.AddrPort, dir direction) link {
	if l.Queue == 0 {
		l.Queue = defaultQueue
	}
	if l.ReorderDelay == 0 {
		l.ReorderDelay = defaultReorderDelay
	}
	if l.MTU == 0 {
		l.MTU = maxPayload
	}
	h := fnv.New64a()
	h.Write([]byte(addr.String()))
	h.Write([]byte{byte(dir)})
	return link{Link: l, rng: rand.New(rand.NewPCG(seed, h.Sum64()))}
}

// send puts a datagram of size bytes on the link and returns when its last bit has left, or why it does not get that
// far or no further.
func (l *link) send(now time.Duration, size int) (left time.Duration, fate Fate) {
	if size > l.MTU {
		return 0, TooBig
	}
	left = now
	if l.Rate > 0 {
		if l.idleAt > now && l.idleAt-now+l.serialisation(size) > l.serialisation(l.Queue) {
			return 0, QueueFull
		}
		l.idleAt = max(l.idleAt, now) + l.serialisation(size)
		left = l.idleAt
	}
	if l.chance(l.Loss) {
		return 0, Lost
	}
	return left, inFlight
}

// serialisation returns how long the link takes to send size bytes.
func (l *link) serialisation(size int) time.Duration {
	return time.Duration(int64(size) * 8 * int64(time.Second) / l.Rate)
}

// delay returns how long a datagram travels once it has left.
func (l *link) delay() time.Duration {
	d := l.Latency
	if l.Jitter > 0 {
		d += time.Duration(l.rng.Int64N(int64(l.Jitter) + 1))
	}
	if l.chance(l.Reorder) {
		d += l.ReorderDelay
	}
	return d
}

// chance reports true with probability p.
func (l *link) chance(p float64) bool {
	return p > 0 && l.rng.Float64() < p
}
