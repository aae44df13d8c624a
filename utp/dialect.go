package utp

import (
	"fmt"

	"utppunch/utp/internal/engine"
	"utppunch/utp/internal/wire"
)

// Dialect is which of two readings of BEP 29's connection ids a peer has, and what
// goes with it.
type Dialect uint8

// Dialects.
const (
	// AutoDialect finds out what a peer speaks. It is the default, and what
	// [Conn.Stats] says as long as that is not known.
	AutoDialect Dialect = iota

	// BEP29 is what BitTorrent clients speak, and this library.
	BEP29

	// UTPPunch is what the Node.js library utp-punch speaks. It has no selective
	// acknowledgements, no flow control and at most 62 packets outstanding.
	UTPPunch
)

// String returns the name of the dialect.
func (d Dialect) String() string {
	switch d {
	case AutoDialect:
		return "auto"
	case BEP29:
		return "BEP 29"
	case UTPPunch:
		return "utp-punch"
	default:
		return fmt.Sprintf("Dialect(%d)", uint8(d))
	}
}

// While the dialect of a connection is not known its packets may come with two ids,
// which differ in the lowest bit: the other one is its sibling. It is in the table
// under the one that BEP 29 has, and moves when it turns out to be the other.

// undecidedLocked finds the connection of which id may be the sibling.
func (e *Endpoint) undecidedLocked(route Route, id uint16) *Conn {
	if e.config.Dialect != AutoDialect {
		return nil
	}
	return e.table.find(route, id^1).conn
}

// dialect returns the dialect of a connection, if there is one.
func (c *Conn) dialect() engine.Dialect {
	if c == nil {
		return engine.AutoDialect
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.Dialect()
}

// moved reports whether the connection receives with another id than the table knows.
func (c *Conn) moved() bool {
	recv, _ := c.engine.ConnIDs()
	return recv != c.connIDRecv
}

// decided moves a connection to the id that it receives with, now that this is
// known.
func (e *Endpoint) decided(c *Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	recv, send := c.engine.ConnIDs()
	if recv == c.connIDRecv || !e.table.remove(c) {
		return
	}
	c.connIDRecv, c.connIDSend = recv, send
	e.table.put(c)
}

// dialsLocked reports whether a dial is under way whose answer, in utp-punch's
// dialect, has the id that the acceptor of a SYN receives with; unless the SYN is
// that of the dial, which is to ourselves.
func (e *Endpoint) dialsLocked(route Route, syn *wire.Packet) bool {
	c := e.table.find(route, syn.ConnID).conn
	if c == nil || c.inbound || c.synSeqNr == syn.SeqNr {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.Receives(syn.ConnID + 1)
}

// freePairLocked reports whether a dial may use id: what answers it has that one
// or, in utp-punch's dialect, the next.
func (e *Endpoint) freePairLocked(route Route, id uint16, now engine.Time) bool {
	return e.table.free(route, id, now) && e.table.free(route, id+1, now)
}

// acceptedID is the id with which the connection that a SYN opens is in the table
// at first.
func (e *Endpoint) acceptedID(syn *wire.Packet) uint16 {
	if e.config.Dialect == UTPPunch {
		return syn.ConnID
	}
	return syn.ConnID + 1
}

// duplicateLocked finds the connection of which a SYN is a late duplicate, or its
// tombstone, after it has moved.
func (e *Endpoint) duplicateLocked(route Route, syn *wire.Packet) bool {
	switch found := e.table.lookup(route, syn.ConnID); {
	case e.config.Dialect != AutoDialect || syn.ConnID&1 != 0:
		return false
	case found.conn != nil:
		return found.conn.inbound && found.conn.synSeqNr == syn.SeqNr
	default:
		return found.tomb != nil && found.tomb.SynSeqNr == syn.SeqNr
	}
}
