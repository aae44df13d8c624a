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

// key names a connection among those of an endpoint.
type key struct {
	route Route
	id    uint16 // connection_id that it receives
}

// entry is what a key leads to: a connection, or what remains of one.
type entry struct {
	conn *Conn
	tomb *engine.Tombstone
}

// table routes packets to connections. A dialled connection has two keys once
// its local address is known: without that address, which reserves the id
// towards the peer, and with it, which the packets find.
//
// It does no locking: Endpoint.mu guards it.
type table struct {
	entries map[key]entry
	// buried are the keys of tombstones in order of expiry, from first on.
	buried []burial
	first  int
}

type burial struct {
	key  key
	tomb *engine.Tombstone
}

// maxTombstones bounds the memory of ended connections; the oldest go first.
const maxTombstones = 1 << 16

func (t *table) lookup(k key) entry { return t.entries[k] }

// find returns the connection or tombstone for a packet. A connection whose
// local address is not known yet is found by the other key, also while there is
// the tombstone of its predecessor under the first.
func (t *table) find(k key) entry {
	e := t.entries[k]
	if e.conn == nil && k.route.Local.IsValid() {
		k.route = k.route.unbound()
		if u := t.entries[k]; u.conn != nil || e.tomb == nil {
			return u
		}
	}
	return e
}

// free reports whether a new connection may have the key now.
func (t *table) free(k key, now engine.Time) bool {
	e, ok := t.entries[k]
	return !ok || e.tomb != nil && now >= e.tomb.Reusable
}

func (t *table) put(k key, c *Conn) { t.entries[k] = entry{conn: c} }

// remove deletes the key if it still leads to c.
func (t *table) remove(k key, c *Conn) {
	if t.entries[k].conn == c {
		delete(t.entries, k)
	}
}

// bury has the key lead to a tombstone, if it led to c.
func (t *table) bury(k key, c *Conn, tomb *engine.Tombstone) {
	if t.entries[k].conn != c {
		return
	}
	t.entries[k] = entry{tomb: tomb}
	t.buried = append(t.buried, burial{k, tomb})
	if t.tombstones() > maxTombstones {
		t.unbury()
	}
}

func (t *table) tombstones() int { return len(t.buried) - t.first }

// unbury forgets the oldest tombstone, unless its key has another tenant.
func (t *table) unbury() {
	b := t.buried[t.first]
	t.buried[t.first] = burial{}
	if t.first++; t.first > len(t.buried)/2 {
		t.buried = append(t.buried[:0:0], t.buried[t.first:]...)
		t.first = 0
	}
	if t.entries[b.key].tomb == b.tomb {
		delete(t.entries, b.key)
	}
}

// expire forgets the tombstones that are due and returns when the next one is,
// zero if there is none.
func (t *table) expire(now engine.Time) engine.Time {
	for t.tombstones() > 0 {
		if at := t.buried[t.first].tomb.Expires; at > now {
			return at
		}
		t.unbury()
	}
	return 0
}
