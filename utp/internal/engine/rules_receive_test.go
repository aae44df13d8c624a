package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// "Validate, in order: …; lookup by (addr, id); ack window; seq window; only then
// timestamps, window, RTT." A packet that fails leaves no trace.
func TestRule09InvalidPacketsLeaveNoTrace(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		tc.write("1")
		tc.write("2")
		tc.want("DATA", packet{typ: wire.Data, seq: 1}, packet{typ: wire.Data, seq: 2})
		tc.advance(rtt)
		tc.recv(packet{}, packet{})
		tc.want("not part of this", packet{typ: wire.State, ack: 2})
		tc.write("3")
		tc.lose("outstanding", packet{typ: wire.Data, seq: 3})
		tc.advance(rtt)
		far := 3 + reorderCap
		if tc.ownKind {
			far = 3 + reorderCapOwnKind
		}
		trace := func() (Stats, guard, Time, uint32) {
			s := tc.conn.Stats()
			s.PacketsReceived, s.Invalid = 0, 0
			return s, tc.conn.guard, tc.conn.PollTimeout(), tc.conn.echoDiff
		}
		stats, guard, timer, diff := trace()
		for i, p := range []packet{
			{ack: 4},     // never sent
			{ack: 5000},  //
			{ack: 30000}, //
			{ack: -4},    // older than all that was outstanding at a time, and 3 more
			{ack: -9000}, //
			{seq: far},   // further ahead than we take
			{seq: 3 + 32768},
		} {
			for _, p.typ = range []wire.Type{wire.Data, wire.Fin, wire.State} {
				p.window, p.diff, p.timestamp = 1, 1, 1 // would be seen
				tc.recv(p)
				tc.wantNothing("no answer")
				s, g, at, d := trace()
				require.Equal(tc.t, stats, s, "packet %d", i)
				require.Equal(tc.t, guard, g, "packet %d", i)
				require.Equal(tc.t, timer, at, "packet %d", i)
				require.Equal(tc.t, diff, d, "packet %d", i)
			}
		}
		require.EqualValues(tc.t, 3*7, tc.conn.Stats().Invalid)
	})
}

// The same before the peer has proven its address: nothing but its
// confirmation touches the connection.
func TestRule09InvalidPacketsBeforeConfirmation(t *testing.T) {
	tc := newScript(t, acceptor, unconnected)
	tc.recv(packet{typ: wire.Syn})
	tc.want("SYN-ACK", packet{typ: wire.State})
	ahead := int(tc.now.Add(tc.peerClock + 20*time.Minute).timestamp()) // over a quarter of the clock's wrap
	for _, ack := range []int{1, -2, -3, -4, 500} {
		tc.recv(packet{typ: wire.State, ack: ack, timestamp: ahead, window: 1})
	}
	tc.recv(packet{typ: wire.State, window: 5000})
	require.True(t, tc.conn.Connected())
	require.Equal(t, 5000, tc.conn.Stats().PeerWindow, "the genuine packet is not taken for an old one")
}

// While dialling, nothing but the SYN-ACK connects.
func TestRule09OnlyTheSynAckConnects(t *testing.T) {
	tc := newScript(t, unconnected)
	tc.want("SYN", packet{typ: wire.Syn})
	for _, p := range []packet{
		{typ: wire.State, ack: -1}, {typ: wire.State, ack: 1}, {typ: wire.State, ack: 3000},
		{typ: wire.Data}, {typ: wire.Fin}, // the stream begins elsewhere
		{typ: wire.Reset, ack: 1}, {typ: wire.Reset, ack: -7},
	} {
		tc.recv(p)
		tc.wantNothing("not an answer to this SYN")
		tc.wantReason("still dialling", NotClosed)
	}
	tc.peerNext = 1 // it sent no DATA after all
	tc.recv(packet{typ: wire.State})
	tc.want("this one is", packet{typ: wire.State, seq: 1, ack: 0})
}

// "Accept: SACK any length; unknown ext", on any packet.
func TestRule10AnyExtension(t *testing.T) {
	mask := func(n int) []byte {
		b := make([]byte, n)
		b[0] = 1 // ack_nr + 2
		return b
	}
	long := make([]extension, 31, 32)
	for i := range long {
		long[i] = extension{byte(100 + i), []byte{1, 2, 3}}
	}
	chains := map[string][]extension{
		"1 byte":            {{1, mask(1)}},
		"3 bytes":           {{1, mask(3)}},
		"4 bytes":           {{1, mask(4)}},
		"5 bytes":           {{1, mask(5)}},
		"255 bytes":         {{1, mask(255)}},
		"after an unknown":  {{3, make([]byte, 4)}, {1, mask(4)}},
		"before an unknown": {{1, mask(4)}, {200, nil}, {3, make([]byte, 9)}},
		"after Hello":       {{2, make([]byte, 8)}, {1, mask(4)}},
		"last of many":      append(long, extension{1, mask(2)}),
	}
	for name, chain := range chains {
		for _, typ := range []wire.Type{wire.Data, wire.Fin, wire.State} {
			t.Run(fmt.Sprintf("%s on %v", name, typ), func(t *testing.T) {
				tc := newScript(t)
				tc.conn.SetNoDelay(true)
				tc.write("lost")
				tc.lose("a gap", packet{typ: wire.Data, seq: 1})
				tc.write("arrives")
				tc.want("after it", packet{typ: wire.Data, seq: 2})
				tc.recv(packet{typ: typ, ext: chain})
				require.Equal(t, len("lost"), tc.conn.Stats().FlightSize, "number 2 was acknowledged")
				tc.advance(25 * time.Millisecond)
				tc.takeAll()
				require.EqualValues(t, 0, tc.conn.Stats().Invalid)
			})
		}
	}
}

// A mask is believed only as far as we have sent, however long it is.
func TestRule10NonsenseInSack(t *testing.T) {
	all := make([]byte, 255)
	for i := range all {
		all[i] = 0xff
	}
	everyPeer(t, func(tc *testConn) {
		tc.write("x")
		tc.lose("DATA", packet{typ: wire.Data, seq: 1})
		tc.recv(packet{typ: wire.State, ext: []extension{{1, nil}}}, packet{typ: wire.State, ext: []extension{{1, all}, {1, all}, {1, all}}})
		require.Equal(tc.t, 1, tc.conn.Stats().FlightSize, "number 1 cannot be acknowledged selectively")
		tc.recv(packet{typ: wire.State, ack: 1, ext: []extension{{1, all}}})
		require.True(tc.t, tc.conn.Flushed())
		tc.write("y")
		tc.want("and life goes on", packet{typ: wire.Data, seq: 2})
	})
}

// "Accept: keepalive ack-1": neither a duplicate acknowledgement nor stale.
func TestRule10KeepAlive(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.write("x")
		tc.lose("DATA", packet{typ: wire.Data, seq: 1})
		for range 5 {
			tc.advance(time.Millisecond)
			tc.recv(packet{typ: wire.State, ack: -1})
		}
		tc.wantNothing("five of them cause no fast retransmission")
		require.EqualValues(tc.t, 0, tc.conn.Stats().Invalid)
	})
}

// "Duplicate acks are counted only on ST_STATE" (section 3); three of them are a
// loss, to those that do not acknowledge selectively.
func TestRule10DuplicateAcks(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write("1")
		tc.lose("DATA", packet{typ: wire.Data, seq: 1})
		for i := range 5 {
			tc.advance(time.Millisecond)
			tc.recv(packet{ack: 0, payload: 1})
			tc.advance(time.Millisecond)
			tc.recv(packet{ack: 0, payload: 1})
			tc.want("DATA is no duplicate acknowledgement", packet{typ: wire.State, ack: 2*i + 2})
		}
		for range 2 {
			tc.advance(time.Millisecond)
			tc.recv(packet{typ: wire.State, ack: 0}, packet{typ: wire.State, ack: 0})
			tc.wantNothing("what was said at one instant counts once")
		}
		tc.advance(time.Millisecond)
		tc.recv(packet{typ: wire.State, ack: 0})
		if !tc.ownKind {
			tc.want("the third", packet{typ: wire.Data, seq: 1})
		}
		for range 5 {
			tc.advance(time.Millisecond)
			tc.recv(packet{typ: wire.State, ack: 0})
		}
		tc.wantNothing("once a round trip, and never to our own kind, which has better means")
	})
}

// "Accept: STATE with seq == FIN.seq or FIN.seq+1."
func TestRule10StateAfterTheirFin(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{typ: wire.Fin})
		tc.want("FIN is acknowledged", packet{typ: wire.State, ack: 1})
		tc.conn.SetNoDelay(true)
		tc.write("x")
		tc.write("y")
		tc.want("we may go on", packet{typ: wire.Data, seq: 1}, packet{typ: wire.Data, seq: 2})
		tc.recv(packet{typ: wire.State, seq: 1, ack: 1})
		require.Equal(tc.t, 1, tc.conn.Stats().FlightSize, "with the FIN's number, as libtorrent")
		tc.recv(packet{typ: wire.State, seq: 2, ack: 2})
		require.Equal(tc.t, 0, tc.conn.Stats().FlightSize, "with the next, as libutp")
	})
}

// "Accept: dup SYN (re-send SYN-ACK with S)": each is answered once.
func TestRule10DuplicateSyn(t *testing.T) {
	for name, hello := range map[string]bool{"foreign": false, "own": true} {
		t.Run(name, func(t *testing.T) {
			tc := newScript(t, acceptor, unconnected)
			synAck := packet{typ: wire.State, seq: 1, ack: 0, hello: hello}
			for range 3 {
				tc.recv(packet{typ: wire.Syn, hello: hello})
				tc.want("SYN-ACK", synAck)
			}
			tc.recv(packet{typ: wire.State})
			tc.recv(packet{typ: wire.Syn, hello: hello})
			tc.wantNothing("a SYN that was long under way")
			require.True(t, tc.conn.Connected())
		})
	}
}

// "Accept: FIN before gap filled."
func TestRule10FinAheadOfGap(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{payload: "one"})
		tc.recv(packet{typ: wire.Fin, seq: 3})
		tc.want("the FIN is kept", packet{typ: wire.State, ack: 1, sack: []int{3}})
		tc.read(3)
		tc.wantEOF("the stream is not complete", false)
		tc.recv(packet{seq: 4}, packet{seq: 900})
		tc.wantNothing("nothing comes after a FIN")
		tc.recv(packet{seq: 2, payload: "two"})
		tc.want("the gap is filled", packet{typ: wire.State, ack: 3, sack: []int{}})
		tc.wantEOF("there are bytes to read", false)
		tc.read(3)
		tc.wantEOF("all was read", true)
	})
}

// "RST: id check (receive or send id) and ack in [oldest unacked − 3, next
// unsent]"; its seq_nr is ignored.
func TestRule11ResetRange(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		t := tc.t
		for ack := -3; ack <= 9; ack++ {
			valid := ack >= 0 && ack <= 6
			for _, id := range []int{0, 1} {
				tc := tc.again(t)
				tc.conn.SetNoDelay(true)
				for i := range 5 {
					tc.write(1)
					tc.want("DATA", packet{typ: wire.Data, seq: 1 + i})
				}
				tc.recv(packet{typ: wire.State, ack: 2}) // oldest unacknowledged is 3, next unsent 6
				tc.recv(packet{typ: wire.Reset, id: int(tc.connID) + id, ack: ack, seq: 12345 * ack})
				reason := NotClosed
				if valid {
					reason = ResetByPeer
				}
				tc.wantReason(fmt.Sprintf("RESET with ack %d, id +%d", ack, id), reason)
				require.Equal(t, !valid, tc.conn.Stats().Invalid == 1)
			}
		}
	})
}

// again begins another script like tc.
func (tc *testConn) again(t *testing.T) *testConn {
	return newScript(t, func(x *testConn) { x.acceptor, x.ownKind = tc.acceptor, tc.ownKind })
}

// "In SYN_SENT = refused."
func TestRule11ResetWhileDialling(t *testing.T) {
	tc := newScript(t, unconnected)
	tc.want("SYN", packet{typ: wire.Syn})
	tc.recv(packet{typ: wire.Reset, ack: 0, seq: 4711})
	tc.wantReason("what answers our SYN", Refused)
}

// A RESET from an initiator that gave up: it may not have heard our numbers, but
// knows its own.
func TestRule11ResetBeforeConfirmation(t *testing.T) {
	for _, test := range []struct {
		seq, ack int
		valid    bool
	}{
		{1, 20000, true}, {1, 0, true}, {77, 0, true}, {77, 1, true}, {77, -2, true},
		{77, -3, false}, {77, 2, false}, {2, 20000, false},
	} {
		tc := newScript(t, acceptor, unconnected)
		tc.recv(packet{typ: wire.Syn})
		tc.want("SYN-ACK", packet{typ: wire.State})
		tc.recv(packet{typ: wire.Reset, seq: test.seq, ack: test.ack})
		reason := NotClosed
		if test.valid {
			reason = ResetByPeer
		}
		tc.wantReason(fmt.Sprintf("seq %d, ack %d", test.seq, test.ack), reason)
	}
}

// "Enforce own window (+1 packet)."
func TestRule12Window(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		const size = 1382 // libutp's
		batch := make([]packet, initialWindow/size+1)
		for i := range batch {
			batch[i].payload = size
		}
		tc.recv(batch...)
		tc.want("the packet that goes beyond the window is taken", packet{typ: wire.State, ack: len(batch), window: 0})
		tc.recv(packet{payload: size})
		tc.wantNothing("a second one is not, and not acknowledged")
		require.EqualValues(tc.t, 1, tc.conn.Stats().BeyondWindow)
		tc.advance(time.Second)
		tc.recv(packet{seq: len(batch) + 1})
		tc.wantAfter(25*time.Millisecond, "one a second is: a zero-window probe", packet{typ: wire.State, ack: len(batch) + 1, window: 0})
		for range 200 {
			tc.advance(time.Second)
			tc.recv(packet{payload: size})
			tc.takeAll()
		}
		require.LessOrEqual(tc.t, tc.conn.Readable(), 2*initialWindow, "and not for ever")
	}, noKeepAlive)
}

// The window counts what is ahead of a gap too: it need not be promised twice.
func TestRule12WindowAheadOfGap(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{seq: 2, payload: 1000}, packet{seq: 3, payload: 1000})
		tc.want("the window shrinks by what is held", packet{typ: wire.State, ack: 0, window: initialWindow - 2000})
		tc.recv(packet{seq: 1, payload: 1000})
		tc.want("once", packet{typ: wire.State, ack: 3, window: initialWindow - 3000})
		tc.recv(packet{seq: 1}, packet{seq: 2}, packet{seq: 3})
		tc.want("duplicates do not count", packet{typ: wire.State, ack: 3, window: initialWindow - 3000})
	})
}

// "And reorder cap (1024 packets …)", 32,767 for our own kind.
func TestRule12ReorderCap(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		last := 1024 // 1 is missing
		if tc.ownKind {
			last = 32767
			tc.widen()
		}
		tc.recv(packet{seq: last + 1, payload: 1})
		tc.wantNothing("too far ahead")
		tc.recv(packet{seq: last, payload: 1})
		tc.want("the last that is taken", packet{typ: wire.State, ack: 0})
		require.EqualValues(tc.t, 1, tc.conn.Stats().OutOfOrder)
	})
}

// widen makes the receive window large enough that its memory is no limit.
func (tc *testConn) widen() {
	c := tc.conn
	c.params.Memory.Reserve(1<<20-c.window.limit, true)
	c.window.limit = 1 << 20
}

// A single packet that is far ahead must not cost more than the window is worth.
func TestRule12ReorderRing(t *testing.T) {
	tc := newScript(t, ownKind)
	tc.recv(packet{seq: 20000, payload: 1})
	tc.wantNothing("its slot would be in a ring of half a megabyte")
	require.EqualValues(t, 1, tc.conn.Stats().BeyondWindow)
	tc.recv(packet{seq: 8000, payload: 1})
	tc.want("its ring is small enough", packet{typ: wire.State, ack: 0})
}

// "(… and bytes)": a slot is charged its memory, not its payload. What was
// acknowledged is kept.
func TestRule12ReorderMemory(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		batch := make([]packet, 1000)
		for i := range batch {
			batch[i] = packet{seq: 2 + i, payload: 1}
		}
		tc.recv(batch...)
		held := tc.pending[0].sack()
		tc.want("one acknowledgement", packet{typ: wire.State, ack: 0})
		require.Len(tc.t, held, tc.conn.ahead.count)
		require.LessOrEqual(tc.t, tc.conn.ahead.count*MinChunk, 2*initialWindow+overshootLimit)
		require.Greater(tc.t, len(held), 50)
		tc.recv(packet{seq: 1, payload: 1})
		tc.want("all that was acknowledged is there", packet{typ: wire.State, ack: len(held) + 1, sack: []int{}})
		tc.read(len(held) + 1)
	})
}
