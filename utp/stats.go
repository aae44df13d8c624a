package utp

import "time"

// Stats are the counters and the state of one connection.
type Stats struct {
	PacketsSent     uint64 // all packets, acknowledgements included
	PacketsReceived uint64
	BytesSent       uint64 // payload, without retransmissions
	BytesReceived   uint64 // payload, in order
	Retransmits     uint64 // packets sent again
	Timeouts        uint64 // retransmission timeouts (RFC 6298)
	Duplicates      uint64 // packets received again
	OutOfOrder      uint64 // packets received ahead of a gap
	Invalid         uint64 // packets dropped because a check failed
	BeyondWindow    uint64 // packets dropped for want of window or memory

	SRTT   time.Duration // smoothed round trip time, zero if unknown
	RTTVar time.Duration // its variation
	MinRTT time.Duration
	RTO    time.Duration // retransmission timeout, with its back-off

	CongestionWindow int // bytes of payload
	FlightSize       int // bytes of payload in the network, as far as known
	PeerWindow       int // bytes, as the peer advertised
	RecvWindow       int // bytes that we are willing to buffer
	SendBuffered     int // bytes written and not acknowledged
	RecvBuffered     int // bytes received and not read
	Datagram         int // largest datagram that the path is known to take, bytes of UDP payload

	// OwnKind reports whether the peer is this implementation.
	OwnKind bool
	// Dialect is what the peer speaks.
	Dialect Dialect
}

// Stats returns a snapshot. It is safe for concurrent use, also after Close.
func (c *Conn) Stats() Stats {
	c.mu.Lock()
	s := c.engine.Stats()
	c.mu.Unlock()
	return Stats{
		PacketsSent:      s.PacketsSent,
		PacketsReceived:  s.PacketsReceived,
		BytesSent:        s.BytesSent,
		BytesReceived:    s.BytesReceived,
		Retransmits:      s.Retransmits,
		Timeouts:         s.Timeouts,
		Duplicates:       s.Duplicates,
		OutOfOrder:       s.OutOfOrder,
		Invalid:          s.Invalid,
		BeyondWindow:     s.BeyondWindow,
		SRTT:             s.SRTT,
		RTTVar:           s.RTTVar,
		MinRTT:           s.MinRTT,
		RTO:              s.RTO,
		CongestionWindow: s.CongestionWindow,
		FlightSize:       s.FlightSize,
		PeerWindow:       s.PeerWindow,
		RecvWindow:       s.RecvWindow,
		SendBuffered:     s.SendBuffered,
		RecvBuffered:     s.RecvBuffered,
		Datagram:         s.Datagram,
		OwnKind:          s.OwnKind,
		Dialect:          Dialect(s.Dialect),
	}
}

// EndpointStats are the counters of an [Endpoint].
type EndpointStats struct {
	Conns        int    // connections now, half-open ones included
	HalfOpen     int    // inbound connections that their initiator has not confirmed
	Tombstones   int    // ended connections that are still answered for
	Accepted     uint64 // inbound connections confirmed
	Dialed       uint64 // outbound connections established
	SynDropped   uint64 // SYNs ignored because of a limit
	BacklogReset uint64 // inbound connections reset because nobody accepted them
	Unroutable   uint64 // packets for no connection
	ResetsSent   uint64 // RESETs in answer to those
	SendErrors   uint64 // datagrams that the system refused to send
	Undelivered  uint64 // connections that were closed, and timed out before all was acknowledged without a call having said so
}
