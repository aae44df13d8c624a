package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// Peers that behave as librqbit-utp does: the rows of the dossier's table 7.4.

// It sends one SYN, with window 0, and takes the answer by its ack_nr, and the id
// from it.
func TestQuirkR1SynAckIsMatchedByAck(t *testing.T) {
	tc := newScript(t, acceptor, unconnected)
	tc.recv(packet{typ: wire.Syn, window: 0})
	tc.want("the right id, first and only", packet{typ: wire.State, id: 1000, seq: 1, ack: 0})
	tc.wantNothing("no other answer")
	tc.recv(packet{typ: wire.State})
	tc.write("server speaks first")
	tc.want("the window 0 was none", packet{typ: wire.Data, seq: 1})
}

// Its SYN-ACK comes every 200 ms until it is answered, five times.
func TestQuirkR2SynAckEvery200ms(t *testing.T) {
	tc := newScript(t, unconnected)
	tc.want("SYN", packet{typ: wire.Syn})
	tc.recv(packet{typ: wire.State})
	tc.lose("STATE", packet{typ: wire.State})
	for range 4 {
		tc.advance(200 * time.Millisecond)
		tc.loseAll() // our own repetition at 0.3 s
		tc.recv(packet{typ: wire.State, seq: 1, ack: 0})
		tc.lose("each is answered", packet{typ: wire.State, seq: 1, ack: 0})
	}
}

// It is confirmed by S - 1 exactly.
func TestQuirkR3ConfirmationIsExact(t *testing.T) {
	tc := newScript(t, unconnected)
	tc.want("SYN", packet{typ: wire.Syn})
	tc.recv(packet{typ: wire.State})
	tc.advance(4 * time.Second)
	for _, d := range tc.loseAll() {
		require.Equal(t, 0, d.ack, "no keepalive with one less")
	}
	tc.write("x")
	tc.want("DATA as well", packet{typ: wire.Data, seq: 1, ack: 0})
}

// It answers a FIN with its own at once, and drops what it had to send.
func TestQuirkR4FinForFin(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.recv(packet{payload: "half of"})
		tc.closeWrite()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1, ack: 1})
		tc.recv(packet{typ: wire.Fin})
		tc.wantStateAfterFin("acknowledgement", 2)
		tc.wantReason("both have ended", Finished)
		tc.read(7)
		tc.wantEOF("there is no more", true)
	})
}

// It takes a FIN only in order.
func TestQuirkR4FinOnlyInOrder(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		tc.write("1")
		tc.lose("DATA", packet{typ: wire.Data, seq: 1})
		for i := range 3 {
			tc.write("more")
			tc.want("DATA", packet{typ: wire.Data, seq: 2 + i})
		}
		tc.closeWrite()
		tc.lose("FIN: dropped", packet{typ: wire.Fin, seq: 5})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, sack: []int{2, 3, 4}})
		tc.want("the gap is repaired, and the FIN repeated", packet{typ: wire.Data, seq: 1}, packet{typ: wire.Fin, seq: 5})
	})
}

// It takes our acknowledgement of its FIN for our FIN: its reader is gone, and
// what we still send is never acknowledged. It sends no RESET (R9).
func TestQuirkR5AckOfItsFinIsTakenForOurs(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.recv(packet{typ: wire.Fin})
		tc.want("acknowledgement", packet{typ: wire.State, ack: 1})
		tc.write("into the void")
		tc.advance(59 * time.Second)
		tc.wantReason("it might be slow", NotClosed)
		tc.advance(time.Second)
		tc.loseAll()
		tc.wantReason("we find out ourselves", TimedOut)
	}, noKeepAlive)
}

// Its own timeout is 200 ms, and it is gone after 10 s with something
// unacknowledged: no acknowledgement may wait long, whatever else happens.
func TestQuirkR8AcksAreQuick(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.write(tc.conn.Writable()) // we are busy sending, too
		tc.loseAll()
		for n := 1; n <= 30; n++ {
			tc.recv(packet{payload: 500})
			tc.advance(25 * time.Millisecond)
			acked := 0
			for _, d := range tc.loseAll() {
				acked = max(acked, d.ack)
			}
			require.Equal(tc.t, n, acked)
			tc.advance(60 * time.Millisecond)
			tc.loseAll()
		}
	})
}
