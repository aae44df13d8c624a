package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// "Window updates repeated until used; probes when blocked by zero window."

// fillWindow has the peer use up the window that it was promised.
func (tc *testConn) fillWindow(left int) {
	tc.t.Helper()
	var batch []packet
	for n := tc.conn.window.promised() - left; n > 0; n -= full {
		batch = append(batch, packet{payload: min(n, full)})
	}
	tc.recv(batch...)
	tc.want("all of it is acknowledged", packet{typ: wire.State, ack: tc.peerNext - 1, window: left})
}

func TestRule06UpdateIsRepeated(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.fillWindow(0)
		tc.advance(time.Minute)
		tc.wantNothing("nothing was read")
		tc.read(initialWindow)
		update := packet{typ: wire.State, window: initialWindow, ack: tc.peerNext - 1}
		tc.lose("the window is open", update)
		for _, ms := range []time.Duration{200, 500, 1000, 2000, 4000, 8000, 15000, 30000} {
			tc.wantAfter(ms*time.Millisecond, "libtorrent and librqbit never ask", update)
		}
		tc.advance(time.Hour)
		tc.wantNothing("a peer that does not use it has nothing to send")
	}, noKeepAlive)
}

func TestRule06UseEndsRepetition(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.fillWindow(0)
		tc.read(initialWindow)
		tc.lose("the only update is lost", packet{typ: wire.State, window: initialWindow})
		tc.wantAfter(200*time.Millisecond, "and repeated", packet{typ: wire.State, window: initialWindow})
		tc.recv(packet{typ: wire.State})
		tc.wantAfter(500*time.Millisecond, "a STATE does not use it", packet{typ: wire.State, window: initialWindow})
		tc.recv(packet{payload: full})
		tc.wantAfter(25*time.Millisecond, "DATA does", packet{typ: wire.State, window: initialWindow - full})
		tc.advance(time.Hour)
		tc.wantNothing("no more is needed")
	}, noKeepAlive)
}

// A window that has room for no full packet is as good as closed. It opens when
// it is worth it (RFC 1122, 4.2.3.3), and what is then said is news.
func TestRule06NoSillyWindow(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.fillWindow(1100)
		for range 1471 {
			tc.read(1)
			tc.wantNothing("not worth it")
		}
		tc.read(1)
		tc.want("two packets fit", packet{typ: wire.State, window: 1100 + 1472})
		for range 1500 {
			tc.read(1)
		}
		require.Empty(tc.t, tc.pending, "the window was not closed any more")
	}, noProbe)
}

// Nor does a small opening slip into an acknowledgement.
func TestRule06NoSillyWindowInAck(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.fillWindow(1100)
		tc.read(1000)
		tc.recv(packet{payload: 100}, packet{payload: 100})
		tc.want("what is left of the old promise", packet{typ: wire.State, window: 900})
		tc.read(472)
		tc.want("all that was read is promised at once", packet{typ: wire.State, window: 900 + 1472})
	}, noProbe)
}

// A window that is open, but much used, is updated once it is worth it.
func TestRule06UpdateOfOpenWindow(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.fillWindow(initialWindow / 4)
		tc.read(initialWindow/4 - 1)
		tc.wantNothing("less than a quarter was read")
		tc.read(1)
		tc.want("a quarter was", packet{typ: wire.State, window: initialWindow / 2})
		tc.advance(time.Minute)
		tc.wantNothing("the peer was never blocked, so this is not repeated")
	}, noKeepAlive)
}

// What was promised is never taken back, however little is read.
func TestRule06RightEdgeNeverMovesBack(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		edge, arrived := 0, 0
		for i := range 400 {
			size := 1 + i*37%1400
			if arrived+size > edge && edge > 0 {
				size = edge - arrived
			}
			if size > 0 {
				tc.recv(packet{payload: size})
				arrived += size
			}
			tc.advance(5 * time.Millisecond)
			if i%3 == 0 {
				tc.read(min(tc.conn.Readable(), i*53%3000))
			}
			for _, d := range tc.takeAll() {
				covered := 0 // by this acknowledgement
				for seq := 1; seq <= d.ack; seq++ {
					covered += len(tc.peerPayload[seq])
				}
				require.GreaterOrEqual(tc.t, covered+int(d.Window), edge)
				edge = covered + int(d.Window)
			}
		}
		require.Greater(tc.t, edge, initialWindow)
	})
}

// As sender, to our own kind: a keepalive, which it answers.
func TestRule06ProbeOwnKind(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.recv(packet{typ: wire.State, window: 0})
		tc.write(3000)
		tc.wantNothing("the window is closed")
		for _, ms := range []time.Duration{500, 1000, 2000, 4000, 8000, 15000, 15000, 15000} {
			tc.wantAfter(ms*time.Millisecond, "has it opened", packet{typ: wire.State, seq: 2, ack: -1})
			tc.recv(packet{typ: wire.State, window: 0})
		}
		tc.wantReason("over 60 s, but it is alive", NotClosed)
		tc.recv(packet{typ: wire.State, window: 2500})
		tc.want("used at once, as far as it goes", packet{typ: wire.Data, seq: 2, payload: full}, packet{typ: wire.Data, seq: 3, payload: full})
		tc.recv(packet{typ: wire.State})
		tc.want("the rest", packet{typ: wire.Data, seq: 4, payload: 3000 - 2*full})
	}, ownKind, noKeepAlive, noProbe)
}

// To others: one packet beyond the window, which they take (libutp, us)…
func TestRule06ProbeForeign(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.recv(packet{typ: wire.State, window: 0})
		tc.write(3000)
		tc.wantNothing("the window is closed")
		tc.wantAfter(500*time.Millisecond, "one packet", packet{typ: wire.Data, seq: 2, payload: full})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, window: 0})
		tc.wantAfter(time.Second, "with back-off", packet{typ: wire.Data, seq: 3, payload: full})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, window: 5})
		tc.want("an open window ends it, however small", packet{typ: wire.Data, seq: 4, payload: 5})
		tc.recv(packet{typ: wire.State, window: 0})
		tc.wantAfter(500*time.Millisecond, "and the back-off", packet{typ: wire.Data, seq: 5, payload: 3000 - 2*full - 5})
	}, noProbe)
}

// …or drop (libtorrent, librqbit): it is repeated like any packet, and at once
// when the window opens.
func TestRule06ProbeIsDropped(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.recv(packet{typ: wire.State, window: 0})
		tc.write(3000)
		probe := packet{typ: wire.Data, seq: 2, payload: full}
		tc.advance(500 * time.Millisecond)
		tc.lose("one packet", probe)
		rto := 500 * time.Millisecond
		for range 6 {
			tc.advance(rtt)
			tc.recv(packet{typ: wire.State, window: 0})
			tc.advance(rto - rtt)
			tc.lose("the same packet, and no other", probe)
			rto = min(2*rto, 15*time.Second)
		}
		tc.advance(time.Second)
		tc.recv(packet{typ: wire.State, window: 100000})
		tc.want("not after another 14 s", probe)
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
		tc.want("the rest", packet{typ: wire.Data, seq: 3, payload: full}, packet{typ: wire.Data, seq: 4})
	}, noKeepAlive, noProbe)
}

// The same if the window was closed while packets were under way.
func TestRule06WindowClosesOverPackets(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write(3 * full)
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.lose("dropped for want of room", packet{typ: wire.Data, seq: 2}, packet{typ: wire.Data, seq: 3})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, window: 0})
		rto := tc.conn.Stats().RTO
		for range 5 {
			tc.advance(rto)
			tc.lose("the oldest", packet{typ: wire.Data, seq: 2})
			rto *= 2
		}
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, window: 100000})
		tc.want("at once when it opens", packet{typ: wire.Data, seq: 2})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
		tc.want("the rest", packet{typ: wire.Data, seq: 3})
	}, noKeepAlive, noProbe)
}

// A peer that is not heard any more is given up, closed window or not.
func TestRule06ProbesUnanswered(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.recv(packet{typ: wire.State, window: 0})
		tc.write("y")
		tc.advance(59 * time.Second)
		tc.wantReason("60 s have not passed", NotClosed)
		tc.advance(17 * time.Second)
		tc.wantReason("nothing was heard", TimedOut)
		all := tc.takeAll()
		require.Equal(tc.t, wire.Reset, all[len(all)-1].Type)
		require.Less(tc.t, len(all), 12)
	}, noKeepAlive)
}

// The peer's window is honoured to the byte.
func TestRule06PeersWindow(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write(10 * full)
		tc.want("what fits", packet{typ: wire.Data, seq: 1, payload: full}, packet{typ: wire.Data, seq: 2, payload: full})
		tc.wantNothing("the rest of the window is too small for a packet, and more will open")
		tc.recv(packet{typ: wire.State, window: 700})
		tc.want("unless none is outstanding", packet{typ: wire.Data, seq: 3, payload: 700})
		tc.recv(packet{typ: wire.State, ack: 0, window: 100})
		require.Equal(tc.t, 700, tc.conn.Stats().PeerWindow, "not from a packet that was overtaken")
	}, noProbe, func(tc *testConn) { tc.peerWindow = 3000 })
}
