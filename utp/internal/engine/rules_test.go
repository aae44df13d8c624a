package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// The tests TestRuleNN… are the rules of the protocol dossier, section 12, one
// by one. Rule 2 is in rules_never_test.go, 6 in rules_window_test.go, 9 to 12
// in rules_receive_test.go, 13 and 14 in rules_timers_test.go. What the design
// adds to them is in rules_handshake_test.go and rules_wrap_test.go, and how
// connections end in rules_close_test.go.

// full is the payload of a packet of the base size.
const full = BaseDatagram - wire.HeaderSize

// noKeepAlive is for scripts that last longer than a keepalive's interval.
func noKeepAlive(tc *testConn) { tc.params.KeepAlive = 0 }

// "seq: SYN/DATA/FIN consume; STATE = next unsent."
func TestRule01Numbers(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{}, packet{})
		tc.want("the first number is still unused", packet{typ: wire.State, seq: 1, ack: 2})
		tc.write(1)
		tc.want("DATA takes it", packet{typ: wire.Data, seq: 1})
		tc.recv(packet{}, packet{})
		tc.want("a STATE has the next one", packet{typ: wire.State, seq: 2, ack: 4})
		tc.recv(packet{}, packet{})
		tc.want("and does not take it", packet{typ: wire.State, seq: 2, ack: 6})
		tc.closeWrite()
		tc.want("FIN takes it", packet{typ: wire.Fin, seq: 2})
	})
}

// "Before inbound confirmation every STATE = S."
func TestRule01StateBeforeConfirmation(t *testing.T) {
	tc := newScript(t, acceptor, unconnected)
	tc.recv(packet{typ: wire.Syn})
	tc.want("the SYN-ACK has the first number", packet{typ: wire.State, seq: 1, ack: 0})
	tc.write(20)
	tc.closeWrite()
	tc.wantNothing("neither DATA nor FIN leaves before confirmation")
	tc.recv(packet{typ: wire.Syn})
	tc.want("a second SYN gets the same number, data queued or not", packet{typ: wire.State, seq: 1, ack: 0})
	tc.wantAfter(300*time.Millisecond, "so does silence", packet{typ: wire.State, seq: 1, ack: 0})
	tc.recv(packet{typ: wire.State})
	tc.want("confirmed, the first DATA has it too", packet{typ: wire.Data, seq: 1, payload: 20}, packet{typ: wire.Fin, seq: 2})
}

// "After our FIN (F): STATE pairs F and F+1, or re-sent FIN."
func TestRule01StatePairsAfterFin(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.write(1)
		tc.closeWrite()
		tc.want("the stream ends", packet{typ: wire.Data, seq: 1}, packet{typ: wire.Fin, seq: 2})
		tc.recv(packet{}, packet{})
		tc.want("each acknowledgement is said with the FIN's number and the next",
			packet{typ: wire.State, seq: 2, ack: 2, sack: []int{}}, packet{typ: wire.State, seq: 3, ack: 2, sack: []int{}})
		tc.recv(packet{seq: 4})
		tc.want("a gap makes no difference",
			packet{typ: wire.State, seq: 2, ack: 2, sack: []int{4}}, packet{typ: wire.State, seq: 3, ack: 2, sack: []int{4}})
	})
	t.Run("own", func(t *testing.T) {
		tc := newScript(t, ownKind)
		tc.closeWrite()
		tc.want("the stream ends", packet{typ: wire.Fin, seq: 1})
		tc.recv(packet{}, packet{})
		tc.want("our own kind needs only one", packet{typ: wire.State, seq: 2, ack: 2})
		tc.recv(packet{seq: 4})
		tc.want("with a gap too", packet{typ: wire.State, seq: 2, ack: 2, sack: []int{4}})
	})
}

// "Refresh ack_nr, timestamp, diff and wnd at every (re)transmission."
func TestRule03RetransmissionIsFresh(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write(100)
		rto := tc.conn.Stats().RTO
		tc.lose("first transmission", packet{typ: wire.Data, seq: 1, ack: 0, window: initialWindow})
		tc.advance(rtt)
		tc.recv(packet{payload: 300, timestamp: 1000}, packet{payload: 300, timestamp: 2000})
		tc.want("not part of this", packet{typ: wire.State})
		received := tc.now
		tc.advance(rto - rtt - 1)
		tc.wantNothing("before the timeout")
		tc.advance(1)
		tc.want("everything is as of now", packet{
			typ: wire.Data, seq: 1,
			ack:       2,
			timestamp: int(tc.now.timestamp()),
			diff:      int(received/1000) - 2000,
			window:    initialWindow - 600,
		})
	})
}

// "SYN with real window; retries with fresh (id, seq)": a Conn sends one SYN.
func TestRule04FreshSyn(t *testing.T) {
	tc := newScript(t, unconnected)
	require.EqualValues(t, 0, tc.pending[0].AckNr, "there is nothing to acknowledge")
	tc.want("dialling sends a SYN with our id, window and Hello", packet{
		typ: wire.Syn, seq: 0, id: 1000, window: initialWindow, diff: 0, hello: true, size: wire.HeaderSize + 2 + wire.HelloSize,
	})
	tc.advance(time.Hour)
	tc.wantNothing("it is never repeated")
	tc.recv(packet{typ: wire.State})
	tc.want("its answer is still welcome", packet{typ: wire.State, id: 1001, seq: 1, ack: 0})
}

// "STATE right after SYN-ACK."
func TestRule04StateRightAfterSynAck(t *testing.T) {
	for name, hello := range map[string]bool{"foreign": false, "own": true} {
		t.Run(name, func(t *testing.T) {
			tc := newScript(t, unconnected)
			tc.want("dialling sends a SYN", packet{typ: wire.Syn})
			tc.write("early")
			tc.wantNothing("no DATA before the SYN-ACK")
			tc.advance(rtt)
			tc.recv(packet{typ: wire.State, hello: hello})
			tc.want("a STATE of its own, though there is data", packet{typ: wire.State, seq: 1, ack: 0, hello: false})
			tc.want("which follows", packet{typ: wire.Data, seq: 1, payload: "early"})
		})
	}
}

// "Acks: batch end, every 2 full packets, <= 25 ms."
func TestRule05Acks(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{})
		tc.wantAfter(25*time.Millisecond, "one packet may wait for data to travel with", packet{typ: wire.State, ack: 1})
		tc.recv(packet{})
		tc.advance(10 * time.Millisecond)
		tc.recv(packet{})
		tc.want("the second may not", packet{typ: wire.State, ack: 3})
		tc.advance(time.Second)
		tc.wantNothing("the first one's timer is off")

		ps := make([]packet, 20)
		tc.recv(ps...)
		tc.want("a batch has one acknowledgement", packet{typ: wire.State, ack: 23})
		tc.recv(packet{})
		tc.write(10)
		tc.want("DATA takes the acknowledgement along", packet{typ: wire.Data, ack: 24})
		tc.advance(100 * time.Millisecond)
		tc.wantNothing("so no STATE is needed")
	})
}

// "Immediate on gap, fill, FIN, duplicate."
func TestRule05ImmediateAcks(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{seq: 2})
		tc.want("a gap", packet{typ: wire.State, ack: 0, sack: []int{2}})
		tc.recv(packet{seq: 4})
		tc.want("another", packet{typ: wire.State, ack: 0, sack: []int{2, 4}})
		tc.recv(packet{seq: 1})
		tc.want("the first is filled", packet{typ: wire.State, ack: 2, sack: []int{4}})
		tc.recv(packet{seq: 4})
		tc.want("a duplicate ahead of a gap", packet{typ: wire.State, ack: 2, sack: []int{4}})
		tc.recv(packet{seq: 3})
		tc.want("the second is filled", packet{typ: wire.State, ack: 4, sack: []int{}})
		tc.recv(packet{seq: 1})
		tc.want("an old duplicate", packet{typ: wire.State, ack: 4})
		tc.read(400)
		tc.recv(packet{typ: wire.Fin})
		tc.want("FIN", packet{typ: wire.State, ack: 5})
		tc.recv(packet{typ: wire.Fin, seq: 5})
		tc.want("a duplicate of it", packet{typ: wire.State, ack: 5})
	})
}

// "SACK (multiple of 4, as short as possible) whenever out-of-order data is held."
func TestRule05SackLength(t *testing.T) {
	for _, test := range []struct{ seq, length int }{
		// ack_nr is 0, so bit 0 is number 2 and the first 4 bytes end with 33.
		{2, 4}, {9, 4}, {10, 4}, {33, 4}, {34, 8}, {65, 8}, {66, 12}, {1024, 128},
	} {
		tc := newScript(t)
		tc.recv(packet{seq: test.seq, payload: 1})
		tc.want("shortest multiple of 4", packet{typ: wire.State, ack: 0, sack: []int{test.seq}, size: wire.HeaderSize + 2 + test.length})
	}
}

// Bit i, lowest first in each byte, is ack_nr + 2 + i.
func TestRule05SackBits(t *testing.T) {
	tc := newScript(t)
	tc.recv(packet{seq: 2}, packet{seq: 4}, packet{seq: 9}, packet{seq: 10}, packet{seq: 35})
	require.Equal(t, []byte{0, 8, 0b1000_0101, 0b0000_0001, 0, 0, 0b0000_0010, 0, 0, 0}, tc.pending[0].bytes[wire.HeaderSize:])
	tc.want("one acknowledgement for the batch", packet{typ: wire.State, sack: []int{2, 4, 9, 10, 35}})
}

// To our own kind elements are chained, up to a datagram; and it understands them.
func TestRule05SackChain(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.recv(packet{seq: 2, payload: 1}, packet{seq: 5000, payload: 1})
		tc.want("252, 252 and 124 bytes", packet{
			typ: wire.State, ack: 0, sack: []int{2, 5000}, size: wire.HeaderSize + 3*2 + 628,
		})
		tc.widen()
		tc.recv(packet{seq: 20000, payload: 1})
		tc.want("no more than a datagram", packet{typ: wire.State, ack: 0, sack: []int{2, 5000}, size: atMost(BaseDatagram)})

		tc.conn.SetNoDelay(true)
		for range 3000 {
			tc.write(1)
		}
		tc.takeAll()
		tc.recv(packet{typ: wire.State, seq: 20001, ack: 0, ext: []extension{{1, make([]byte, 252)}, {1, []byte{0b11}}}})
		require.Equal(tc.t, 2998, tc.conn.Stats().FlightSize, "the second element begins where the first ends")
		require.True(tc.t, tc.conn.out.at(tc.base+2018).has(recordSacked))
		require.True(tc.t, tc.conn.out.at(tc.base+2019).has(recordSacked))
	}, ownKind)
}

// A SACK stands in a STATE, before any DATA: utp-punch takes an extension of
// DATA for payload, and full packets stay equally long.
func TestRule05SackTravelsAlone(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{seq: 2})
		tc.want("a gap", packet{typ: wire.State})
		tc.advance(rtt)
		tc.queue("x")
		tc.recv(packet{seq: 3})
		tc.want("the acknowledgement first", packet{typ: wire.State, ack: 0, sack: []int{2, 3}})
		tc.want("DATA without it", packet{typ: wire.Data, payload: "x", sack: []int{}})
		tc.advance(rtt)
		tc.recv(packet{seq: 5})
		tc.want("another gap", packet{typ: wire.State, ack: 0, sack: []int{2, 3, 5}})
		tc.queue("y")
		tc.recv(packet{seq: 1})
		tc.want("also when a part of the gaps is filled", packet{typ: wire.State, ack: 3, sack: []int{5}})
		tc.want("DATA without it", packet{typ: wire.Data, payload: "y", sack: []int{}})
	})
}

// "FIN re-sent promptly after gap repair."
func TestRule07FinFollowsGapRepair(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		tc.write("one")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.write("two")
		tc.lose("DATA, which is lost", packet{typ: wire.Data, seq: 2})
		tc.write("three")
		tc.want("DATA", packet{typ: wire.Data, seq: 3})
		tc.closeWrite()
		tc.lose("the FIN arrives ahead of the gap, and is forgotten", packet{typ: wire.Fin, seq: 4})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, sack: []int{3}})
		tc.wantAfter(rtt/4, "the gap is repaired", packet{typ: wire.Data, seq: 2, payload: "two"})
		if !tc.ownKind {
			tc.want("and the FIN repeated at once", packet{typ: wire.Fin, seq: 4})
		}
		tc.wantNothing("our own kind keeps a FIN that is ahead of a gap")
	})
}

// "Linger a few seconds to ack the peer's FIN."
func TestRule07FinIsAcknowledgedAgain(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.close()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.Fin})
		tc.wantStateAfterFin("FIN is acknowledged", 1)
		tc.wantReason("both have ended", Finished)
		tc.advance(4 * time.Second)
		require.Greater(t, tc.tomb.Expires, tc.now)
		tc.recv(packet{typ: wire.Fin, seq: 1})
		tc.wantStateAfterFin("that acknowledgement was lost", 1)
		for _, seq := range []int{-1, 0, 1, 2, 3} {
			tc.recv(packet{typ: wire.State, seq: seq}, packet{typ: wire.Reset, seq: seq})
		}
		tc.recv(packet{seq: 2}, packet{typ: wire.Fin, seq: 2}, packet{seq: 1, ack: 2})
		tc.wantNothing("nothing else is answered, and nothing that is not of this connection")
		require.LessOrEqual(t, tc.tomb.Expires, tc.now.Add(time.Second), "the tombstone stands for 5 s")
	})
}

// "Quiet give-up": the FIN is repeated as long as the connection lingers, and at
// least four times, then the peer is told.
func TestRule07QuietGiveUp(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.close()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		tc.wantAfter(500*time.Millisecond, "timeout", packet{typ: wire.Fin, seq: 1})
		tc.wantAfter(time.Second, "with back-off", packet{typ: wire.Fin, seq: 1})
		tc.wantAfter(2*time.Second, "with back-off", packet{typ: wire.Fin, seq: 1})
		tc.wantAfter(4*time.Second, "although 5 s have passed since close", packet{typ: wire.Fin, seq: 1})
		tc.wantReason("lingering", NotClosed)
		require.False(t, tc.conn.Undelivered(), "not yet")
		tc.wantAfter(500*time.Millisecond, "the last one was not acknowledged either", packet{typ: wire.Reset, seq: 1, ack: 0})
		tc.wantReason("the FIN was never acknowledged", TimedOut)
		require.False(t, tc.conn.Undelivered(), "as that of others may be")
	})
}

// "Keepalive STATE <= 29 s idle": with ack_nr - 1, as libutp's.
func TestRule08KeepAlive(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		for range 3 {
			tc.wantAfter(25*time.Second, "after 25 s of silence", packet{typ: wire.State, seq: 1, ack: -1})
		}
		tc.recv(packet{}, packet{})
		tc.want("not part of this", packet{typ: wire.State, ack: 2})
		tc.wantAfter(25*time.Second, "since the last packet of ours", packet{typ: wire.State, seq: 1, ack: 1})
		tc.advance(10 * time.Second)
		tc.recv(packet{typ: wire.State})
		tc.wantAfter(15*time.Second, "what the peer sends keeps no mapping of our NAT alive", packet{typ: wire.State, seq: 1, ack: 1})
	})
}
