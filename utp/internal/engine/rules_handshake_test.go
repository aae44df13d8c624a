package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// The design's corrections of rules 2, 4 and 8: who repeats what until the
// connection is known to both.

// kinds runs a script against another implementation and our own.
func kinds(t *testing.T, f func(t *testing.T, kind option)) {
	t.Run("foreign", func(t *testing.T) { f(t, func(*testConn) {}) })
	t.Run("own", func(t *testing.T) { f(t, ownKind) })
}

// "An acceptor that hears nothing repeats its SYN-ACK at 0.3 and 1 s": three
// answers to one SYN.
func TestHandshakeSynAckIsRepeated(t *testing.T) {
	kinds(t, func(t *testing.T, kind option) {
		tc := newScript(t, acceptor, unconnected, kind)
		tc.recv(packet{typ: wire.Syn, hello: tc.ownKind})
		synAck := packet{typ: wire.State, id: 1000, seq: 1, ack: 0, hello: tc.ownKind}
		tc.lose("SYN-ACK", synAck)
		tc.wantAfter(300*time.Millisecond, "nothing was heard", synAck)
		tc.wantAfter(700*time.Millisecond, "1 s after the first", synAck)
		tc.advance(29 * time.Second)
		tc.wantNothing("no fourth")
	})
}

// "Not under pressure."
func TestHandshakeSynAckIsNotRepeatedUnderPressure(t *testing.T) {
	tc := newScript(t, acceptor, unconnected)
	tc.recv(packet{typ: wire.Syn})
	tc.want("SYN-ACK", packet{typ: wire.State})
	tc.conn.Calm()
	tc.advance(10 * time.Second)
	tc.wantNothing("nothing that was not asked for")
	tc.recv(packet{typ: wire.Syn})
	tc.want("a SYN is answered all the same", packet{typ: wire.State})
	tc.recv(packet{typ: wire.State})
	require.True(t, tc.conn.Connected())
}

// A confirmation ends the repetition.
func TestHandshakeConfirmationEndsRepetition(t *testing.T) {
	for _, typ := range []wire.Type{wire.State, wire.Data, wire.Fin} {
		tc := newScript(t, acceptor, unconnected)
		tc.recv(packet{typ: wire.Syn})
		tc.want("SYN-ACK", packet{typ: wire.State})
		tc.advance(rtt)
		tc.recv(packet{typ: typ})
		require.True(t, tc.conn.Connected(), "%v confirms", typ)
		require.NotZero(t, tc.events&EventConnected)
		require.Equal(t, rtt, tc.conn.SRTT())
		tc.advance(25 * time.Millisecond)
		tc.takeAll() // the acknowledgement
		tc.advance(10 * time.Second)
		tc.wantNothing("the SYN-ACK has arrived")
	}
}

// After a repetition it is not known which SYN-ACK was answered: no RTT sample.
func TestHandshakeKarn(t *testing.T) {
	tc := newScript(t, acceptor, unconnected)
	tc.recv(packet{typ: wire.Syn})
	tc.want("SYN-ACK", packet{typ: wire.State})
	tc.wantAfter(300*time.Millisecond, "nothing was heard", packet{typ: wire.State})
	tc.advance(rtt)
	tc.recv(packet{typ: wire.State})
	require.Zero(t, tc.conn.SRTT())
	require.Equal(t, initialRTO, tc.conn.Stats().RTO)
}

// "Our initiator repeats that STATE at 0.3, 1 and 3 s until it hears more."
func TestHandshakeConfirmationIsRepeated(t *testing.T) {
	kinds(t, func(t *testing.T, kind option) {
		tc := newScript(t, unconnected, kind)
		tc.want("SYN", packet{typ: wire.Syn})
		tc.recv(packet{typ: wire.State, hello: tc.ownKind})
		state := packet{typ: wire.State, seq: 1, ack: 0, hello: false}
		tc.lose("the acceptor knows when this arrives", state)
		tc.wantAfter(300*time.Millisecond, "nothing was heard", state)
		tc.wantAfter(700*time.Millisecond, "1 s after the first", state)
		tc.wantAfter(2*time.Second, "3 s after the first", state)
		tc.advance(20 * time.Second)
		tc.wantNothing("that was all")
	})
}

func TestHandshakeHearingMoreEndsRepetition(t *testing.T) {
	for _, p := range []packet{{}, {typ: wire.Fin}, {typ: wire.State, seq: 2}, {typ: wire.State, ack: -1}} {
		tc := newScript(t, unconnected)
		tc.want("SYN", packet{typ: wire.Syn})
		tc.recv(packet{typ: wire.State})
		tc.want("STATE", packet{typ: wire.State})
		tc.recv(p)
		tc.advance(25 * time.Millisecond)
		tc.takeAll() // the acknowledgement
		tc.advance(10 * time.Second)
		tc.wantNothing("the acceptor talks to us, so it knows")
	}
}

// The SYN-ACK once more means that the STATE was lost: it is answered, and the
// repetition goes on.
func TestHandshakeRepeatedSynAckEndsNothing(t *testing.T) {
	tc := newScript(t, unconnected)
	tc.want("SYN", packet{typ: wire.Syn})
	tc.recv(packet{typ: wire.State})
	tc.lose("STATE", packet{typ: wire.State})
	tc.advance(200 * time.Millisecond)
	tc.recv(packet{typ: wire.State, seq: 1, ack: 0})
	tc.lose("STATE", packet{typ: wire.State})
	tc.wantAfter(100*time.Millisecond, "0.3 s after the first", packet{typ: wire.State})
}

// "Else a server that speaks first deadlocks when that STATE is lost: test
// exactly that." Both ends are ours.
func TestHandshakeServerSpeaksFirst(t *testing.T) {
	for _, lost := range []int{0, 1, 2} {
		p := newPair(1)
		p.a.out, p.b.out = link{delay: rtt / 2}, link{delay: rtt / 2}
		p.drop = func(from *peer, pkt *wire.Packet) bool {
			if from == p.a && pkt.Type == wire.State && lost > 0 {
				lost--
				return true
			}
			return false
		}
		started := p.now
		p.b.step = func() {
			if p.b.conn.Connected() && p.b.conn.stats.BytesSent == 0 {
				p.b.conn.Write([]byte("220 ready"))
			}
		}
		limit := map[int]time.Duration{0: 100 * time.Millisecond, 1: 400 * time.Millisecond, 2: 1100 * time.Millisecond}[lost]
		p.dial()
		require.NoError(t, p.run(limit, func() bool { return p.a.conn.Readable() > 0 }), "%d lost, %v", lost, p.now.Sub(started))
	}
}

// The same when the acceptor is another implementation, whose SYN-ACK is not
// repeated: the initiator alone gets it going.
func TestHandshakeForeignServerSpeaksFirst(t *testing.T) {
	tc := newScript(t, unconnected)
	tc.want("SYN", packet{typ: wire.Syn})
	tc.recv(packet{typ: wire.State})
	tc.lose("STATE", packet{typ: wire.State})
	tc.wantAfter(300*time.Millisecond, "without a word from either side", packet{typ: wire.State, seq: 1, ack: 0})
	tc.recv(packet{payload: "220 ready"})
	tc.read(9)
	tc.wantAfter(25*time.Millisecond, "acknowledgement", packet{typ: wire.State, ack: 1})
}

// "Keepalive of our own kind answered": a STATE with ack_nr - 1 is a question,
// from our own kind only.
func TestKeepAliveIsAnswered(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data})
		tc.recv(packet{typ: wire.State}) // now the acknowledged number is not that of the handshake
		ask := packet{typ: wire.State, ack: 0}
		tc.recv(ask)
		if !tc.ownKind {
			tc.wantNothing("libutp's keepalive says the same, and wants no answer")
			return
		}
		tc.want("an answer", packet{typ: wire.State, seq: 2, ack: 0})
		tc.advance(99 * time.Millisecond)
		tc.recv(ask)
		tc.wantNothing("at most one in 100 ms")
		tc.advance(time.Millisecond)
		tc.recv(ask)
		tc.want("another answer", packet{typ: wire.State, seq: 2, ack: 0})
	})
}

// "3 misses = TimedOut."
func TestKeepAliveMisses(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		ask := packet{typ: wire.State, seq: 1, ack: -1}
		tc.wantAfter(25*time.Second, "is anybody there", ask)
		tc.wantAfter(5*time.Second, "once more, sooner", ask)
		tc.wantAfter(5*time.Second, "a third time", ask)
		tc.wantReason("still waiting", NotClosed)
		tc.wantAfter(5*time.Second, "no", packet{typ: wire.Reset})
		tc.wantReason("nobody is", TimedOut)
	}, ownKind)
}

func TestKeepAliveAnswerCounts(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		ask := packet{typ: wire.State, seq: 1, ack: -1}
		for quiet := 25 * time.Second; tc.now < Time(10*time.Minute); quiet = 21 * time.Second {
			tc.wantAfter(quiet, "is anybody there: 25 s after the last packet of ours", ask)
			tc.wantAfter(5*time.Second, "once more", ask)
			tc.wantAfter(5*time.Second, "a third time", ask)
			tc.advance(4 * time.Second)
			tc.recv(packet{typ: wire.State, seq: 2, ack: 0}) // number 1 was lost, or is to come
			tc.wantReason("yes", NotClosed)
		}
	}, ownKind)
}

// One that is heard of for other reasons is not asked.
func TestKeepAliveOnlyWhenQuiet(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		for range 10 {
			tc.advance(20 * time.Second)
			tc.recv(packet{}, packet{})
			tc.want("we speak, and hear", packet{typ: wire.State, seq: 1})
		}
	}, ownKind)
}

// Or that does not answer: what we send is no sign of life.
func TestKeepAliveWhileSending(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.advance(20 * time.Second)
		tc.write("x")
		tc.advance(5*time.Second - 1)
		for _, d := range tc.loseAll() {
			require.Equal(tc.t, wire.Data, d.Type)
		}
		tc.advance(1)
		tc.want("nothing was heard for 25 s", packet{typ: wire.State, seq: 2, ack: -1})
	}, ownKind)
}

// Others answer no keepalive: silence is no reason to end the connection, unless
// IdleTimeout says so.
func TestKeepAliveForeignSilence(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.advance(2 * time.Hour)
		tc.takeAll()
		tc.wantReason("no IdleTimeout", NotClosed)
	})
	everyRole(t, func(tc *testConn) {
		tc.advance(59 * time.Second)
		tc.recv(packet{typ: wire.State, seq: 2})
		tc.advance(60*time.Second - 1)
		tc.takeAll()
		tc.wantReason("heard of a minute ago", NotClosed)
		tc.advance(1)
		tc.want("the peer may learn of it", packet{typ: wire.Reset})
		tc.wantReason("IdleTimeout", TimedOut)
	}, with(func(p *Params) { p.IdleTimeout = time.Minute }))
}
