package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// "RTO like RFC 6298 with floor ~500 ms..1 s for unknown peers"; give up after
// 60 s without progress.
func TestRule13RTO(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write("x")
		tc.lose("DATA", packet{typ: wire.Data, seq: 1})
		rto, floor := tc.conn.Stats().RTO, 500*time.Millisecond
		if tc.ownKind {
			floor = 200 * time.Millisecond
		}
		require.Equal(tc.t, floor, rto, "the round trip is short")
		left := 60 * time.Second
		for rto < left {
			tc.wantAfter(rto, "doubled each time", packet{typ: wire.Data, seq: 1, payload: "x"})
			left -= rto
			rto = min(2*rto, 15*time.Second)
		}
		tc.wantReason("not yet", NotClosed)
		tc.wantAfter(left, "no progress for 60 s", packet{typ: wire.Reset, seq: 2})
		tc.wantReason("given up", TimedOut)
	}, noKeepAlive)
}

// RFC 6298, 5.3: an acknowledgement of new data restarts the timer; and ends
// the back-off.
func TestRule13RTORestarts(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		tc.write("1")
		tc.write("2")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.lose("DATA", packet{typ: wire.Data, seq: 2})
		rto := tc.conn.Stats().RTO
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, ack: 1})
		tc.wantAfter(rto, "counted from the acknowledgement", packet{typ: wire.Data, seq: 2})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, ack: 2})
		tc.write("3")
		tc.lose("DATA", packet{typ: wire.Data, seq: 3})
		tc.wantAfter(rto, "no back-off left", packet{typ: wire.Data, seq: 3})
	})
}

// The timeout is bounded, with and without back-off.
func TestRule13RTOIsBounded(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		longest := time.Duration(0)
		for range 40 {
			tc.write("x")
			tc.want("DATA", packet{typ: wire.Data})
			tc.advance(tc.conn.Stats().RTO - time.Millisecond)
			tc.recv(packet{typ: wire.State})
			longest = max(longest, tc.conn.Stats().RTO)
		}
		require.Equal(tc.t, 15*time.Second, longest, "ever slower, as if on purpose")
	}, noKeepAlive)
}

// Nothing outstanding, no timer.
func TestRule13NoRTOWhenIdle(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data})
		tc.recv(packet{typ: wire.State})
		tc.advance(time.Hour)
		tc.wantNothing("all was acknowledged")
		require.EqualValues(tc.t, 0, tc.conn.Stats().Timeouts)
	}, noKeepAlive)
}

// "Karn": what was sent twice gives no sample.
func TestRule13Karn(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write("x")
		tc.lose("DATA", packet{typ: wire.Data, seq: 1})
		tc.wantAfter(tc.conn.Stats().RTO, "timeout", packet{typ: wire.Data, seq: 1})
		tc.advance(3 * rtt)
		tc.recv(packet{typ: wire.State})
		require.Equal(tc.t, rtt, tc.conn.SRTT(), "which transmission was it?")
		tc.write("y")
		tc.want("DATA", packet{typ: wire.Data, seq: 2})
		tc.advance(9 * rtt)
		tc.recv(packet{typ: wire.State})
		require.Equal(tc.t, 2*rtt, tc.conn.SRTT(), "7/8 of 1, 1/8 of 9")
	})
}

// Progress, however slow, is progress.
func TestRule13SlowPeerLives(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		for range 5 {
			tc.write(1)
			tc.takeAll()
		}
		for ack := 1; ack <= 5; ack++ {
			tc.advance(59 * time.Second)
			tc.takeAll()
			tc.wantReason("acknowledged a minute ago", NotClosed)
			tc.recv(packet{typ: wire.State, ack: ack})
		}
		require.True(tc.t, tc.conn.Flushed())
	}, noKeepAlive)
}

// Without Timeout a connection never ends by itself.
func TestRule13NoTimeout(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.write("x")
		tc.advance(2 * time.Hour)
		tc.wantReason("no Timeout", NotClosed)
		tc.takeAll()
		tc.recv(packet{typ: wire.State})
		require.True(tc.t, tc.conn.Flushed())
	}, with(func(p *Params) { p.Timeout = 0 }))
}

// "Embryonic limit 10-30 s."
func TestRule14Embryonic(t *testing.T) {
	kinds(t, func(t *testing.T, kind option) {
		tc := newScript(t, acceptor, unconnected, kind)
		tc.recv(packet{typ: wire.Syn, hello: tc.ownKind})
		tc.advance(30*time.Second - 1)
		tc.takeAll()
		tc.wantReason("libutp may speak first after 29 s", NotClosed)
		tc.advance(1)
		tc.wantNothing("who sent the SYN is not known: nothing is said")
		tc.wantReason("never confirmed", TimedOut)
	})
}

// "Close linger <= ~5 s after final ack."
func TestRule14Linger(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.close()
		tc.want("FIN", packet{typ: wire.Fin})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
		tc.advance(5*time.Second - 1)
		tc.wantReason("the peer's FIN may come", NotClosed)
		tc.advance(1)
		tc.wantNothing("all of ours has arrived: no RESET")
		tc.wantReason("it did not", Finished)
		require.Nil(tc.t, tc.tomb, "its FIN was not seen, so there is nothing to acknowledge again")
	})
}

// A process that was stopped, or a timer that is late, does not count against the
// peer: what it has sent meanwhile waits to be read.
func TestLateTimerGivesNothingUp(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write(100)
		tc.want("data", packet{typ: wire.Data, seq: 1})
		tc.now = tc.now.Add(2 * tc.conn.params.Timeout)
		tc.conn.HandleTimeout(tc.now)
		tc.flush()
		require.Equal(tc.t, NotClosed, tc.conn.Reason(), "it was not the peer that was silent")
		tc.takeAll()
		tc.recv(packet{typ: wire.State, ack: 1})
		require.True(tc.t, tc.conn.Flushed(), "the answer was waiting")
	})
}
