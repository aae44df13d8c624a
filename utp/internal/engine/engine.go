// Package engine is uTP (BEP 29) for one connection, as a state machine without
// locks, goroutines, clocks or I/O. Package utp drives it.
//
// A [Conn] has four kinds of methods:
//
//   - ask: Reason, Readable, EOF, Writable, Stats, …
//   - hand in: HandlePacket and HandleTimeout report what happened;
//   - command: Connect, Accept, Write, Read, CloseWrite, Close, Abort, …
//   - poll: PollTransmit, PollTimeout and PollEvents say what is to be done.
//
// After any number of calls of the second and third kind the driver polls:
// PollTransmit until it has nothing (or until the driver cannot send), then
// PollTimeout, which accounts for what was sent, then PollEvents. Every method
// that can depend on time takes it as an argument; it must not decrease.
//
// Sequence numbers count packets, everything else that has a size counts
// payload bytes, unless it says otherwise.
package engine

import (
	"time"

	"utppunch/utp/internal/wire"
)

// Params are what the connections of an endpoint have in common.
type Params struct {
	MaxDatagram       int // largest datagram to send, bytes of UDP payload
	SendBuffer        int // most unacknowledged payload, bytes
	RecvBuffer        int // largest receive window, bytes
	Timeout           time.Duration
	KeepAlive         time.Duration // zero: off
	IdleTimeout       time.Duration // zero: off
	Linger            time.Duration
	CongestionControl CongestionControl
	Dialect           Dialect // AutoDialect: whatever the peer speaks
	Memory            Memory
}

// Identity is what tells one connection from another.
type Identity struct {
	ConnID uint16     // connection_id of the SYN
	SeqNr  wire.SeqNr // our first sequence number
	IPv6   bool       // the path is IPv6
}

type state uint8

const (
	// synSent (CS_SYN_SENT): our SYN is out.
	synSent state = iota + 1
	// synRecv (CS_SYN_RECV): a SYN was answered. Until the peer has echoed our
	// sequence number nothing but the SYN-ACK is sent, always with the same
	// number: libutp takes the number of any packet for the first one.
	synRecv
	// connected (CS_CONNECTED), half-closed states included.
	connected
	// closed: nothing is sent any more but what is still due: a RESET, or the
	// acknowledgement of the peer's FIN.
	closed
)

// Reason says why a connection is closed.
type Reason uint8

// Reasons.
const (
	NotClosed Reason = iota
	Finished         // both directions ended; everything was acknowledged
	Aborted          // by us
	Refused          // RESET in answer to our SYN
	ResetByPeer
	TimedOut
)

// Events is a set of things that happened.
type Events uint8

// Events.
const (
	EventConnected Events = 1 << iota // the handshake is complete
	EventReadable                     // bytes, the end of the stream, or an error can be read
	EventWritable                     // there is room again, everything was acknowledged, or writing failed
	EventClosed                       // the connection needs no more packets routed to it
)

// Conn is one connection. The zero value becomes one by Connect or Accept.
type Conn struct {
	params    *Params
	timers    timers
	state     state
	reason    Reason
	events    Events
	initiator bool
	ownKind   bool // the peer sent a Hello
	ipv6      bool
	dialect   Dialect
	offer     offer
	offered   uint8 // answers to the SYN in utp-punch's dialect

	connIDRecv, connIDSend uint16     // connection_id to receive and to send with
	iss, irs               wire.SeqNr // first sequence numbers, ours and the peer's

	// Handshake.
	helloRecv    bool // the SYN carried a Hello, so the SYN-ACK does
	synDue       bool
	synAcks      uint8 // SYN-ACKs sent
	repeats      uint8 // of the SYN-ACK, or of the STATE that answers it
	resetDue     bool
	closing      bool // Close was called
	readClosed   bool // received data is thrown away
	hurried      bool // Hurry was called
	undelivered  bool // closed before all was acknowledged
	synAckAckAt  Time // when a SYN-ACK was last answered
	lastSent     Time
	lastHeard    Time
	lastProgress Time

	// Sending.
	out         inflight
	buf         sendBuffer
	unsent      uint64 // offset of the first byte never sent
	rtt         rttEstimator
	rack        rack
	cc          controller
	pacer       pacer
	mtu         mtu
	recovery    recoveryKind
	recoveryEnd wire.SeqNr // first number sent after the loss was noticed
	repairDue   bool       // a lost packet may be sent beyond the congestion window
	congested   bool       // a packet was lost that calls for a smaller window
	roundEnd    wire.SeqNr // first number sent in the current round trip
	partialSeq  wire.SeqNr // last short packet
	partialOut  bool       // it is outstanding
	limited     bool       // cwnd, or pacing, was what stopped sending
	noDelay     bool
	holdOver    bool // the short packet that was held back may go
	finQueued   bool
	finSent     bool
	blocked     bool // Write took less than it was given
	dupAcks     uint8
	ackTS       wire.Timestamp // of the last packet whose acknowledgement was used

	// The peer's window, from the newest packet: SND.WL1 and SND.WL2 of RFC 9293.
	peerWindow    int
	windowSeq     wire.SeqNr
	windowAck     wire.SeqNr
	windowTS      wire.Timestamp
	probes        uint8 // zero-window probes without an answer
	windowProbe   bool  // one packet may exceed the window
	askDue        bool  // a keepalive that our own kind answers
	asked         uint8 // keepalives without an answer
	answeredAskAt Time

	// Receiving.
	in       recvBuffer
	ahead    reorder
	window   recvWindow
	guard    guard
	ack      ackState
	rcvNxt   wire.SeqNr // next number expected
	echoDiff uint32     // timestamp_difference_microseconds to send
	eof      bool       // the peer's FIN was reached
	finAhead bool       // a FIN is held ahead of a gap
	finSeq   wire.SeqNr

	stats Counters
}

type recoveryKind uint8

const (
	noRecovery   recoveryKind = iota
	fastRecovery              // a loss was found by acknowledgements: the window is held
	lossRecovery              // after a timeout: slow start
)

// Counters count what happened to a connection.
type Counters struct {
	PacketsSent, PacketsReceived uint64
	BytesSent, BytesReceived     uint64 // payload, first transmissions only
	Retransmits                  uint64 // packets sent again
	Timeouts                     uint64 // RFC 6298 timeouts
	Duplicates                   uint64 // packets received again
	OutOfOrder                   uint64 // packets held ahead of a gap
	Invalid                      uint64 // packets that failed a check and were dropped
	BeyondWindow                 uint64 // packets dropped for want of window or memory
}

// Stats are the counters of a connection, and its state.
type Stats struct {
	Counters
	SRTT, RTTVar, MinRTT, RTO time.Duration
	CongestionWindow          int
	FlightSize                int
	PeerWindow                int
	RecvWindow                int
	SendBuffered              int
	RecvBuffered              int
	Datagram                  int // largest datagram known to pass
	OwnKind                   bool
	Dialect                   Dialect
}

// Stats returns a snapshot.
func (c *Conn) Stats() Stats {
	s := Stats{Counters: c.stats}
	s.SRTT, s.RTTVar, s.MinRTT, s.RTO = c.rtt.srtt, c.rtt.rttVar, c.rtt.minRTT, c.rtt.rto(c.rtoFloor())
	if c.cc != nil {
		s.CongestionWindow = c.cc.window()
	}
	s.FlightSize = c.out.flightSize()
	s.PeerWindow = c.peerWindow
	s.RecvWindow = c.window.limit
	s.SendBuffered = c.buf.len()
	s.RecvBuffered = c.in.len + c.ahead.bytes
	s.Datagram = c.mtu.current
	s.OwnKind = c.ownKind
	s.Dialect = c.dialect
	return s
}

// ConnIDs returns the ids to receive with and to send with.
func (c *Conn) ConnIDs() (recv, send uint16) { return c.connIDRecv, c.connIDSend }

// Reason says why the connection is closed, NotClosed if it is not.
func (c *Conn) Reason() Reason { return c.reason }

// SynSeqNr is the sequence number of the SYN that opened the connection.
func (c *Conn) SynSeqNr() wire.SeqNr {
	if c.initiator {
		return c.iss
	}
	return c.irs
}

// PollTimeout returns when HandleTimeout is to be called, zero for never.
func (c *Conn) PollTimeout() Time { return c.timers.next() }

// PollEvents returns the events since the last call.
func (c *Conn) PollEvents() Events {
	e := c.events
	c.events = 0
	return e
}

func (c *Conn) rtoFloor() time.Duration {
	if c.ownKind {
		return minRTO
	}
	return minRTOForeign
}

// segment is the payload of a full packet.
func (c *Conn) segment() int { return c.mtu.current - wire.HeaderSize }
