package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// Peers that behave as libtorrent does (qBittorrent, Deluge): the rows of the
// dossier's table 7.3.

// It sends one SYN, with window 0, and gives up after 3 s.
func TestQuirkL01OneSynWithWindowZero(t *testing.T) {
	tc := newScript(t, acceptor, unconnected)
	tc.recv(packet{typ: wire.Syn, window: 0})
	tc.lose("answered at once", packet{typ: wire.State})
	tc.wantAfter(300*time.Millisecond, "and again, as it will not ask again", packet{typ: wire.State})
	require.NotZero(t, tc.conn.Stats().PeerWindow, "zero means unknown here")
	tc.write("server speaks first")
	tc.recv(packet{payload: "hello"})
	tc.want("its first word confirms", packet{typ: wire.Data, seq: 1, ack: 1, payload: "server speaks first"})
}

// A DATA that completes its handshake loses its payload.
func TestQuirkL03FirstDataLosesItsPayload(t *testing.T) {
	tc := newScript(t, acceptor, unconnected)
	tc.recv(packet{typ: wire.Syn})
	tc.lose("SYN-ACK", packet{typ: wire.State})
	tc.write("precious")
	tc.advance(3 * time.Second)
	for _, d := range tc.loseAll() {
		require.Equal(t, wire.State, d.Type)
	}
}

// It dies after 4.5 s without acknowledgements: they do not wait for the
// application.
func TestQuirkL04AcksDoNotWaitForTheReader(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		for n := 1; n <= 40; n++ {
			tc.recv(packet{payload: 1000})
			tc.wantAfter(25*time.Millisecond, "nobody reads", packet{typ: wire.State, ack: n})
			tc.advance(50 * time.Millisecond)
		}
	})
}

// Its timeout is restarted by any packet of ours: while we stream, only duplicate
// acknowledgements make it repeat what is missing, three of them.
func TestQuirkL05TimeoutIsRestartedByAnyPacket(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		tc.recv(packet{seq: 2})
		tc.want("a gap", packet{typ: wire.State, ack: 0, sack: []int{2}})
		duplicates := 0
		for i := range 40 {
			tc.advance(50 * time.Millisecond)
			tc.write("stream")
			for _, d := range tc.takeAll() {
				if d.Type == wire.State {
					require.Equal(tc.t, []int{2}, d.sack())
					duplicates++
				}
			}
			if i < 30 {
				tc.recv(packet{typ: wire.State, seq: 3})
			}
		}
		require.GreaterOrEqual(tc.t, duplicates, 3, "in 2 s, during which we send every 50 ms")
		tc.recv(packet{seq: 1})
		tc.want("repaired", packet{typ: wire.State, ack: 2, sack: []int{}})
		tc.recv(packet{typ: wire.State})
		tc.advance(time.Minute)
		tc.wantNothing("and no more of it")
	}, noKeepAlive)
}

// The repetition ends by itself when the peer does not react; our own kind needs
// none, its timeout is its own.
func TestQuirkL05RepetitionEnds(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{seq: 2})
		tc.want("a gap", packet{typ: wire.State, sack: []int{2}})
		tc.advance(2 * time.Minute)
		all := tc.takeAll()
		if tc.ownKind {
			require.Empty(tc.t, all)
		} else {
			require.Len(tc.t, all, len(updateDelays))
		}
		tc.advance(time.Hour)
		tc.wantNothing("enough")
	}, noKeepAlive)
}

// Its selective acknowledgements have any number of bytes, on DATA and FIN too.
func TestQuirkL06SackOfOneByteOnData(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		for i := range 4 {
			tc.write(10)
			tc.want("DATA", packet{typ: wire.Data, seq: i + 1})
		}
		tc.recv(packet{ack: 0, ext: []extension{{1, []byte{0b01}}}, payload: "data"})
		tc.recv(packet{ack: 0, typ: wire.Fin, ext: []extension{{1, []byte{0b11}}}})
		require.Equal(tc.t, 20, tc.conn.Stats().FlightSize, "2 and 3 have arrived")
		tc.want("FIN is acknowledged", packet{typ: wire.State, ack: 2})
		tc.read(4)
		tc.wantEOF("the rest was read as usual", true)
	})
}

// A close reason may be the first extension, on anything.
func TestQuirkL07CloseReasonFirst(t *testing.T) {
	reason := []extension{{3, []byte{0, 0, 0, 15}}}
	everyRole(t, func(tc *testConn) {
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.recv(packet{typ: wire.State, ext: reason})
		require.True(tc.t, tc.conn.Flushed())
		tc.recv(packet{payload: "bye", ext: reason}, packet{typ: wire.Fin, ext: reason})
		tc.want("taken", packet{typ: wire.State, ack: 2})
		tc.read(3)
		tc.wantEOF("as usual", true)
	})
}

// Its FIN does not consume a number: what it sends afterwards has the FIN's.
func TestQuirkL08StatesAfterItsFinHaveItsNumber(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.recv(packet{typ: wire.Fin})
		tc.want("acknowledgement", packet{typ: wire.State, ack: 1})
		tc.write("last words")
		tc.close()
		tc.want("DATA and FIN", packet{typ: wire.Data, seq: 1}, packet{typ: wire.Fin, seq: 2})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, seq: 1, ack: 2})
		tc.wantReason("both are acknowledged", Finished)
	})
}

// After our FIN it ignores what is numbered above it.
func TestQuirkL09IgnoresNumbersAboveOurFin(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.closeWrite()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		heard := -1 // highest acknowledgement among packets that it looks at
		for i := range 6 {
			tc.recv(packet{})
			tc.advance(25 * time.Millisecond)
			for _, d := range tc.takeAll() {
				if d.seq <= 1 {
					heard = d.ack
				}
			}
			require.Equal(tc.t, 1+i, heard)
		}
		tc.recv(packet{typ: wire.Fin})
		for _, d := range tc.takeAll() {
			if d.seq <= 1 {
				heard = d.ack
			}
		}
		require.Equal(tc.t, 7, heard, "its FIN too")
		tc.wantReason("both have ended", Finished)
	})
}

// It takes the acknowledgement of its FIN from a STATE or FIN only.
func TestQuirkL10FinIsAcknowledgedByState(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		for range 2 {
			tc.queue("answer") // not sent yet when the FIN comes
			tc.recv(packet{payload: "question", seq: 1}, packet{typ: wire.Fin, seq: 2})
			tc.want("by itself, though there is DATA to take it along", packet{typ: wire.State, ack: 2})
			tc.want("which follows", packet{typ: wire.Data, ack: 2})
			tc.advance(rtt)
			tc.recv(packet{typ: wire.State, seq: 2})
		}
	})
}

// It forgets a FIN that arrived ahead of a gap; here the gap is repaired by a
// timeout.
func TestQuirkL11OutOfOrderFinIsForgotten(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.write("lost")
		tc.closeWrite()
		tc.lose("DATA", packet{typ: wire.Data, seq: 1})
		tc.lose("FIN: it arrives, and is forgotten", packet{typ: wire.Fin, seq: 2})
		tc.wantAfter(500*time.Millisecond, "timeout", packet{typ: wire.Data, seq: 1})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
		tc.want("no later than the acknowledgement of the repair", packet{typ: wire.Fin, seq: 2})
	})
}

// It never probes a closed window: it sends when it hears of a larger one.
func TestQuirkL13NeverProbesAClosedWindow(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.fillWindow(0)
		window, sent := 0, 0
		tc.read(initialWindow)
		for i, d := range tc.loseAll() {
			require.Zero(tc.t, i, "one update, which is lost")
			require.EqualValues(tc.t, initialWindow, d.Window)
		}
		for range 100 {
			tc.advance(10 * time.Millisecond)
			for _, d := range tc.takeAll() {
				window = int(d.Window)
			}
			for ; window >= full; window -= full {
				tc.recv(packet{payload: full})
				sent++
			}
		}
		require.GreaterOrEqual(tc.t, sent, initialWindow/full, "the transfer goes on")
	})
}

// It sends small packets at first, and larger ones later.
func TestQuirkL16PacketsGrow(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		total := 0
		for _, size := range []int{528, 528, 990, 528, 1221, 990, 1452, 1452} {
			tc.recv(packet{payload: size})
			total += size
		}
		tc.advance(25 * time.Millisecond)
		tc.takeAll()
		tc.read(total)
	})
}

// Where libutp would send a RESET it says nothing.
func TestQuirkL17Silence(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.write("is anybody there")
		tc.advance(60 * time.Second)
		all := tc.loseAll()
		require.Equal(tc.t, wire.Reset, all[len(all)-1].Type)
		tc.wantReason("we find out ourselves", TimedOut)
	}, noKeepAlive)
}

// Older versions answer a FIN with theirs at once.
func TestQuirkL18FinForFin(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.write("question")
		tc.closeWrite()
		tc.want("DATA and FIN", packet{typ: wire.Data, seq: 1}, packet{typ: wire.Fin, seq: 2})
		tc.recv(packet{payload: "some"}, packet{typ: wire.Fin})
		tc.wantStateAfterFin("acknowledgement", 2)
		tc.wantReason("both have ended", Finished)
		tc.read(4)
		tc.wantEOF("what it had sent is there", true)
	})
}

// Once its own FIN is acknowledged it is gone, and does not acknowledge ours.
func TestQuirkL17SilenceAfterItsFin(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.recv(packet{payload: "all"}, packet{typ: wire.Fin})
		tc.want("its FIN is acknowledged", packet{typ: wire.State, ack: 2})
		tc.read(3)
		rto := tc.conn.Stats().RTO
		tc.close()
		tc.lose("FIN", packet{typ: wire.Fin, seq: 1})
		tc.advance(rto)
		tc.lose("again", packet{typ: wire.Fin, seq: 1})
		tc.advance(2 * rto)
		tc.lose("and once more", packet{typ: wire.Fin, seq: 1})
		tc.advance(rto - time.Millisecond)
		tc.wantReason("there may be an answer", NotClosed)
		tc.advance(time.Millisecond)
		tc.want("for one that is not gone, and got none of these", packet{typ: wire.Reset})
		tc.wantReason("enough", Finished)
		require.False(tc.t, tc.conn.Undelivered())
	})
}

// As long as data is outstanding it is repeated as ever.
func TestQuirkL17SilenceWithDataOutstanding(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.recv(packet{typ: wire.Fin})
		tc.want("its FIN is acknowledged", packet{typ: wire.State, ack: 1})
		tc.write("and another thing")
		rto := tc.conn.Stats().RTO
		tc.close()
		tc.lose("DATA and FIN", packet{}, packet{typ: wire.Fin})
		tc.advance(7*rto + tc.params.Linger)
		tc.advance(16 * rto)
		require.GreaterOrEqual(tc.t, len(tc.loseAll()), lingerTimeouts)
		tc.wantReason("given up", TimedOut)
		require.True(tc.t, tc.conn.Undelivered())
	})
}
