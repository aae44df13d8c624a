package engine

import (
	"time"

	"utppunch/utp/internal/wire"
)

// helloVersion is the version that we put into a Hello.
const helloVersion = 1

// synAckDelays are the intervals at which an acceptor that hears nothing repeats
// its SYN-ACK: 0.3 s and 1 s after the first. That makes three answers to one
// SYN, the limit of RFC 9000, section 8.1.
var synAckDelays = [...]time.Duration{300 * time.Millisecond, 700 * time.Millisecond}

// confirmDelays are the intervals at which an initiator that hears nothing more
// repeats the STATE that answers the SYN-ACK: after 0.3, 1 and 3 s. Without it a
// server that speaks first would wait for ever when that STATE is lost.
var confirmDelays = [...]time.Duration{300 * time.Millisecond, 700 * time.Millisecond, 2 * time.Second}

const (
	// embryonicLimit is how long an inbound connection may remain unconfirmed:
	// long enough for libutp, whose first word may be its keepalive at 29 s.
	embryonicLimit = 30 * time.Second
	// answerInterval is the least time between two STATEs that answer a STATE:
	// a repeated SYN-ACK, or a keepalive of our own kind.
	answerInterval = 100 * time.Millisecond
)

func (c *Conn) init(p *Params, id Identity) {
	c.params = p
	c.ipv6 = id.IPv6
	c.iss = id.SeqNr
	c.window.init(p.RecvBuffer)
}

// Connect makes c the initiator of a connection.
func (c *Conn) Connect(now Time, p *Params, id Identity) {
	c.init(p, id)
	c.state = synSent
	c.initiator = true
	// The SYN carries X and the initiator receives with it; everything else it
	// sends carries X + 1. BEP 29's prose has this the wrong way round.
	c.connIDRecv, c.connIDSend = id.ConnID, id.ConnID+1
	if c.dialect = p.Dialect; c.punch() {
		c.speakPunch()
	}
	c.out.una, c.out.nxt = c.iss+1, c.iss+1
	c.lastHeard = now
	c.synDue = true
}

// Accept makes c the acceptor of the connection that syn opens.
func (c *Conn) Accept(now Time, p *Params, id Identity, syn *wire.Packet) {
	c.init(p, id)
	c.state = synRecv
	c.connIDRecv, c.connIDSend = syn.ConnID+1, syn.ConnID
	switch {
	case p.Dialect == UTPPunch:
		c.speakPunch()
	case p.Dialect == BEP29 || !mayBePunchSyn(syn):
		c.dialect = BEP29
	}
	// The SYN-ACK does not consume a sequence number: the first DATA has the
	// same one.
	c.out.una, c.out.nxt = c.iss, c.iss
	c.irs = syn.SeqNr
	c.rcvNxt = syn.SeqNr + 1
	_, c.helloRecv = syn.Extensions.Hello()
	c.heard(now, syn)
	c.peerWindow = int(min(syn.Window, maxPeerWindow))
	if syn.Window == 0 {
		// libtorrent and librqbit say zero in a SYN and mean "unknown".
		c.peerWindow = initialBurst * BaseDatagram
	}
	c.windowSeq, c.windowAck = syn.SeqNr, c.iss-1
	c.timers.set(timerEmbryonic, now.Add(embryonicLimit))
	c.timers.set(timerHandshake, now.Add(synAckDelays[0]))
	c.ack.now()
}

// RepeatSyn sends the SYN once more, as it was: for a peer that speaks utp-punch's
// dialect for certain. With others a repetition is a new Conn.
func (c *Conn) RepeatSyn() { c.synDue = c.state == synSent }

// RepeatSynAck answers the SYN, or a duplicate of it, with the same sequence number.
func (c *Conn) RepeatSynAck() {
	if c.state == synRecv {
		if c.synAcks > 0 && c.dialect == AutoDialect {
			// Whoever repeats it will do so again, unlike us: two answers each,
			// and those unasked, would be more than three to one SYN.
			c.offer = offerBoth
			c.timers.stop(timerHandshake)
		}
		c.ack.now()
	}
}

// Calm stops the repetition of SYN-ACKs that nobody asked for: the endpoint is
// under pressure, perhaps by forged SYNs.
func (c *Conn) Calm() {
	if c.state == synRecv {
		c.timers.stop(timerHandshake)
	}
}

// Expects reports whether a packet can be the answer to our SYN.
func (c *Conn) Expects(p *wire.Packet) bool {
	return c.state == synSent && p.AckNr == c.iss &&
		(p.Type == wire.State && c.Receives(p.ConnID) || p.Type == wire.Reset)
}

// handleSynSent is HandlePacket while our SYN is out: nothing but its
// acknowledgement by a STATE counts. DATA before it does not say where the
// stream begins.
func (c *Conn) handleSynSent(now Time, p *wire.Packet) {
	if !c.Expects(p) {
		c.stats.Invalid++
		return
	}
	switch p.Type {
	case wire.Reset:
		c.close(Refused)
	case wire.State:
		c.decide(p)
		c.irs = p.SeqNr
		c.rcvNxt = p.SeqNr
		if _, ok := p.Extensions.Hello(); ok && !c.punch() {
			c.ownKind = true
		}
		c.sampleHandshake(now)
		c.heard(now, p)
		c.windowSeq, c.windowAck = p.SeqNr-1, p.AckNr
		c.updatePeerWindow(p)
		c.establish(now)
		c.confirm(now)
		c.timers.set(timerHandshake, now.Add(confirmDelays[0]))
	}
}

// establish enters the connected state, for either role.
func (c *Conn) establish(now Time) {
	c.state = connected
	c.events |= EventConnected | EventWritable
	ethernet := MaxDatagramIPv4
	if c.ipv6 {
		ethernet = MaxDatagramIPv6
	}
	c.mtu.init(c.params.MaxDatagram, ethernet, c.ownKind)
	// Not before: forged SYNs must not use up the budget.
	c.params.Memory.Reserve(c.window.limit, true)
	c.cc = newController(c.params.CongestionControl, c.segment())
	c.rack.covered = c.out.una - 1
	c.recoveryEnd, c.roundEnd = c.out.una, c.out.una
	c.lastProgress = now
	c.window.rtt = c.rtt.srtt
	c.startLiveness(now)
}

// sampleHandshake takes the round trip of the handshake: nothing was sent but what
// is answered now. If it is long, that is the application's doing: anacrolix/utp and
// librqbit answer a SYN when theirs accepts, and libutp's first word after a SYN-ACK
// comes when its application writes. At most a second makes a timeout of three, as
// RFC 6298, 5.7, has it after a handshake that took long.
func (c *Conn) sampleHandshake(now Time) {
	c.rtt.sample(min(now.Sub(c.lastSent), initialRTO))
}

// confirm sends the STATE that answers a SYN-ACK.
func (c *Conn) confirm(now Time) {
	c.ack.nowAlone()
	c.synAckAckAt = now
}

// isSynAck reports whether a packet to a connected initiator is the SYN-ACK once
// more. It is the one STATE that is always answered: the acceptor repeats it
// because it heard nothing. One that has acknowledged more has heard of us.
func (c *Conn) isSynAck(p *wire.Packet) bool {
	return c.initiator && p.Type == wire.State && p.SeqNr == c.irs && p.AckNr == c.iss && c.out.una == c.iss+1
}

// confirmed is called with the first packet that proves that the initiator is
// where the SYN came from: it echoes our sequence number.
func (c *Conn) confirmed(now Time) {
	if c.synAcks == 1 {
		c.sampleHandshake(now)
	}
	c.ownKind = c.helloRecv && !c.punch()
	c.timers.stop(timerEmbryonic)
	c.timers.stop(timerHandshake)
	c.establish(now)
}

// handshakeTimeout repeats what opens the connection on our side.
func (c *Conn) handshakeTimeout(now Time) {
	delays := confirmDelays[:]
	if c.state == synRecv {
		delays = synAckDelays[:]
	}
	c.ack.nowAlone()
	if c.repeats++; int(c.repeats) < len(delays) {
		c.timers.set(timerHandshake, now.Add(delays[c.repeats]))
	}
}
