package udp

import "sync/atomic"

// Stats counts what went wrong on a [Conn] since it was made.
type Stats struct {
	ReadErrors   uint64 // soft errors that Read skipped
	ReadDropped  uint64 // datagrams that Read dropped: the sender's address is not an IP address and a port
	WriteErrors  uint64 // calls of Write and TryWrite that returned an error other than ErrWouldBlock
	WriteRetries uint64 // datagrams sent in a further attempt, because the first met a pending ICMP error

	// Overflows counts what the system dropped because the receive buffer was
	// full: datagrams, or runs of them. It counts from when the socket was made,
	// and knows it by the next datagram that is read. Only Linux tells.
	Overflows uint64
}

type counters struct {
	readErrors   atomic.Uint64
	readDropped  atomic.Uint64
	writeErrors  atomic.Uint64
	writeRetries atomic.Uint64
	overflows    atomic.Uint64
}

func (c *counters) snapshot() Stats {
	return Stats{
		ReadErrors:   c.readErrors.Load(),
		ReadDropped:  c.readDropped.Load(),
		WriteErrors:  c.writeErrors.Load(),
		WriteRetries: c.writeRetries.Load(),
		Overflows:    c.overflows.Load(),
	}
}
