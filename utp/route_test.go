package utp

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/engine"
	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/require"
)

func TestRoutesAreDifferentConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		local, remote, socket := alice, alice, alice
		local.Local = netip.MustParseAddr("10.0.0.99")
		remote.Remote = netip.AddrPortFrom(alice.Remote.Addr(), alice.Remote.Port()+1)
		socket.Socket = 1
		var peers []*peer
		for _, route := range []Route{alice, local, remote, socket} {
			peers = append(peers, te.accepted(route))
		}
		for _, p := range peers {
			require.Equal(t, peers[0].id, p.id, "all have the same id")
			require.Equal(t, p.route.Local, p.conn.LocalAddr().(*Addr).AddrPort().Addr())
			p.write("to " + p.route.Local.String())
			p.want("it goes where it should", packet{typ: wire.Data, payload: "to " + p.route.Local.String(), route: p.route})
			p.recv(packet{typ: wire.Data, payload: p.route.Remote.String()})
			p.mustRead(p.route.Remote.String())
			p.wantAfter(25*time.Millisecond, "it is acknowledged", packet{typ: wire.State, ack: 1})
		}
	})
}

func TestDialLearnsItsLocalAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		dial := te.dial(alice)
		syn := te.want("dialling sends a SYN", packet{typ: wire.Syn, route: alice.unbound()})
		conn := te.allConns()[0]
		require.Equal(t, "0.0.0.0:1000", conn.LocalAddr().String(), "the system chooses an address")
		forged := alice
		forged.Local = netip.MustParseAddr("10.0.0.66")
		te.recv(forged, packet{typ: wire.State, id: int(syn.ConnID), seq: 1, ack: int(syn.SeqNr) + 1})
		require.Equal(t, "0.0.0.0:1000", conn.LocalAddr().String(), "a packet that is not the peer's tells nothing")
		require.Equal(t, 1, te.places())
		te.recv(alice, packet{typ: wire.State, id: int(syn.ConnID), seq: 1, ack: int(syn.SeqNr)})
		te.want("replies leave from the address that was spoken to", packet{typ: wire.State, route: alice})
		c := dial.value("the SYN was answered")
		require.Same(t, conn, c)
		require.Equal(t, "10.0.0.1:1000", c.LocalAddr().String(), "the answer tells it")
		require.Equal(t, 2, te.places(), "the packets find one place, the other reserves the id")

		other := alice
		other.Local = netip.MustParseAddr("10.0.0.2")
		before := c.Stats().PacketsReceived
		for _, typ := range []wire.Type{wire.Data, wire.Reset} {
			te.recv(other, packet{typ: typ, id: int(syn.ConnID), seq: 1, ack: int(syn.SeqNr), payload: "x"})
		}
		te.wantNothing("packets to another address of ours")
		require.Equal(t, before, c.Stats().PacketsReceived, "are not of this connection")
		require.EqualValues(t, 3, te.Stats().Unroutable)
	})
}

func TestSystemDoesNotTellLocalAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		p, q := te.dialled(alice.unbound()), te.accepted(bob.unbound())
		require.Equal(t, "0.0.0.0:1000", p.conn.LocalAddr().String())
		require.Equal(t, "0.0.0.0:1000", q.conn.LocalAddr().String())
		p.write("x")
		p.want("it works without", packet{typ: wire.Data, route: alice.unbound()})
	})
}

func TestDialledIDIsTaken(t *testing.T) {
	// Which connections there are to the address that a dial turns out to use is
	// not known when it chooses its id. One in 32,768 is taken.
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		dial := te.dial(alice)
		syn := te.want("dialling sends a SYN", packet{typ: wire.Syn})
		inbound := te.halfOpened(alice, int(syn.ConnID)-1)
		inbound.recv(packet{typ: wire.State})
		inbound.conn = te.accept().value("it is confirmed")
		require.Equal(t, syn.ConnID, inbound.sendID, "both receive with the same id")

		te.recv(alice, packet{typ: wire.State, id: int(syn.ConnID), seq: 1, ack: int(syn.SeqNr)})
		te.wantNothing("the answer is lost on the other connection")
		dial.wantNotDone("so the dial goes on")
		inbound.recv(packet{typ: wire.Data, payload: "unharmed"})
		inbound.mustRead("unharmed")
		te.advance(time.Second / 2)
		te.ignore("data is acknowledged")

		te.advance(time.Second / 2)
		syn = te.want("the next attempt has another id", packet{typ: wire.Syn})
		te.recv(alice, packet{typ: wire.State, id: int(syn.ConnID), seq: 1, ack: int(syn.SeqNr)})
		dial.value("and succeeds")
		te.ignore("the first attempt is reset, the second confirmed")
	})
}

func TestConnectionsToOneRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		ids := map[uint16]bool{}
		var peers []*peer
		for range 50 {
			p := te.dialled(alice)
			ids[p.sendID] = true
			peers = append(peers, p)
		}
		require.Len(t, ids, len(peers), "each has an id of its own")
		for i, p := range peers {
			p.recv(packet{typ: wire.Data, payload: string(rune('A' + i))})
		}
		for i, p := range peers {
			p.mustRead(string(rune('A' + i)))
		}
		te.advance(25 * time.Millisecond)
		require.Len(t, te.takeAll(), len(peers), "each acknowledges")
	})
}

// finished is a dialled connection whose both directions have ended. The peer may
// not have seen the acknowledgement of its FIN.
func (te *testEndpoint) finished(opts ...peerOption) *peer {
	te.t.Helper()
	p := te.dialled(alice, opts...)
	require.NoError(te.t, p.conn.Close())
	p.want("close sends a FIN", packet{typ: wire.Fin, seq: 1})
	p.recv(packet{typ: wire.State})
	p.recv(packet{typ: wire.Fin})
	te.wantNoConns("both directions have ended")
	return p
}

func TestTombstoneAnswersRepeatedFin(t *testing.T) {
	for name, opts := range map[string][]peerOption{"foreign": nil, "own": {ownKind}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				te := newTestEndpoint(t, nil)
				p := te.finished(opts...)
				wantAck := func() {
					t.Helper()
					if !p.ownKind {
						p.want("libtorrent takes nothing above our FIN's number", packet{typ: wire.State, seq: 1, ack: 1})
					}
					p.want("the peer's FIN is acknowledged", packet{typ: wire.State, seq: 2, ack: 1, by: bySender})
					te.wantNothing("no more")
				}
				wantAck()
				for range 3 {
					te.advance(time.Second)
					p.recv(packet{typ: wire.Fin, seq: 1})
					wantAck()
				}
				p.recv(packet{typ: wire.State, seq: 2}, packet{typ: wire.Reset, seq: 2})
				te.wantNothing("nothing else is answered")
				require.Equal(t, 1, te.Stats().Tombstones)
				require.Equal(t, 2, te.places(), "both places of a dialled connection lead to it")
				require.Zero(t, te.Stats().Unroutable)

				te.advance(2*time.Second - 1)
				p.recv(packet{typ: wire.Fin, seq: 1})
				wantAck()
				te.advance(1)
				require.Zero(t, te.Stats().Tombstones, "after 5 s it is forgotten")
				require.Zero(t, te.places())
				p.recv(packet{typ: wire.Fin, seq: 1})
				p.want("and the connection unknown", packet{typ: wire.Reset, id: int(p.sendID)})

				// Those of later connections are, too, each in its time.
				te.finished(opts...)
				te.ignore("acknowledgements")
				te.advance(time.Second)
				te.finished(opts...)
				te.ignore("acknowledgements")
				te.advance(4*time.Second - 2*rtt)
				require.Equal(t, 2, te.Stats().Tombstones)
				te.advance(rtt)
				require.Equal(t, 1, te.Stats().Tombstones)
				te.advance(time.Second + rtt)
				require.Zero(t, te.Stats().Tombstones)
			})
		})
	}
}

func TestIDIsReused(t *testing.T) {
	for _, tc := range []struct {
		name  string
		delay time.Duration // of the peer's answers
		after time.Duration
	}{
		{"after 250 ms", rtt, 250 * time.Millisecond},
		{"after two round trips", 300 * time.Millisecond, 600 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				te := newTestEndpoint(t, nil)
				const id = 12344
				te.draw(id, 1)
				dial := te.dial(alice)
				syn := te.want("that id is drawn", packet{typ: wire.Syn, id: id})
				te.advance(tc.delay)
				te.recv(alice, packet{typ: wire.State, id: id, seq: 1, ack: int(syn.SeqNr)})
				c := dial.value("the SYN was answered")
				te.want("a SYN-ACK is answered", packet{typ: wire.State})
				wantOther := func(why string) {
					t.Helper()
					te.draw(id+1, 1)
					dial := te.dialWithin(1, alice)
					d := te.want("there are other ids", packet{typ: wire.Syn})
					require.NotEqualValues(t, id, d.ConnID, why)
					te.advance(1)
					te.want("the test has no use for it", packet{typ: wire.Reset})
					require.Error(t, dial.err("given up"))
				}
				wantOther("the id is in use")
				require.NoError(t, c.Close())
				te.want("close sends a FIN", packet{typ: wire.Fin})
				te.advance(tc.delay)
				te.recv(alice, packet{typ: wire.Fin, id: id, seq: 1, ack: int(syn.SeqNr) + 1})
				te.ignore("acknowledgements")
				require.Equal(t, 1, te.Stats().Tombstones)

				te.advance(tc.after - 1)
				wantOther("packets of its last life may be on their way")
				te.draw(id, 1)
				dial = te.dial(alice)
				syn = te.want("now it may be used", packet{typ: wire.Syn, id: id})
				te.recv(alice, packet{typ: wire.State, id: id, seq: 1, ack: int(syn.SeqNr)})
				c = dial.value("packets find the new connection, not the tombstone")
				te.want("a SYN-ACK is answered", packet{typ: wire.State})

				te.advance(5 * time.Second)
				te.ignore("the STATE is repeated")
				require.Zero(t, te.Stats().Tombstones)
				te.recv(alice, packet{typ: wire.Data, id: id, seq: 1, ack: int(syn.SeqNr), payload: "x"})
				require.Equal(t, 1, c.Stats().RecvBuffered, "the end of the tombstone does not end its successor")
				te.advance(25 * time.Millisecond)
				te.want("the data is acknowledged", packet{typ: wire.State})
			})
		})
	}
}

func TestSynReplacesTombstone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		p := te.accepted(bob)
		require.NoError(t, p.conn.Close())
		p.want("close sends a FIN", packet{typ: wire.Fin, seq: 1})
		p.recv(packet{typ: wire.Fin})
		te.ignore("the acknowledgement of the peer's")
		require.Equal(t, EndpointStats{Accepted: 1, Tombstones: 1}, te.Stats())

		p.recv(packet{typ: wire.Syn, id: synID, seq: 0})
		te.wantNothing("a late duplicate of the SYN is not a new connection")
		require.Equal(t, EndpointStats{Accepted: 1, Tombstones: 1}, te.Stats())
		p.recv(packet{typ: wire.Syn, id: synID, seq: 1000})
		synAck := te.want("a SYN with another number is one, at once", packet{typ: wire.State, id: synID})
		p.recv(packet{typ: wire.State, seq: 1001, ack: synAck.SeqNr.Diff(p.base) - 1})
		te.accept().value("and can be confirmed")
		te.advance(5 * time.Second)
		require.Equal(t, EndpointStats{Accepted: 2, Conns: 1}, te.Stats(), "the old one's end does not touch it")
	})
}

func TestTombstonesAreBounded(t *testing.T) {
	t.Parallel()
	var tab table
	tab.init()
	const extra = 1000
	for i := range maxTombstones + extra {
		c := &Conn{route: routeTo(i), connIDRecv: 1}
		tab.put(c)
		tab.bury(c, engine.Tombstone{Expires: engine.Time(i + 1)})
		if n := len(tab.tombs); n > maxTombstones {
			t.Fatalf("%d tombstones", n)
		}
		if n := len(tab.buried); n > 2*maxTombstones+2 {
			t.Fatalf("a list of %d tombstones", n)
		}
	}
	require.Equal(t, maxTombstones, tab.tombstones())
	require.Zero(t, tab.lookup(routeTo(extra-1), 1), "the oldest are forgotten first")
	require.NotZero(t, tab.lookup(routeTo(extra), 1))

	require.EqualValues(t, extra+11, tab.expire(extra+10), "the next one is due then")
	require.Len(t, tab.places(t), maxTombstones-10, "all that are due are forgotten")
	require.Zero(t, tab.expire(1<<62), "none is left")
	require.Empty(t, tab.tombs)
	require.Empty(t, tab.conns)
}

func TestTableKeepsNewTenants(t *testing.T) {
	var tab table
	tab.init()
	conn := func(r Route) *Conn { return &Conn{route: r, connIDRecv: 1, unbound: !r.Local.IsValid()} }
	old, successor := conn(alice), conn(alice)
	tab.put(old)
	require.False(t, tab.free(alice, 1, 1000), "a connection has it")
	tab.bury(old, engine.Tombstone{Expires: 100, Reusable: 50})
	require.False(t, tab.free(alice, 1, 49))
	require.True(t, tab.free(alice, 1, 50))
	tab.put(successor)
	require.False(t, tab.remove(old))
	require.Same(t, successor, tab.lookup(alice, 1).conn, "only itself is removed")
	tab.bury(old, engine.Tombstone{Expires: 200})
	require.Same(t, successor, tab.lookup(alice, 1).conn, "or buried")
	tab.expire(1000)
	require.Same(t, successor, tab.lookup(alice, 1).conn, "what expires is the tombstone")
	require.Same(t, successor, tab.find(alice, 1).conn)
	require.Zero(t, tab.find(alice, 2))
	require.Equal(t, 1, tab.count)

	dialled, inbound := conn(bob.unbound()), conn(bob)
	tab.put(dialled)
	require.Same(t, dialled, tab.find(bob, 1).conn, "a local address that nobody asked for finds who has none")
	require.Zero(t, tab.lookup(bob, 1), "whose place that is not")
	tab.put(inbound)
	require.Same(t, inbound, tab.find(bob, 1).conn, "its own comes first")
	require.Same(t, dialled, tab.find(bob.unbound(), 1).conn)
	tab.bury(inbound, engine.Tombstone{Expires: 100, Reusable: 50})
	require.Same(t, dialled, tab.find(bob, 1).conn, "a connection without a local address may be what is meant")
	tab.bury(dialled, engine.Tombstone{Expires: 100, SynSeqNr: 7})
	require.NotEqualValues(t, 7, tab.find(bob, 1).tomb.SynSeqNr)
	require.EqualValues(t, 7, tab.find(bob.unbound(), 1).tomb.SynSeqNr)
	other := bob
	other.Local = self
	require.EqualValues(t, 7, tab.find(other, 1).tomb.SynSeqNr)
	tab.expire(1000)
	require.Len(t, tab.places(t), 1, "both tombstones are forgotten")
}

func TestConnectionIsBoundOnce(t *testing.T) {
	e := &Endpoint{}
	e.table.init()
	conn := func(r Route) *Conn { return &Conn{route: r, connIDRecv: 4, unbound: !r.Local.IsValid()} }
	dialled, inbound, ended := conn(bob.unbound()), conn(bob), conn(alice.unbound())
	e.table.put(dialled)
	e.table.put(inbound)
	require.False(t, e.bind(dialled, bob), "somebody else is there")
	e.table.remove(inbound)
	require.True(t, e.bind(dialled, bob))
	require.Same(t, dialled, e.table.lookup(bob, 4).conn)
	require.Same(t, dialled, e.table.lookup(bob.unbound(), 4).conn, "it keeps the other place")
	require.Len(t, e.table.places(t), 2)
	other := bob
	other.Local = self
	require.False(t, e.bind(dialled, other), "it is bound")
	require.False(t, e.bind(ended, alice), "it has ended meanwhile")
	require.Same(t, dialled, e.table.find(other, 4).conn)
	require.True(t, e.table.free(other, 4, 0))

	// The tombstone has both places, and loses them one by one, in either order.
	for _, first := range []bool{false, true} {
		e.table.bury(dialled, engine.Tombstone{})
		require.Len(t, e.table.places(t), 2)
		inbound, again := conn(bob), conn(bob.unbound())
		for _, inboundNow := range []bool{first, !first} {
			tomb := e.table.lookup(bob, 4).tomb
			if inboundNow {
				e.table.put(inbound)
				require.Same(t, inbound, e.table.find(bob, 4).conn)
			} else {
				e.table.put(again)
				require.Same(t, again, e.table.find(bob.unbound(), 4).conn)
				require.Same(t, tomb, e.table.lookup(bob, 4).tomb)
			}
			require.Len(t, e.table.places(t), 2)
		}
		require.Empty(t, e.table.tombs)
		e.table.remove(inbound)
		dialled = again
		require.True(t, e.bind(dialled, bob))
	}
	e.table.expire(1000)
	require.Len(t, e.table.places(t), 2, "the end of its predecessors does not touch it")
	require.Len(t, e.table.conns, 1)
}

func TestChains(t *testing.T) {
	// Whatever the order in which connections and tombstones of one key end.
	local := func(i int) Route {
		r := alice
		r.Local = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		return r
	}
	const n = 4
	for order := range n * n * n {
		var tab table
		tab.init()
		var conns []*Conn
		for i := range n {
			conns = append(conns, &Conn{route: local(i), connIDRecv: 1})
			tab.put(conns[i])
		}
		left := slices.Clone(conns)
		for range n {
			i := order % len(left)
			if c := left[i]; order&1 == 0 {
				require.True(t, tab.remove(c))
			} else {
				tab.bury(c, engine.Tombstone{})
			}
			left = slices.Delete(left, i, i+1)
			order = order*7 + 3
			for i, c := range conns {
				require.Equal(t, slices.Contains(left, c), tab.find(local(i), 1).conn == c)
			}
			require.Equal(t, len(left), tab.count)
		}
		require.Empty(t, tab.conns)
		require.Len(t, tab.places(t), tab.tombstones())
		for i := range n {
			tab.vacate(alice.key(1), local((i+order)%n).Local)
			tab.places(t)
		}
		require.Empty(t, tab.tombs)
	}
}

// The list of tombstones does not grow with what was ever on it.
func TestTombstonesOfLongAgoTakeNoMemory(t *testing.T) {
	var tab table
	tab.init()
	for i := range 1000 {
		c := &Conn{route: alice, connIDRecv: uint16(i)}
		tab.put(c)
		tab.bury(c, engine.Tombstone{Expires: engine.Time(i + 1)})
		tab.expire(engine.Time(i))
	}
	require.LessOrEqual(t, cap(tab.buried), 16)
}
