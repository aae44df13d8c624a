package utp

import (
	"net/netip"

	"utppunch/utp/internal/engine"
)

// Route is where packets come from and go to: a socket and two addresses. Two
// peers that look the same from different sockets never collide.
type Route struct {
	Socket uint32         // which socket, as the PacketWriter numbers them
	Remote netip.AddrPort // never IPv4-mapped
	Local  netip.Addr     // the address that the peer sends to; zero: not known
}

// unbound is the route before the peer has answered: the local address is the
// system's choice.
func (r Route) unbound() Route {
	r.Local = netip.Addr{}
	return r
}

// key is what all packets of a connection have in common, but for our own
// address.
type key struct {
	remote netip.Addr
	socket uint32
	port   uint16
	id     uint16 // connection_id that it receives
}

func (r Route) key(id uint16) key {
	return key{remote: r.Remote.Addr(), socket: r.Socket, port: r.Remote.Port(), id: id}
}

// place is where a connection, or its tombstone, is among those with the same key:
// under our own address. One that was dialled has a place without address, which
// it keeps when it learns its address: that reserves the id towards the peer.
type place struct {
	local   netip.Addr // zero: not known
	unbound bool       // it has the place without address, too
}

// is reports whether the place that a local address names is part of it.
func (p place) is(local netip.Addr) bool {
	return p.local == local || p.unbound && !local.IsValid()
}

// tombstone is what remains of a connection in the table.
type tombstone struct {
	engine.Tombstone
	key   key
	place place
	next  *tombstone // of the same key
}

// entry is what the table leads to: a connection, or what remains of one.
type entry struct {
	conn *Conn
	tomb *tombstone
}

// table routes packets to connections, and knows them all. A key leads to a chain
// of those that differ by their places, nearly always of one: an entry without the
// local address is half as large, and a dialled connection needs only one. Nobody
// shares a place, neither connections nor tombstones.
//
// It does no locking: Endpoint.mu guards it.
type table struct {
	conns map[key]*Conn      // linked by Conn.next
	tombs map[key]*tombstone // linked by tombstone.next
	count int                // of connections
	// buried are the tombstones in the order in which they came, from first on,
	// which is that of their expiry but for utp-punch's, which last longer.
	buried []*tombstone
	first  int
}

// maxTombstones bounds the memory of ended connections; the oldest go first.
const maxTombstones = 1 << 16

func (t *table) init() {
	t.conns = make(map[key]*Conn)
	t.tombs = make(map[key]*tombstone)
}

// lookup returns who has the place that the route names.
func (t *table) lookup(r Route, id uint16) entry {
	k := r.key(id)
	for c := t.conns[k]; c != nil; c = c.next {
		if c.place().is(r.Local) {
			return entry{conn: c}
		}
	}
	for b := t.tombs[k]; b != nil; b = b.next {
		if b.place.is(r.Local) {
			return entry{tomb: b}
		}
	}
	return entry{}
}

// find returns the connection or tombstone for a packet: who has the place that
// the route names, else who has the one without address. A connection without an
// address comes before the tombstone of its predecessor, though.
func (t *table) find(r Route, id uint16) (found entry) {
	k := r.key(id)
	for c := t.conns[k]; c != nil; c = c.next {
		if c.place().is(r.Local) {
			return entry{conn: c}
		}
		if c.place().is(netip.Addr{}) {
			found.conn = c
		}
	}
	if found.conn != nil {
		return found
	}
	for b := t.tombs[k]; b != nil; b = b.next {
		if b.place.is(r.Local) {
			return entry{tomb: b}
		}
		if b.place.is(netip.Addr{}) {
			found.tomb = b
		}
	}
	return found
}

// free reports whether a new connection may have the place now.
func (t *table) free(r Route, id uint16, now engine.Time) bool {
	e := t.lookup(r, id)
	return e.conn == nil && (e.tomb == nil || now >= e.tomb.Reusable)
}

// maxChain bounds the connections that differ by nothing but our own address. Hosts
// to which a whole prefix is routed have many.
const maxChain = 64

// crowded reports whether no further connection may have the key.
func (t *table) crowded(k key) bool {
	n := 0
	for c := t.conns[k]; c != nil; c = c.next {
		n++
	}
	return n >= maxChain
}

// put enters a connection at its place, which is free.
func (t *table) put(c *Conn) {
	k := c.key()
	t.vacate(k, c.route.Local)
	c.next = t.conns[k]
	t.conns[k] = c
	t.count++
}

// bind gives a connection without address a place that is free. Conn.mu is held.
func (t *table) bind(c *Conn, local netip.Addr) {
	t.vacate(c.key(), local)
	c.route.Local = local
}

// has reports whether the connection is in the table.
func (t *table) has(c *Conn) bool {
	d := t.conns[c.key()]
	for d != nil && d != c {
		d = d.next
	}
	return d != nil
}

// remove takes the connection out and reports whether it was in.
func (t *table) remove(c *Conn) bool {
	k := c.key()
	switch d := t.conns[k]; {
	case d == nil:
		return false
	case d != c:
		for d.next != c {
			if d = d.next; d == nil {
				return false
			}
		}
		d.next = c.next
	case c.next == nil:
		delete(t.conns, k)
	default:
		t.conns[k] = c.next
	}
	c.next = nil
	t.count--
	return true
}

// bury has a tombstone take the place of the connection, if that is in the table.
func (t *table) bury(c *Conn, tomb engine.Tombstone) {
	if !t.remove(c) {
		return
	}
	b := &tombstone{Tombstone: tomb, key: c.key(), place: c.place()}
	b.next = t.tombs[b.key]
	t.tombs[b.key] = b
	t.buried = append(t.buried, b)
	if t.tombstones() > maxTombstones {
		t.unbury()
	}
}

// vacate takes a place from the tombstone that has it.
func (t *table) vacate(k key, local netip.Addr) {
	for b := t.tombs[k]; b != nil; b = b.next {
		switch {
		case !b.place.is(local):
		case !local.IsValid() && b.place.local.IsValid():
			b.place.unbound = false
		case local.IsValid() && b.place.unbound:
			b.place.local = netip.Addr{}
		default:
			t.forget(b)
		}
	}
}

func (t *table) tombstones() int { return len(t.buried) - t.first }

// unbury forgets the oldest tombstone.
func (t *table) unbury() {
	b := t.buried[t.first]
	t.buried[t.first] = nil
	if t.first++; t.first > len(t.buried)/2 {
		t.buried = append(t.buried[:0:0], t.buried[t.first:]...)
		t.first = 0
	}
	t.forget(b)
}

// forget takes a tombstone out, unless others have taken its places already.
func (t *table) forget(b *tombstone) {
	switch d := t.tombs[b.key]; {
	case d == nil:
	case d != b:
		for d != nil && d.next != b {
			d = d.next
		}
		if d != nil {
			d.next = b.next
		}
	case b.next == nil:
		delete(t.tombs, b.key)
	default:
		t.tombs[b.key] = b.next
	}
}

// expire forgets the tombstones that are due and returns when the next one is,
// zero if there is none.
func (t *table) expire(now engine.Time) engine.Time {
	for t.tombstones() > 0 {
		if at := t.buried[t.first].Expires; at > now {
			return at
		}
		t.unbury()
	}
	return 0
}
