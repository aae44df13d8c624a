package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// Peers that behave as transmission does, which builds an older libutp: the rows
// of the dossier's table 7.2.

// On our FIN it stops sending, drops what it has queued, never sends a FIN, and
// is gone within 60 ms.
func TestQuirkT1NeverEndsItsStream(t *testing.T) {
	gone := func(tc *testConn) packet {
		_, send := tc.conn.ConnIDs()
		return packet{typ: wire.Reset, id: int(send), seq: 4711, ack: tc.next - 1, timestamp: 0, window: 0}
	}
	everyRole(t, func(tc *testConn) {
		tc.recv(packet{payload: "half of"})
		tc.closeWrite()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1, ack: 1})
		tc.recv(packet{typ: wire.State})
		tc.advance(60 * time.Millisecond)
		tc.recv(gone(tc))
		tc.wantReason("its way of ending", Finished)
		tc.read(7)
		tc.wantEOF("with what it had sent", true)
	})
	everyRole(t, func(tc *testConn) {
		tc.closeWrite()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		tc.recv(gone(tc))
		tc.wantReason("the acknowledgement was lost", Finished)
	})
	everyRole(t, func(tc *testConn) {
		tc.write("lost")
		tc.closeWrite()
		tc.loseAll()
		tc.recv(gone(tc))
		tc.wantReason("not all of ours arrived: that is no clean end", ResetByPeer)
	})
	everyRole(t, func(tc *testConn) {
		tc.close()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		tc.recv(packet{typ: wire.State})
		tc.advance(5 * time.Second)
		tc.wantReason("its RESET was lost: no FIN is awaited for ever", Finished)
	})
}

// It limits its speed by not reading: the window closes again and again.
func TestQuirkT4WindowClosesOften(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.write(60000)
		tc.takeAll()
		for range 30 {
			tc.advance(rtt)
			tc.recv(packet{typ: wire.State, seq: 1, window: 0})
			tc.advance(100 * time.Millisecond)
			tc.wantNothing("closed")
			tc.recv(packet{typ: wire.State, seq: 1, window: 4 * full})
			sent := tc.takeAll()
			if tc.conn.Flushed() {
				break
			}
			require.NotEmpty(tc.t, sent, "used at once")
			require.LessOrEqual(tc.t, len(sent), 4)
		}
		tc.recv(packet{typ: wire.State})
		require.True(tc.t, tc.conn.Flushed())
		require.EqualValues(tc.t, 0, tc.conn.Stats().Retransmits)
	}, noProbe)
}

// Over its limit it forgets a connection that it has just accepted: our next
// packet is answered by a RESET.
func TestQuirkT5ForgetsWhatItAccepted(t *testing.T) {
	tc := newScript(t, unconnected)
	tc.want("SYN", packet{typ: wire.Syn})
	tc.recv(packet{typ: wire.State})
	tc.want("the STATE after the SYN-ACK", packet{typ: wire.State, id: 1001, seq: 1})
	tc.recv(packet{typ: wire.Reset, id: 1001, ack: 1, seq: 5, timestamp: 0, window: 0})
	tc.wantReason("known after one round trip, not a timeout", ResetByPeer)
}
