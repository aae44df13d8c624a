package simnet

import (
	"container/heap"
	"net/netip"
	"time"
)

// datagram is one on its way. Its data is shared by duplicates and never written to.
type datagram struct {
	from, to netip.AddrPort
	sent     time.Duration
	data     []byte
}

// hop is where an event finds its datagram.
type hop byte

const (
	atCore hop = iota // past the sender's up link
	atConn            // past the receiver's down link
)

// event is a datagram about to reach a hop.
type event struct {
	datagram

	at   time.Duration
	nr   uint64 // among events of one instant the first scheduled comes first
	next hop
}

// schedule holds the events to come, the earliest first.
type schedule struct {
	events eventHeap
	lastNr uint64
}

func (s *schedule) add(at time.Duration, next hop, d datagram) {
	s.lastNr++
	heap.Push(&s.events, &event{datagram: d, at: at, nr: s.lastNr, next: next})
}

// first returns when the earliest event is due.
func (s *schedule) first() (at time.Duration, ok bool) {
	if len(s.events) == 0 {
		return 0, false
	}
	return s.events[0].at, true
}

// due removes and returns the earliest event if it is due by now, or nil.
func (s *schedule) due(now time.Duration) *event {
	if at, ok := s.first(); !ok || at > now {
		return nil
	}
	return heap.Pop(&s.events).(*event)
}

// eventHeap implements heap.Interface.
type eventHeap []*event

func (h eventHeap) Len() int      { return len(h) }
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h eventHeap) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].nr < h[j].nr
}

func (h *eventHeap) Push(x any) { *h = append(*h, x.(*event)) }

func (h *eventHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil // lets the datagram be collected
	*h = (*h)[:last]
	return e
}
