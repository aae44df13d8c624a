package engine

import (
	"time"

	"utppunch/utp/internal/wire"
)

// Dialect is how the packets of a connection are told from those of others, and
// what goes with it.
//
// An initiator that speaks BEP 29 receives with X, the id of its SYN, and sends
// with X + 1; one that speaks utp-punch's dialect has it the other way round, and
// X is even. The acceptor finds out which it is: utp-punch answers a STATE with X
// with a RESET. The initiator knows by the SYN-ACK.
type Dialect uint8

// Dialects.
const (
	AutoDialect Dialect = iota // not decided: whatever the peer speaks
	BEP29
	UTPPunch
)

const (
	// punchWindow is wnd_size in every packet of utp-punch.
	punchWindow = 262144
	// punchOutstanding is the most packets outstanding to utp-punch, which takes
	// those up to 63 ahead.
	punchOutstanding = 62
	// punchKeepAlive is how often to speak at least: the applications of
	// utp-punch take a peer that is silent for 5 s for dead.
	punchKeepAlive = 1500 * time.Millisecond
	// punchReuse is how long an id is not used again: utp-punch answers whatever
	// comes with a RESET for 5 s.
	punchReuse = 10 * time.Second
	// punchResets is how many RESETs without a number, and no other packet between
	// them, end a connection.
	punchResets = 3
)

// MayBePunch reports whether a packet can be utp-punch's. Others that have a receive
// buffer of that size and nothing to say about the delay look the same.
func MayBePunch(p *wire.Packet) bool {
	return p.Window == punchWindow && p.TimestampDiff == 0 && p.Extensions.None()
}

// mayBePunchSyn reports whether a SYN can be utp-punch's.
func mayBePunchSyn(p *wire.Packet) bool {
	return p.ConnID%2 == 0 && p.AckNr == 0 && len(p.Payload) == 0 && MayBePunch(p)
}

// IsPunchReset reports whether p is the RESET with which utp-punch answers a
// packet of a connection that it does not know: it has no number by which to tell
// that it is no forgery.
func IsPunchReset(p *wire.Packet) bool {
	return p.Type == wire.Reset && p.SeqNr == 0 && p.AckNr == 0 && MayBePunch(p)
}

// punch reports whether the peer speaks utp-punch's dialect.
func (c *Conn) punch() bool { return c.dialect == UTPPunch }

// Dialect returns the dialect of the connection, AutoDialect as long as it is not
// known.
func (c *Conn) Dialect() Dialect { return c.dialect }

// Receives reports whether packets with this connection_id are for c. As long as
// the dialect is not known that is two, which differ in the lowest bit.
func (c *Conn) Receives(id uint16) bool {
	return id == c.connIDRecv || c.dialect == AutoDialect && id == c.connIDSend
}

// speakPunch decides for utp-punch's dialect.
func (c *Conn) speakPunch() {
	c.dialect = UTPPunch
	c.connIDRecv, c.connIDSend = c.connIDSend, c.connIDRecv
}

// decide settles the dialect by the first packet that proves where it came from.
func (c *Conn) decide(p *wire.Packet) {
	switch {
	case c.dialect != AutoDialect:
	case p.ConnID == c.connIDSend:
		c.speakPunch()
	default:
		c.dialect = BEP29
	}
}

// synAckRun writes the answers to a SYN of which the dialect is not known: with X,
// and if that has been refused or the SYN was repeated, as utp-punch does every
// 100 ms, with X + 1 too, or alone. Both at once from the beginning would be two
// answers to one SYN, and libutp's RESET.
func (c *Conn) synAckRun(now Time, b []byte) Transmit {
	t := c.sendState(now, b)
	if c.dialect != AutoDialect || c.offer == offerNone {
		return t
	}
	h := c.header(now, wire.State, c.out.nxt)
	h.ConnID = c.connIDRecv
	if c.offered < 255 {
		c.offered++
	}
	if c.offer == offerAlone {
		c.offer = offerBoth // if this is lost, too
		h.Put(b, 0)
		return single(wire.HeaderSize)
	}
	h.Put(b[t.Len:], 0)
	return Transmit{Len: 2 * wire.HeaderSize, Segment: wire.HeaderSize}
}

// offer says in what an acceptor of unknown dialect answers the SYN.
type offer uint8

const (
	offerNone  offer = iota // BEP 29
	offerAlone              // utp-punch's dialect
	offerBoth
)

// probeRefused takes a RESET that the initiator's dialect explains, and reports
// whether it does: nothing is wrong with the connection then. It may come when the
// dialect is known already.
func (c *Conn) probeRefused(p *wire.Packet) bool {
	switch {
	case c.punch():
		// It resets with the id that it sends with. This is about the other one.
		return p.ConnID != c.connIDRecv
	case c.state == synRecv && c.dialect == AutoDialect && IsPunchReset(p):
		c.offer = offerAlone
		c.ack.now()
		return true
	case c.offered > 0 && p.AckNr == c.iss && p.SeqNr != c.irs+1:
		// Others, about what utp-punch would have understood: once each.
		c.offered--
		return true
	default:
		return false
	}
}

// resetWithoutNumber counts the RESETs of a utp-punch that does not know the
// connection any more, for which all that it gets are reason for one.
func (c *Conn) resetWithoutNumber(p *wire.Packet) (enough bool) {
	if !c.punch() || !IsPunchReset(p) {
		return false
	}
	c.asked++
	return c.asked >= punchResets
}

// Assume decides the dialect of an attempt that the peer has not answered: an Abort
// then reaches it in its own.
func (c *Conn) Assume(d Dialect) {
	if c.dialect == AutoDialect && d == UTPPunch {
		c.speakPunch()
	}
}
