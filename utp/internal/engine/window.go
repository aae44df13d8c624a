package engine

import "time"

const (
	// initialWindow is what every connection promises at first, in its SYN too.
	initialWindow = 64 << 10
	// overshootLimit bounds what is accepted beyond the promised window. Peers
	// without a zero-window probe of another kind send a packet beyond it and
	// die when it is never acknowledged (libutp: one every 15 s).
	overshootLimit = 64 << 10
	// overshootInterval is the least time between two such packets.
	overshootInterval = time.Second
	// Up to so much, and further as far as full use of localRate bytes a second
	// calls for at the shortest round trip, the window grows. A longer queue would
	// only be one in the hosts, which share their socket buffer among all
	// connections and overflow, or at best outgrow the CPU's cache.
	localWindow = 768 << 10
	localRate   = 10e9 / 8
	// pathAge is when the shortest round trip is forgotten: paths change.
	pathAge = time.Minute
	// windowSampleAge is when the shortest time that a window of data took is
	// forgotten.
	windowSampleAge = 10 * time.Second
)

// updateDelays is when a window update is repeated while nothing shows that it
// arrived: libtorrent and librqbit never probe a closed window. The same goes for
// the news of a gap.
var updateDelays = [...]time.Duration{
	200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
	4 * time.Second, 8 * time.Second, 15 * time.Second, 30 * time.Second,
}

// recvWindow is the receiver's half of flow control: what the peer was
// promised, and how much it should be. The unit is payload bytes. "Admitted" is
// the sum of the distinct bytes received so far and the window advertised; it
// never decreases, so the right edge never moves back.
type recvWindow struct {
	limit    int    // buffer that we are willing to fill now
	max      int    // bound of limit
	received uint64 // distinct payload bytes accepted, in order or not
	edge     uint64 // admitted

	// Auto-tuning: limit follows twice the bytes that were read in a round trip.
	rtt        time.Duration
	rttAt      Time          // when rtt was sampled
	path       time.Duration // shortest round trip of late, zero: not known
	pathAt     Time          // when it was sampled
	turnAt     Time          // when the current measurement began
	turnEdge   uint64        // received value at which a full window has passed
	copied     int           // bytes read since epoch
	epoch      Time
	overshotAt Time
	tries      uint8 // repeats of the last window update or news of a gap
	closed     bool  // the last window told to the peer held no full packet
}

func (w *recvWindow) init(limit int) {
	w.max = limit
	w.limit = min(initialWindow, limit)
	w.edge = uint64(w.limit)
}

// advertise returns the window to tell the peer when held bytes are buffered,
// and commits to it. The right edge moves by a good piece or not at all
// (RFC 1122, section 4.2.3.3: no silly windows).
func (w *recvWindow) advertise(held int) int {
	edge := w.received + uint64(w.limit) - uint64(held)
	if int64(edge-w.edge) >= int64(w.step()) {
		w.edge = edge
	}
	return w.promised()
}

// step is the least by which the right edge moves.
func (w *recvWindow) step() int { return min(MaxDatagramIPv4, w.limit/2) }

// promised is the window that the peer may still use.
func (w *recvWindow) promised() int { return max(0, int(int64(w.edge-w.received))) }

// admit reports whether n more bytes are within the window, or within what is
// tolerated beyond it.
func (w *recvWindow) admit(now Time, n int) bool {
	over := int64(w.received) + int64(n) - int64(w.edge)
	if over <= 0 {
		return true
	}
	if over > overshootLimit || over > MinChunk && w.overshotAt != 0 && now.Sub(w.overshotAt) < overshootInterval {
		return false
	}
	w.overshotAt = now
	return true
}

// accepted counts n new bytes and times how long a full window takes, which is
// the round trip of a sender that the window limits, and longer otherwise.
func (w *recvWindow) accepted(now Time, n int) {
	w.received += uint64(n)
	if w.turnAt != 0 && w.received < w.turnEdge {
		return
	}
	if w.turnAt != 0 {
		took := max(now.Sub(w.turnAt), time.Microsecond)
		if w.rttAt == 0 || took < w.rtt || now.Sub(w.rttAt) > windowSampleAge {
			w.rtt, w.rttAt = took, now
		}
	}
	w.turnAt, w.turnEdge = now, w.received+uint64(w.limit)
}

// pathSample takes a round trip without the time that hosts took to answer.
func (w *recvWindow) pathSample(now Time, rtt time.Duration) {
	if w.path == 0 || rtt <= w.path || now.Sub(w.pathAt) > pathAge {
		w.path, w.pathAt = rtt, now
	}
}

// useful bounds the window by what the path can hold.
func (w *recvWindow) useful() int {
	if w.path == 0 {
		return w.max
	}
	// An int of 32 bits does not hold it for every path.
	return int(min(float64(w.max), localWindow+localRate*w.path.Seconds()))
}

// consumed counts n bytes read by the application and grows the window to twice
// what it read in a round trip, as far as mem grants it. It shrinks, without the
// right edge moving back, when the path turns out to be shorter than it seemed.
func (w *recvWindow) consumed(now Time, n int, mem Memory) {
	w.copied += n
	if w.epoch == 0 {
		w.epoch = now
	}
	if w.rtt == 0 || now.Sub(w.epoch) < w.rtt {
		return
	}
	bound := w.useful()
	if want := min(2*w.copied, bound); want > w.limit && mem.Reserve(want-w.limit, false) {
		w.limit = want
	} else if bound < w.limit {
		mem.Release(w.limit - bound)
		w.limit = bound
	}
	w.copied, w.epoch = 0, now
}
