package utp

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSource(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":          "192.0.2.1/32",
		"2001:db8:1:2:3::4":  "2001:db8:1:2::/64",
		"fe80::1:2:3:4%eth0": "fe80::/64",
	} {
		assert.Equal(t, want, source(netip.MustParseAddr(in)).String(), in)
	}
}

// flood has n different remote addresses send a SYN each; at most a thousand of
// them are of one source.
func (te *testEndpoint) flood(n int) {
	te.t.Helper()
	for i := range n {
		te.handIn(floodRoute(i), packet{typ: wire.Syn, id: 10})
		if i%maxControl == 0 {
			synctest.Wait()
		}
	}
	require.Len(te.t, te.takeAll(), n, "each SYN is answered")
}

func floodRoute(i int) Route {
	return Route{Remote: netip.AddrPortFrom(routeTo(i/1000).Remote.Addr(), uint16(i%1000+1)), Local: self}
}

func TestHalfOpenLimitOfASource(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, first, same, other string }{
		{"IPv4", "192.0.2.7", "192.0.2.7", "192.0.2.8"},
		{"IPv6", "2001:db8::7", "2001:db8::ffff:8", "2001:db8:0:1::7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				te := newTestEndpoint(t, nil)
				te.listen()
				from := func(host string, port int) Route {
					return Route{Remote: netip.AddrPortFrom(netip.MustParseAddr(host), uint16(port)), Local: self}
				}
				te.w.silent = true
				for i := range maxHalfOpenSource {
					te.handIn(from(tc.first, 1+i), packet{typ: wire.Syn, id: 10})
				}
				require.Len(t, te.takeAll(), maxHalfOpenSource, "so many may wait")
				const others = 100
				for i := range others {
					te.handIn(from(tc.other, 1+i), packet{typ: wire.Syn, id: 10})
				}
				require.Len(t, te.takeAll(), others, "others are free to come")
				for i := range 100 {
					te.recv(from(tc.same, 60000+i), packet{typ: wire.Syn, id: 10})
					te.want("a further one is answered", packet{typ: wire.State})
					te.wantNothing("one makes room and is not told")
				}
				require.Equal(t, others+maxHalfOpenSource, te.Stats().HalfOpen, "one of the same source")
				for i := range others {
					te.handIn(from(tc.other, 1+i), packet{typ: wire.Syn, id: 10})
				}
				require.Len(t, te.takeAll(), others, "repeated SYNs are answered")
				require.Equal(t, others+maxHalfOpenSource, te.Stats().HalfOpen, "the others are all still there")
				te.recv(from(tc.same, 60099), packet{typ: wire.Syn, id: 10, seq: 1})
				te.want("who takes the place of another needs no room", packet{typ: wire.State, ack: 1})
				require.Equal(t, others+maxHalfOpenSource, te.Stats().HalfOpen)
				require.Equal(t, others+maxHalfOpenSource, te.Stats().Conns)
				require.Zero(t, te.Stats().SynDropped)
			})
		})
	}
}

func TestHalfOpenLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, &Config{Backlog: 2 * maxHalfOpen})
		te.w.silent = true
		te.listen()
		te.flood(maxHalfOpen)
		require.Equal(t, EndpointStats{Conns: maxHalfOpen, HalfOpen: maxHalfOpen}, te.Stats())
		p := te.halfOpened(bob, synID)
		te.wantNothing("who has to make room is not told")
		require.Equal(t, maxHalfOpen, te.Stats().HalfOpen, "one makes room")
		require.Equal(t, maxHalfOpen, te.Stats().Conns)
		p.recv(packet{typ: wire.State})
		te.accept().value("the newcomer can be confirmed")

		te.advance(30 * time.Second)
		require.Equal(t, 1, te.Stats().Conns, "nobody else is confirmed within 30 s")
		te.quiet = true
	})
}

func TestSynAckIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		p := te.halfOpened(alice, synID)
		p.wantAfter(300*time.Millisecond, "nothing is heard", packet{typ: wire.State, seq: 1, ack: 0, by: byTimer})
		p.wantAfter(700*time.Millisecond, "and again", packet{typ: wire.State, seq: 1, ack: 0})
		te.advance(29*time.Second - 1)
		te.wantNothing("three answers to one SYN are enough")
		require.Equal(t, 1, te.Stats().HalfOpen)
		te.advance(1)
		te.wantNothing("it is forgotten in silence")
		te.wantNoConns("after 30 s")
		p.recv(packet{typ: wire.State})
		p.want("it is too late", packet{typ: wire.Reset, id: int(p.sendID)})
	})
}

func TestSynAckIsNotRepeatedUnderPressure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.w.silent = true
		te.listen()
		te.flood(halfOpenPressure)
		te.recv(alice, packet{typ: wire.Syn, id: 10})
		te.want("a SYN is answered", packet{typ: wire.State, route: alice})
		te.advance(2 * time.Second)
		repeats := te.takeAll()
		require.Len(t, repeats, 2*halfOpenPressure, "those from before are repeated")
		for _, d := range repeats {
			require.NotEqual(t, alice, d.route, "under pressure nothing is sent unasked")
		}
		te.recv(alice, packet{typ: wire.Syn, id: 10})
		te.want("who asks has an answer", packet{typ: wire.State, route: alice})
	})
}
