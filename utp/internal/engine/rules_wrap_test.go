package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// The sequence space has 65,536 numbers, which pass in 30 ms at full speed, and
// uTP has no PAWS: a duplicate delayed by exactly one wrap has the number that is
// expected next.

func TestWrapDuplicateIsDropped(t *testing.T) {
	tc := newScript(t, acceptor)
	const (
		turn  = 1 << 16
		total = turn + 2964 // a multiple of 500
	)
	var old [][]byte
	for n := 1; n <= total; n++ {
		b := tc.build(packet{payload: string(rune('a' + n%26))})
		if n > total-turn && n <= total-turn+8 {
			old = append(old, b)
		}
		tc.handIn(b)
		if n%500 == 0 {
			tc.advance(250 * time.Microsecond)
			tc.flush()
			tc.takeAll()
			tc.read(500)
		}
	}
	before := tc.conn.Stats()
	for _, b := range old {
		tc.handIn(b)
	}
	tc.flush()
	tc.wantNothing("one-byte segments of the last turn, whose numbers are the next that are expected")
	require.EqualValues(t, before.Invalid+8, tc.conn.Stats().Invalid)
	tc.recv(packet{payload: "new"})
	tc.read(3)
	tc.advance(25 * time.Millisecond)
	tc.want("the stream goes on", packet{typ: wire.State, ack: total + 1, sack: []int{}})
}

// "Ignore ack, SACK and window from packets older than the newest by over a
// quarter of the clock's wrap."
func TestWrapStaleAckIsIgnored(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{}, packet{})
		tc.want("not part of this", packet{typ: wire.State})
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		old := int(tc.now.Add(tc.peerClock).timestamp() - 1<<30 - 1)
		tc.recv(packet{typ: wire.State, ack: 1, window: 7, timestamp: int(uint32(old))})
		require.Equal(tc.t, 1, tc.conn.Stats().FlightSize, "from the last turn of the numbers")
		require.Equal(tc.t, tc.peerWindow, tc.conn.Stats().PeerWindow)
		tc.recv(packet{typ: wire.State, ack: 1, window: 70000, timestamp: int(uint32(old + 1))})
		require.Equal(tc.t, 0, tc.conn.Stats().FlightSize, "slow, but of this turn")
	})
}

// "Re-base after one RTO of nothing else": the peer's clock was set back.
func TestWrapClockSetBack(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{}, packet{})
		tc.want("not part of this", packet{typ: wire.State})
		tc.peerClock -= 30 * time.Minute
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
		require.Equal(tc.t, 1, tc.conn.Stats().FlightSize, "the acknowledgement seems to be old")
		rto := tc.conn.Stats().RTO
		tc.wantAfter(rto-rtt, "so the packet is sent again", packet{typ: wire.Data, seq: 1})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
		require.Equal(tc.t, 0, tc.conn.Stats().FlightSize, "there is no other clock: this is it")
		tc.recv(packet{}, packet{})
		tc.want("DATA is taken as well", packet{typ: wire.State, ack: 4})
	})
}

// A peer that was silent for long has turned its clock meanwhile: what it says is
// not old.
func TestWrapSilence(t *testing.T) {
	for _, silent := range []time.Duration{17, 18, 25, 36, 50, 71, 72, 110, 1000} {
		everyRole(t, func(tc *testConn) {
			tc.recv(packet{}, packet{})
			tc.want("not part of this", packet{typ: wire.State})
			tc.advance(silent * time.Minute)
			tc.write("x")
			tc.want("DATA", packet{typ: wire.Data, seq: 1})
			tc.advance(rtt)
			tc.recv(packet{typ: wire.State})
			require.True(tc.t, tc.conn.Flushed(), "after %d minutes", silent)
		}, noKeepAlive)
	}
}

// Nor is what belongs to a stream so slow that the clock turns faster than the
// numbers.
func TestWrapSlowStream(t *testing.T) {
	tc := newScript(t, acceptor, noKeepAlive)
	for range 400 {
		batch := make([]packet, 100)
		for i := range batch {
			batch[i].payload = 1
		}
		tc.recv(batch...)
		tc.read(100)
		tc.want("taken", packet{typ: wire.State, ack: tc.peerNext - 1})
		tc.advance(8 * time.Second) // half a turn of the numbers takes 44 minutes
	}
	require.Zero(t, tc.conn.Stats().Invalid)
}

// One byte a packet, in both directions, across the wrap of the numbers on the
// wire: with gaps, selective acknowledgements and a FIN at 65535 and 0.
func TestWrapEverythingAt65535(t *testing.T) {
	for start := wire.SeqNr(65526); start != 2; start++ {
		t.Run(fmt.Sprint(start), func(t *testing.T) {
			everyPeer(t, wrapScript, startAt(start, start))
		})
	}
}

func wrapScript(tc *testConn) {
	tc.conn.SetNoDelay(true)
	for i := range 5 {
		tc.write(1)
		tc.lose("DATA", packet{typ: wire.Data, seq: 1 + i})
		tc.recv(packet{seq: i + 2, payload: 1, ack: 0})
		tc.want("a gap", packet{typ: wire.State, seq: 2 + i, ack: 0})
	}
	tc.recv(packet{seq: 1, payload: 1, ack: 0})
	tc.want("the gap is filled", packet{typ: wire.State, seq: 6, ack: 6, sack: []int{}})
	tc.read(6)
	tc.advance(rtt)
	tc.recv(packet{typ: wire.State, ack: 1, sack: []int{3, 5}})
	tc.wantAfter(rtt/4, "gaps are filled", packet{typ: wire.Data, seq: 2})
	tc.want("both", packet{typ: wire.Data, seq: 4})
	tc.recv(packet{typ: wire.State, ack: 5})
	require.True(tc.t, tc.conn.Flushed())
	tc.closeWrite()
	tc.want("FIN", packet{typ: wire.Fin, seq: 6})
	tc.recv(packet{typ: wire.Fin, seq: 7, ack: 6})
	tc.wantStateAfterFin("theirs is acknowledged", 7)
	tc.wantReason("both have ended", Finished)
	tc.wantEOF("in good order", true)
}
