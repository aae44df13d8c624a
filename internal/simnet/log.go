package simnet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Fate is how a datagram ended.
type Fate int

const (
	inFlight Fate = iota

	// Delivered: it was put into the receiver's queue.
	Delivered
	// Filtered: the filter dropped it.
	Filtered
	// TooBig: it exceeded the MTU of a link.
	TooBig
	// QueueFull: it did not fit into the queue of a link.
	QueueFull
	// Lost: a link lost it by chance.
	Lost
	// NoReceiver: nobody was listening where it arrived.
	NoReceiver
	// Overflow: the receiver does not read, and its queue was full.
	Overflow
)

// String returns the fate in words.
func (f Fate) String() string {
	switch f {
	case Delivered:
		return "delivered"
	case Filtered:
		return "filtered"
	case TooBig:
		return "too big"
	case QueueFull:
		return "queue full"
	case Lost:
		return "lost"
	case NoReceiver:
		return "no receiver"
	case Overflow:
		return "overflow"
	default:
		return "in flight"
	}
}

const (
	// logLength is how many entries a Log keeps: the conversation before a failure, in a few hundred KB.
	logLength = 1024
	// headLength is how many bytes of a datagram an Entry shows: a uTP header and the beginning of an extension.
	headLength = 24
)

// Entry is one datagram, or one copy of it, that has ended.
type Entry struct {
	// Sent and Ended are the times of its WriteTo and of its end, counted from the Network's beginning.
	Sent, Ended time.Duration
	// From and To are its addresses.
	From, To netip.AddrPort
	// Size is the length of its payload, Head the first bytes of it, 24 at most.
	Size int
	Head []byte
	// Fate is how it ended.
	Fate Fate
}

// String returns the entry on one line.
func (e Entry) String() string {
	return fmt.Sprintf("%12v %12v  %v > %v  %d bytes  %v  %x", e.Sent, e.Ended, e.From, e.To, e.Size, e.Fate, e.Head)
}

// Log is what became of datagrams, in the order in which they ended. It prints as one line each, so that a test that
// fails can show it: t.Log(network.Log()).
type Log []Entry

// String returns the entries, one a line under a heading.
func (l Log) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%12s %12s\n", "sent", "ended")
	for _, e := range l {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

// Log returns the fates of the latest 1,024 datagrams that have ended.
func (n *Network) Log() Log {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.snapshot()
}

// logRing keeps the latest entries; each slot reuses its Head's memory.
type logRing struct {
	entries []Entry
	oldest  int
}

func (r *logRing) add(d datagram, ended time.Duration, fate Fate) {
	if len(r.entries) < logLength {
		r.entries = append(r.entries, Entry{})
	} else {
		r.oldest = (r.oldest + 1) % logLength
	}
	slot := &r.entries[(r.oldest+len(r.entries)-1)%logLength]
	*slot = Entry{
		Sent:  d.sent,
		Ended: ended,
		From:  d.from,
		To:    d.to,
		Size:  len(d.data),
		Head:  append(slot.Head[:0], d.data[:min(len(d.data), headLength)]...),
		Fate:  fate,
	}
}

func (r *logRing) snapshot() Log {
	l := slices.Concat(r.entries[r.oldest:], r.entries[:r.oldest])
	for i := range l {
		l[i].Head = slices.Clone(l[i].Head)
	}
	return l
}
