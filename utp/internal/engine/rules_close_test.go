package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// Every way to end a connection, to our own kind and others.

func TestEndWeFirst(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write("bye")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.close()
		tc.want("FIN", packet{typ: wire.Fin, seq: 2, ack: 0})
		tc.close()
		tc.wantNothing("closing twice is closing once")
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
		tc.wantReason("the peer has not ended yet", NotClosed)
		tc.advance(rtt)
		tc.recv(packet{typ: wire.Fin})
		tc.wantStateAfterFin("the last word", 1)
		tc.wantReason("both have ended", Finished)
		require.NotNil(tc.t, tc.tomb)
		require.Zero(tc.t, tc.conn.PollTimeout())
	})
}

func TestEndTheyFirst(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{payload: "bye"}, packet{typ: wire.Fin})
		tc.want("acknowledgement", packet{typ: wire.State, seq: 1, ack: 2})
		tc.wantEOF("there is something to read", false)
		tc.read(3)
		tc.wantEOF("that was all", true)
		tc.close()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1, ack: 2})
		tc.wantReason("not acknowledged yet", NotClosed)
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
		tc.wantNothing("no more to say")
		tc.wantReason("both have ended", Finished)
		require.NotNil(tc.t, tc.tomb)
	})
}

// Both at once. The peer's acknowledgement carries the number of its FIN or the
// next, as implementations differ.
func TestEndBothAtOnce(t *testing.T) {
	for _, seq := range []int{1, 2} {
		everyPeer(t, func(tc *testConn) {
			tc.close()
			tc.want("FIN", packet{typ: wire.Fin, seq: 1, ack: 0})
			tc.recv(packet{typ: wire.Fin, seq: 1, ack: 0})
			tc.wantStateAfterFin("theirs is acknowledged", 1)
			tc.wantReason("ours is not", NotClosed)
			tc.advance(rtt)
			tc.recv(packet{typ: wire.State, seq: seq, ack: 1})
			tc.wantReason("now it is", Finished)
		})
	}
}

// Our FIN is acknowledged by theirs, which closes both at once.
func TestEndFinAcknowledgesFin(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.close()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		tc.recv(packet{typ: wire.Fin, ack: 1})
		tc.wantStateAfterFin("theirs is acknowledged", 1)
		tc.wantReason("both have ended", Finished)
	})
}

func TestEndHalfCloseByUs(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write("question")
		tc.closeWrite()
		tc.want("DATA and FIN", packet{typ: wire.Data, seq: 1}, packet{typ: wire.Fin, seq: 2})
		require.Zero(tc.t, tc.conn.Write([]byte("more")), "the stream has ended")
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
		tc.advance(time.Hour)
		tc.wantReason("half-closed is not closed", NotClosed)
		tc.recv(packet{payload: "long"}, packet{payload: " answer"})
		tc.wantStateAfterFin("DATA is taken", 2)
		tc.read(11)
		tc.recv(packet{typ: wire.Fin})
		tc.wantStateAfterFin("FIN too", 3)
		tc.wantEOF("all was read", true)
		tc.wantReason("both have ended", Finished)
	}, noKeepAlive)
}

func TestEndHalfCloseByThem(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{payload: "question"}, packet{typ: wire.Fin})
		tc.want("acknowledgement", packet{typ: wire.State, ack: 2})
		tc.advance(time.Hour)
		tc.wantReason("half-closed is not closed", NotClosed)
		tc.read(8)
		tc.write("answer")
		tc.want("we may go on", packet{typ: wire.Data, seq: 1, ack: 2})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
		tc.closeWrite()
		tc.want("until we end", packet{typ: wire.Fin, seq: 2, ack: 2})
		tc.recv(packet{typ: wire.State})
		tc.wantReason("both have ended", Finished)
	}, noKeepAlive)
}

// Nothing that was received is lost when both have ended, read or not.
func TestEndWithUnreadData(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.closeWrite()
		tc.want("FIN", packet{typ: wire.Fin})
		tc.recv(packet{payload: "late"}, packet{typ: wire.Fin})
		tc.wantStateAfterFin("acknowledgement", 2)
		tc.wantReason("both have ended", Finished)
		tc.wantEOF("there is something to read", false)
		tc.read(4)
		tc.wantEOF("that was all", true)
	})
}

// A RESET is a clean end once it can cost nothing: after both have ended, or when
// another implementation, which may not know how to half-close, forgets the
// connection after our FIN.
func TestEndResetInEachState(t *testing.T) {
	fin := packet{typ: wire.Fin}
	for _, test := range []struct {
		name         string
		theirFin     bool
		write, close bool
		acked        int // of ours
		foreign, own Reason
	}{
		{"idle", false, false, false, 0, ResetByPeer, ResetByPeer},
		{"data outstanding", false, true, false, 0, ResetByPeer, ResetByPeer},
		{"data acknowledged", false, true, false, 1, ResetByPeer, ResetByPeer},
		{"our FIN outstanding", false, false, true, 0, Finished, ResetByPeer},
		{"our FIN acknowledged", false, false, true, 1, Finished, ResetByPeer},
		{"data and FIN outstanding", false, true, true, 0, ResetByPeer, ResetByPeer},
		{"data acknowledged, FIN outstanding", false, true, true, 1, Finished, ResetByPeer},
		{"their FIN", true, false, false, 0, ResetByPeer, ResetByPeer},
		{"their FIN, data outstanding", true, true, false, 0, ResetByPeer, ResetByPeer},
		{"both FINs, ours outstanding", true, false, true, 0, Finished, Finished},
		{"both FINs, data outstanding", true, true, true, 0, ResetByPeer, ResetByPeer},
		{"both FINs, ours outstanding, data acknowledged", true, true, true, 1, Finished, Finished},
	} {
		t.Run(test.name, func(t *testing.T) {
			everyPeer(t, func(tc *testConn) {
				tc.recv(packet{payload: "heard"})
				if test.theirFin {
					tc.recv(fin)
				}
				if test.write {
					tc.write("said")
				}
				if test.close {
					tc.closeWrite()
				}
				tc.advance(25 * time.Millisecond)
				tc.takeAll()
				if test.acked > 0 {
					tc.recv(packet{typ: wire.State, ack: test.acked})
				}
				tc.recv(packet{typ: wire.Reset, ack: test.acked})
				reason := test.foreign
				if tc.ownKind {
					reason = test.own
				}
				tc.wantReason("RESET", reason)
				tc.wantNothing("a RESET is not answered")
				tc.read(5)
				tc.wantEOF("after what was received: the end, or the error", reason == Finished || test.theirFin)
				require.Zero(tc.t, tc.conn.Writable())
			})
		})
	}
}

// Nor is it clean while there is data that could not even be sent.
func TestEndResetBeforeDataWasSent(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.recv(packet{typ: wire.State, window: 0})
		tc.recv(packet{typ: wire.Fin, window: 0})
		tc.want("acknowledgement", packet{typ: wire.State, ack: 1})
		tc.write("y")
		tc.closeWrite()
		tc.wantNothing("the window is closed")
		tc.recv(packet{typ: wire.Reset})
		tc.wantReason("one byte was lost", ResetByPeer)
	})
}

// Our RESET has numbers that the peer accepts: libtorrent wants no more than its
// FIN's less one as ack_nr, and the number of our FIN.
func TestEndOurReset(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write("said")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.recv(packet{ack: 0}, packet{ack: 0})
		tc.want("acknowledgement", packet{typ: wire.State, ack: 2})
		tc.abort()
		tc.want("next unsent, last received", packet{typ: wire.Reset, seq: 2, ack: 2})
		tc.wantReason("by us", Aborted)
		require.Zero(tc.t, tc.conn.Readable())
		tc.advance(time.Hour)
		tc.wantNothing("it is said once")
	})
	everyPeer(t, func(tc *testConn) {
		tc.closeWrite()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		tc.recv(packet{typ: wire.Fin, ack: 0})
		tc.wantStateAfterFin("theirs", 1)
		tc.abort()
		if tc.ownKind {
			tc.want("FIN's number, last received", packet{typ: wire.Reset, seq: 1, ack: 1})
		} else {
			tc.want("FIN's number, last before theirs", packet{typ: wire.Reset, seq: 1, ack: 0})
		}
	})
}

// Close delivers what was written, even if what was received is left unread.
func TestEndUnreadDataAtClose(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{payload: 500}, packet{payload: 500})
		tc.want("acknowledgement", packet{typ: wire.State, ack: 2, window: initialWindow - 1000})
		tc.write("said")
		tc.lose("DATA", packet{typ: wire.Data, seq: 1})
		tc.close()
		tc.lose("FIN", packet{typ: wire.Fin, seq: 2})
		require.Zero(tc.t, tc.conn.Readable())
		tc.wantEOF("reading is over", true)
		rto := tc.conn.Stats().RTO
		tc.wantAfter(rto, "what is lost is repeated", packet{typ: wire.Data, seq: 1, payload: "said"})
		tc.recv(packet{typ: wire.State})
		tc.want("the FIN too", packet{typ: wire.Fin, seq: 2})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
		tc.recv(packet{typ: wire.Fin})
		tc.wantStateAfterFin("theirs", 3)
		tc.wantReason("nothing was lost", Finished)
	})
}

// Data that arrives after Close, while ours is under way, is acknowledged and
// thrown away: the window stays open, or the peer would never come to its FIN.
func TestEndDataAfterClose(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.close()
		tc.lose("FIN", packet{typ: wire.Fin, seq: 1})
		for range 100 {
			tc.recv(packet{payload: full, ack: 0}, packet{payload: full, ack: 0})
			for _, d := range tc.takeAll() {
				require.GreaterOrEqual(tc.t, d.Window, uint32(initialWindow/2))
				require.Equal(tc.t, tc.peerNext-1, d.ack)
			}
		}
		require.Zero(tc.t, tc.conn.Readable())
		tc.recv(packet{typ: wire.Fin, ack: 1})
		tc.wantStateAfterFin("theirs", 201)
		tc.wantReason("both have ended", Finished)
	})
}

// Data that arrives when all of ours was acknowledged: nobody will read it, and
// the peer should know.
func TestEndDataAfterCloseAndFlush(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.close()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		tc.recv(packet{typ: wire.State})
		tc.recv(packet{payload: 1})
		tc.want("like TCP", packet{typ: wire.Reset, seq: 1})
		tc.wantReason("by us", Aborted)
	})
}

// Reading can be closed by itself.
func TestEndCloseRead(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.fillWindow(0)
		tc.conn.CloseRead(tc.now)
		tc.flush()
		tc.want("there is room now", packet{typ: wire.State, window: initialWindow})
		tc.wantEOF("at once", true)
		tc.recv(packet{payload: full}, packet{payload: full})
		tc.want("what comes is thrown away", packet{typ: wire.State, window: atLeast(initialWindow - 2*full)})
		require.Zero(tc.t, tc.conn.Readable())
		tc.write("x")
		tc.want("writing goes on", packet{typ: wire.Data, seq: 1})
		tc.wantReason("open", NotClosed)
	})
}

func TestEndLostFin(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.closeWrite()
		tc.lose("FIN", packet{typ: wire.Fin, seq: 1})
		rto := tc.conn.Stats().RTO
		for range 4 {
			tc.advance(rto)
			tc.lose("again", packet{typ: wire.Fin, seq: 1})
			rto *= 2
		}
		tc.wantAfter(rto, "again", packet{typ: wire.Fin, seq: 1})
		tc.recv(packet{typ: wire.State})
		tc.advance(20 * time.Second)
		tc.wantNothing("acknowledged")
		require.True(tc.t, tc.conn.Flushed())
	})
}

// Slow progress after Close is progress: Linger counts from the last.
func TestEndLingerCountsFromProgress(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		for range 4 {
			tc.write(1)
		}
		tc.close()
		for ack := 1; ack <= 4; ack++ {
			tc.advance(4 * time.Second)
			tc.takeAll()
			tc.recv(packet{typ: wire.State, ack: ack})
			tc.wantReason("4 s ago another was acknowledged", NotClosed)
		}
		patience := 5 * time.Second
		if !tc.ownKind {
			patience = 8 * time.Second // 0.5 + 1 + 2 + 4 s, and 0.5 s for the last one's acknowledgement
		}
		tc.advance(patience - 1)
		tc.takeAll()
		tc.wantReason("the FIN is still missing", NotClosed)
		tc.advance(1)
		tc.want("given up", packet{typ: wire.Reset, seq: 5})
		tc.wantReason("given up", TimedOut)
	})
}

// After Linger what was written is still repeated, a few times, up to Timeout.
func TestEndLingerAllowsForSlowTimeouts(t *testing.T) {
	for _, x := range []struct {
		rtt, timeout time.Duration
		repeated     []float64 // seconds after Close
		givenUp      float64
	}{
		{100 * time.Millisecond, time.Minute, []float64{0.5, 1.5, 3.5, 7.5}, 8},
		{900 * time.Millisecond, time.Minute, []float64{2.7, 8.1, 18.9, 33.9}, 36.6}, // the timeout is at most 15 s
		{900 * time.Millisecond, 20 * time.Second, []float64{2.7, 8.1, 18.9}, 20},
		{900 * time.Millisecond, 4 * time.Second, []float64{2.7}, 4},
	} {
		tc := newScript(t, unconnected, with(func(p *Params) { p.Timeout, p.KeepAlive = x.timeout, 0 }))
		tc.want("dialling sends a SYN", packet{typ: wire.Syn})
		tc.advance(x.rtt)
		tc.recv(packet{typ: wire.State})
		tc.want("which is confirmed", packet{typ: wire.State})
		tc.conn.timers.stop(timerHandshake) // its repetition has tests of its own
		tc.conn.SetNoDelay(true)
		tc.write("x")
		tc.close()
		tc.lose("all is lost", packet{}, packet{typ: wire.Fin})
		closed := tc.now
		advanceTo := func(s float64) {
			at := closed.Add(time.Duration(s * float64(time.Second)))
			tc.advance(at.Sub(tc.now) - 1)
			tc.wantNothing("not earlier")
			tc.advance(1)
		}
		for _, at := range x.repeated {
			advanceTo(at)
			tc.lose("repeated", packet{payload: "x"})
			tc.loseAll()
		}
		tc.wantReason("lingering", NotClosed)
		advanceTo(x.givenUp)
		tc.want("given up", packet{typ: wire.Reset})
		tc.wantReason("given up", TimedOut)
		require.True(t, tc.conn.Undelivered(), "which is told")
	}
}

// However long the last progress was ago when Close was called.
func TestEndLingerCountsFromClose(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write("x")
		tc.advance(40 * time.Second)
		tc.close()
		tc.advance(5*time.Second - 1)
		tc.loseAll()
		tc.wantReason("there is still hope", NotClosed)
		tc.advance(1)
		tc.want("given up", packet{typ: wire.Reset})
		tc.wantReason("given up", TimedOut)
	}, noKeepAlive)
	everyRole(t, func(tc *testConn) {
		tc.advance(40 * time.Second)
		tc.recv(packet{typ: wire.State, seq: 2, window: 0})
		tc.write("x")
		tc.close()
		for range 59 {
			tc.advance(time.Second)
			if len(tc.takeAll()) > 0 {
				tc.recv(packet{typ: wire.State, seq: 2, window: 0})
			}
			tc.wantReason("the window is closed, but it answers", NotClosed)
		}
		tc.advance(time.Second)
		tc.want("no progress for 60 s", packet{typ: wire.Reset})
	}, ownKind, noKeepAlive)
}

// A peer whose window is closed when we close merely reads slowly: it gets the
// time that it would have had without Close.
func TestEndWindowClosedAtClose(t *testing.T) {
	closeInto := func(tc *testConn) {
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.recv(packet{typ: wire.State, window: 0})
		tc.write("rest")
		tc.close()
		tc.wantNothing("the window is closed")
	}
	everyPeer(t, func(tc *testConn) {
		closeInto(tc)
		tc.advance(30 * time.Second)
		tc.takeAll()
		tc.wantReason("longer than Linger", NotClosed)
		tc.recv(packet{typ: wire.State, seq: 1, ack: 1, window: 10000})
		tc.want("the rest, at once", packet{typ: wire.Data, seq: 2, payload: "rest"})
		tc.recv(packet{typ: wire.State, ack: 2})
		tc.want("the end", packet{typ: wire.Fin, seq: 3})
		tc.recv(packet{typ: wire.Fin, ack: 3})
		tc.wantStateAfterFin("theirs", 1)
		tc.wantReason("both have ended", Finished)
	}, noKeepAlive)
	everyPeer(t, func(tc *testConn) {
		closeInto(tc)
		tc.advance(76 * time.Second)
		all := tc.takeAll()
		require.Equal(tc.t, wire.Reset, all[len(all)-1].Type)
		tc.wantReason("60 s without progress", TimedOut)
	}, noKeepAlive)
}

// Hurry: the endpoint shuts down, and waits for a FIN no longer than one takes
// that is on its way.
func TestEndHurry(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.close()
		tc.lose("FIN", packet{typ: wire.Fin, seq: 1})
		tc.conn.Hurry(tc.now)
		tc.advance(tc.conn.Stats().RTO)
		tc.want("what was written is still delivered", packet{typ: wire.Fin, seq: 1})
		tc.recv(packet{typ: wire.State})
		tc.advance(4*rtt - 1)
		tc.wantReason("four round trips", NotClosed)
		tc.advance(1)
		tc.wantReason("that is enough", Finished)
	})
}

// Close before there is a connection.
func TestEndBeforeConnection(t *testing.T) {
	tc := newScript(t, unconnected)
	tc.want("SYN", packet{typ: wire.Syn})
	tc.close()
	tc.want("libutp keeps half-open connections for ever: it is told", packet{typ: wire.Reset, id: 1001, seq: 1})
	tc.wantReason("by us", Aborted)
	tc.recv(packet{typ: wire.State})
	tc.wantNothing("too late")

	tc = newScript(t, acceptor, unconnected)
	tc.recv(packet{typ: wire.Syn})
	tc.want("SYN-ACK", packet{typ: wire.State})
	tc.close()
	tc.want("refused after all", packet{typ: wire.Reset, id: 1000, seq: 1, ack: 0})
	tc.wantReason("by us", Aborted)

	// Nobody knows of a SYN that was not sent.
	c := new(Conn)
	c.Connect(tc.now, testParams(), Identity{ConnID: 1, SeqNr: 1})
	c.Abort()
	_, sent := c.PollTransmit(tc.now, tc.buf[:])
	require.False(t, sent)
}

// Our own kind acknowledges a FIN, if it is there.
func TestEndUndelivered(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.close()
		tc.takeAll()
		tc.advance(time.Minute)
		tc.takeAll()
		tc.wantReason("nobody is there", TimedOut)
		require.True(t, tc.conn.Undelivered(), "the FIN was not acknowledged")
	}, ownKind)
	everyPeer(t, func(tc *testConn) {
		tc.write("x")
		tc.takeAll()
		tc.abort()
		tc.takeAll()
		require.False(t, tc.conn.Undelivered(), "it was thrown away")
	})
}
