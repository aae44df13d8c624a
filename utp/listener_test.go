package utp

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/require"
)

var _ net.Listener = (*Listener)(nil)

func TestAcceptReturnsConfirmedConnections(t *testing.T) {
	for _, tc := range []struct {
		name  string
		first packet
	}{
		{"STATE", packet{typ: wire.State}},
		{"DATA", packet{typ: wire.Data, payload: "hello"}},
		{"FIN", packet{typ: wire.Fin}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				te := newTestEndpoint(t, nil)
				te.listen()
				accept := te.accept()
				p := te.halfOpened(alice, synID)
				accept.wantNotDone("a SYN alone may be forged")
				require.Equal(t, EndpointStats{Conns: 1, HalfOpen: 1}, te.Stats())
				p.recv(packet{typ: wire.State, ack: -3})
				accept.wantNotDone("the number that it echoes is not ours")
				p.recv(tc.first)
				p.conn = accept.value("whoever echoes our number is where the SYN came from")
				require.Equal(t, EndpointStats{Conns: 1, Accepted: 1}, te.Stats())
				require.Equal(t, "192.0.2.1:4001", p.conn.RemoteAddr().String())
				require.Equal(t, "10.0.0.1:1000", p.conn.LocalAddr().String(), "the address that the SYN was sent to")
				switch tc.first.typ {
				case wire.Data:
					p.mustRead("hello")
					p.wantAfter(25*time.Millisecond, "it is acknowledged", packet{typ: wire.State, ack: 1})
				case wire.Fin:
					p.wantEOF("the stream is empty")
					p.want("it is acknowledged", packet{typ: wire.State, ack: 1})
				}
				write := p.write("hi")
				p.want("the acceptor may speak first", packet{typ: wire.Data, seq: 1, payload: "hi"})
				require.NoError(t, write.err("there is room"))
			})
		})
	}
}

func TestAcceptTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		first, second := te.halfOpened(routeTo(1), synID), te.halfOpened(routeTo(2), synID)
		second.recv(packet{typ: wire.State})
		first.recv(packet{typ: wire.State})
		require.Equal(t, NewAddr(routeTo(2).Remote), te.accept().value("one is confirmed").RemoteAddr(), "confirmed first")
		require.Equal(t, NewAddr(routeTo(1).Remote), te.accept().value("the other, too").RemoteAddr())

		a, b := te.accept(), te.accept()
		te.halfOpened(routeTo(3), synID).recv(packet{typ: wire.State})
		_, errA := a.result()
		_, errB := b.result()
		require.NotEqual(t, errA, errB, "one connection is for one of those who wait")
		te.halfOpened(routeTo(4), synID).recv(packet{typ: wire.State})
		require.NotEqual(t, a.value("now both have").RemoteAddr(), b.value("one").RemoteAddr())
	})
}

func TestDuplicateSyn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		p := te.halfOpened(alice, synID, ownKind)
		for range 2 {
			p.recv(packet{typ: wire.Syn, id: synID, seq: 0, hello: true})
			p.want("a repeated SYN has the same answer", packet{typ: wire.State, seq: 1, ack: 0, hello: true})
		}
		require.Equal(t, EndpointStats{Conns: 1, HalfOpen: 1}, te.Stats(), "it makes no second connection")
		p.recv(packet{typ: wire.State})
		p.conn = te.accept().value("it is confirmed")
		te.accept().wantNotDone("there is one")

		p.recv(packet{typ: wire.Syn, id: synID, seq: 0, hello: true})
		te.wantNothing("a late duplicate for an established connection is ignored")
		p.recv(packet{typ: wire.Syn, id: synID, seq: 500, hello: true})
		te.wantNothing("so is another SYN for it")
		require.EqualValues(t, 1, te.Stats().SynDropped)
		p.recv(packet{typ: wire.Data, seq: 1, payload: "alive"})
		p.mustRead("alive")
		p.advance(25 * time.Millisecond)
		p.want("it goes on", packet{typ: wire.State, ack: 1})
	})
}

func TestNewSynReplacesHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		te.halfOpened(alice, synID)
		te.recv(alice, packet{typ: wire.Syn, id: synID, seq: 7})
		synAck := te.want("a SYN with another number is another connection", packet{typ: wire.State, id: synID, ack: 7})
		require.Equal(t, EndpointStats{Conns: 1, HalfOpen: 1}, te.Stats(), "it takes the place of the old one")
		te.wantNothing("which is not told")
		te.recv(alice, packet{typ: wire.Data, id: synID + 1, seq: 8, ack: int(synAck.SeqNr) - 1, payload: "new"})
		c := te.accept().value("the new one is confirmed")
		b := make([]byte, 10)
		n, err := c.Read(b)
		require.NoError(t, err)
		require.Equal(t, "new", string(b[:n]))
		te.advance(25 * time.Millisecond)
		te.want("data is acknowledged", packet{typ: wire.State, ack: 8})
	})
}

func TestSynWithoutListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.recv(alice, packet{typ: wire.Syn, id: 40, seq: 50})
		te.want("nobody listens", packet{typ: wire.Reset, id: 40, ack: 50, route: alice, by: bySender})
		require.Equal(t, EndpointStats{Unroutable: 1, ResetsSent: 1}, te.Stats())

		l := te.listen()
		te.recv(alice, packet{typ: wire.Syn, id: 0xffff, seq: 50})
		te.wantNothing("the initiator would send with id 0")
		require.EqualValues(t, 1, te.Stats().SynDropped)

		require.NoError(t, l.Close())
		te.recv(alice, packet{typ: wire.Syn, id: 40, seq: 51})
		te.want("nobody listens any more", packet{typ: wire.Reset, id: 40, ack: 51})
	})
}

func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, &Config{Backlog: 2})
		te.listen()
		var peers []*peer
		for i := range 3 {
			peers = append(peers, te.halfOpened(routeTo(i), synID))
		}
		peers[0].recv(packet{typ: wire.State})
		peers[1].recv(packet{typ: wire.State})
		require.EqualValues(t, 2, te.Stats().Accepted)

		te.recv(alice, packet{typ: wire.Syn, id: 5})
		te.wantNothing("a SYN is ignored when the backlog is full: the peer will repeat it")
		require.EqualValues(t, 1, te.Stats().SynDropped)

		peers[2].recv(packet{typ: wire.State})
		peers[2].want("but who is confirmed is told that there is no room", packet{typ: wire.Reset, seq: 1, ack: 0, by: bySender})
		require.EqualValues(t, 1, te.Stats().BacklogReset)
		require.Equal(t, 2, te.Stats().Conns)

		te.accept().value("two were confirmed")
		te.recv(alice, packet{typ: wire.Syn, id: 5})
		te.want("there is room again", packet{typ: wire.State, id: 5})
	})
}

func TestMaxConnsInbound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, &Config{MaxConns: 2})
		te.listen()
		var peers []*peer
		for i := range 3 {
			peers = append(peers, te.halfOpened(routeTo(i), synID))
		}
		peers[0].recv(packet{typ: wire.State})
		peers[1].recv(packet{typ: wire.State})
		peers[2].recv(packet{typ: wire.State})
		peers[2].want("half-open connections do not count: who is confirmed too late is told", packet{typ: wire.Reset, by: bySender})
		require.EqualValues(t, 1, te.Stats().BacklogReset)
		te.recv(alice, packet{typ: wire.Syn, id: 77})
		te.wantNothing("a SYN beyond the limit is ignored")
		require.EqualValues(t, 1, te.Stats().SynDropped)
		require.Equal(t, 2, te.Stats().Conns)
		te.accept().value("two have made it")
		te.accept().value("two have made it")
		peers[0].reset()
		te.recv(alice, packet{typ: wire.Syn, id: 77})
		te.want("there is room again", packet{typ: wire.State})
	})
}

func TestListenerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		l := te.listen()
		accepted := te.accepted(bob)
		queued, half := te.halfOpened(routeTo(1), synID), te.halfOpened(routeTo(2), synID)
		queued.recv(packet{typ: wire.State})

		require.NoError(t, l.Close())
		got := map[Route]wire.Type{}
		for _, d := range te.takeAll() {
			got[d.route] = d.Type
		}
		require.Equal(t, map[Route]wire.Type{routeTo(1): wire.Reset, routeTo(2): wire.Reset}, got,
			"nobody will accept what waits, confirmed or not")
		require.Equal(t, 1, te.Stats().Conns)
		require.Zero(t, te.Stats().HalfOpen)

		accepted.write("still here")
		accepted.want("what was accepted goes on", packet{typ: wire.Data, payload: "still here"})
		half.recv(packet{typ: wire.State})
		half.want("who confirms too late is told", packet{typ: wire.Reset, id: int(half.sendID)})

		addr := &Addr{boundAddr().(*net.UDPAddr).AddrPort()}
		wantOpError(t, l.Close(), "close", nil, l.Addr(), net.ErrClosed, "a second Close")
		_, err := l.Accept()
		wantOpError(t, err, "accept", nil, l.Addr(), net.ErrClosed, "Accept after Close")
		require.Equal(t, NewAddr(addr.ap), l.Addr(), "the address remains")
	})
}

func TestListenerCloseInterruptsAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		l := te.listen()
		calls := []*async[*Conn]{te.accept(), te.accept()}
		for _, a := range calls {
			a.wantNotDone("nobody dials")
		}
		require.NoError(t, l.Close())
		for _, a := range calls {
			wantOpError(t, a.err("the listener is closed"), "accept", nil, l.Addr(), net.ErrClosed, "Accept")
		}
	})
}

func TestOneListenerAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		l := te.listen()
		_, err := te.Listen()
		wantOpError(t, err, "listen", nil, boundAddr(), ErrListening, "there is one")
		require.NoError(t, l.Close())

		te.listen()
		p := te.halfOpened(alice, synID)
		require.Error(t, l.Close(), "the old one is closed")
		p.recv(packet{typ: wire.State})
		te.accept().value("which leaves the new one alone")

		te.Close()
		te.want("closing the endpoint resets", packet{typ: wire.Reset})
		_, err = te.Listen()
		wantOpError(t, err, "listen", nil, boundAddr(), net.ErrClosed, "Listen after that")
	})
}

func TestListenerAddr(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		require.Equal(t, "0.0.0.0:1000", te.listen().Addr().String())
		require.Equal(t, "utp", te.listener.Addr().Network())

		other, err := NewEndpoint(nil, te.w, func() net.Addr { return &net.UnixAddr{Name: "odd", Net: "unixgram"} })
		require.NoError(t, err)
		l, err := other.Listen()
		require.NoError(t, err)
		require.Equal(t, "odd", l.Addr().String(), "an address without IP address and port is passed on as it is")
		other.Close()
	})
}
