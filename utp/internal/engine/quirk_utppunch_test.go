package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// Peers that behave as utp-punch does: section 8 of the dossier.

// everyPunch runs a script in both roles against utp-punch.
func everyPunch(t *testing.T, f func(tc *testConn), opts ...option) {
	everyRole(t, f, append(opts, utpPunch)...)
}

// 8.2, 8.3: the initiator sends with the id of its SYN, the acceptor with the next.
func TestQuirkUP83Handshake(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		recv, send := tc.conn.ConnIDs()
		if tc.acceptor {
			require.Equal(t, []uint16{1000, 1001}, []uint16{recv, send})
		} else {
			require.Equal(t, []uint16{1001, 1000}, []uint16{recv, send})
		}
		require.True(t, tc.conn.Receives(recv))
		require.False(t, tc.conn.Receives(send), "it is decided")
		tc.write("hello")
		tc.want("DATA", packet{typ: wire.Data, id: int(send), seq: 1, payload: "hello"})
		tc.recv(packet{payload: "world"})
		tc.want("STATE", packet{typ: wire.State, id: int(send), ack: 1})
		tc.read(5)
	})
}

// 8.7: what looks like utp-punch's SYN may be another's, which the first answer
// serves; nothing more is said before it is known.
func TestQuirkUP87SynOfOthers(t *testing.T) {
	for _, x := range []struct {
		name   string
		packet packet
		both   bool // a repeated SYN is answered in both dialects
	}{
		{"as utp-punch's", packet{typ: wire.Syn, window: punchWindow}, true},
		{"odd id", packet{typ: wire.Syn, window: punchWindow, id: 1001}, false},
		{"other window", packet{typ: wire.Syn, window: punchWindow - 1}, false},
		{"a difference", packet{typ: wire.Syn, window: punchWindow, diff: 1}, false},
		{"an extension", packet{typ: wire.Syn, window: punchWindow, ext: []extension{{2, make([]byte, 8)}}}, false},
		{"payload", packet{typ: wire.Syn, window: punchWindow, payload: "x"}, false},
	} {
		opts := []option{acceptor, unconnected}
		if x.packet.id != nil {
			opts = append(opts, func(tc *testConn) { tc.connID = 1001 })
		}
		tc := newScript(t, opts...)
		id := int(tc.connID)
		tc.recv(x.packet)
		tc.want(x.name, packet{typ: wire.State, id: id})
		tc.conn.RepeatSynAck()
		tc.flush()
		tc.want(x.name, packet{typ: wire.State, id: id})
		if x.both {
			tc.want(x.name, packet{typ: wire.State, id: id + 1})
			tc.recv(packet{typ: wire.Reset, id: id + 1, seq: 999, ack: 1, window: 0})
			tc.wantReason("libutp does not know that one", NotClosed)
		}
		tc.wantNothing(x.name)
		require.Equal(t, x.both, tc.conn.Receives(tc.connID), x.name)
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
		require.True(t, tc.conn.Connected(), x.name)
		require.Equal(t, BEP29, tc.conn.Dialect(), x.name)
	}
}

// 8.7: whichever packet is lost, the dialect is found out.
func TestQuirkUP87LostInTheHandshake(t *testing.T) {
	begin := func() *testConn {
		tc := newScript(t, acceptor, utpPunch, unconnected)
		tc.recv(packet{typ: wire.Syn})
		tc.want("BEP 29 first", packet{typ: wire.State, id: 1000})
		return tc
	}
	finish := func(tc *testConn) {
		tc.advance(rtt)
		tc.recv(packet{payload: "hi"})
		tc.advance(maxAckDelay)
		tc.want("it is acknowledged", packet{typ: wire.State, id: 1001, ack: 1})
		require.Equal(t, UTPPunch, tc.conn.Dialect())
		tc.read(2)
	}
	t.Run("the first answer, or its RESET", func(t *testing.T) {
		tc := begin()
		tc.advance(100 * time.Millisecond)
		tc.conn.RepeatSynAck()
		tc.flush()
		tc.want("both", packet{typ: wire.State, id: 1000}, packet{typ: wire.State, id: 1001})
		finish(tc)
	})
	t.Run("the second answer", func(t *testing.T) {
		tc := begin()
		tc.recv(tc.unknown(1001))
		tc.lose("in its dialect", packet{typ: wire.State, id: 1001})
		tc.advance(100 * time.Millisecond)
		tc.conn.RepeatSynAck()
		tc.flush()
		tc.want("both", packet{typ: wire.State, id: 1000}, packet{typ: wire.State, id: 1001})
		tc.recv(tc.unknown(1001))
		tc.want("to its RESET only that", packet{typ: wire.State, id: 1001})
		finish(tc)
	})
	t.Run("all of the initiator", func(t *testing.T) {
		tc := begin()
		tc.recv(tc.unknown(1001))
		tc.want("in its dialect", packet{typ: wire.State, id: 1001})
		tc.wantAfter(300*time.Millisecond, "repeated", packet{typ: wire.State, id: 1000})
		tc.want("in both", packet{typ: wire.State, id: 1001})
		tc.wantAfter(700*time.Millisecond, "repeated", packet{typ: wire.State, id: 1000})
		tc.want("in both", packet{typ: wire.State, id: 1001})
		tc.advance(embryonicLimit)
		tc.wantNothing("no more")
		tc.wantReason("nobody confirmed it", TimedOut)
	})
}

// 8.7: a RESET that the first answers brought about may come when all is decided.
func TestQuirkUP87LateResets(t *testing.T) {
	t.Run("utp-punch", func(t *testing.T) {
		tc := newScript(t, acceptor, utpPunch, startAt(1, 1)) // so that 0 is a plausible acknowledgement
		tc.recv(tc.unknown(1001))
		tc.wantReason("it is about the answer with X", NotClosed)
		tc.recv(packet{typ: wire.Reset})
		tc.wantReason("this one is its own", ResetByPeer)
	})
	t.Run("others", func(t *testing.T) {
		tc := newScript(t, acceptor, unconnected)
		tc.recv(packet{typ: wire.Syn, window: punchWindow})
		tc.want("BEP 29 first", packet{typ: wire.State, id: 1000})
		tc.conn.RepeatSynAck()
		tc.flush()
		tc.want("both", packet{typ: wire.State, id: 1000}, packet{typ: wire.State, id: 1001})
		tc.recv(packet{typ: wire.State})
		require.Equal(t, BEP29, tc.conn.Dialect())
		echo := packet{typ: wire.Reset, seq: 999, ack: 1, window: 0}
		tc.recv(echo)
		tc.wantReason("it is about the answer with X + 1", NotClosed)
		tc.recv(echo)
		tc.wantReason("of which there was one", ResetByPeer)
	})
}

// 8.3: a SYN-ACK with the next id is utp-punch's, if it acknowledges the SYN.
func TestQuirkUP83SynAckIsChecked(t *testing.T) {
	tc := newScript(t, utpPunch, unconnected)
	tc.want("SYN", packet{typ: wire.Syn, id: 1000})
	tc.recv(packet{typ: wire.State, ack: 1}, packet{typ: wire.State, ack: -1}, packet{payload: "x"})
	require.False(t, tc.conn.Connected(), "a forgery, or of another life")
	tc.recv(packet{typ: wire.State, seq: 1, ack: 0})
	require.True(t, tc.conn.Connected())
	tc.want("it is answered", packet{typ: wire.State, id: 1000, seq: 1, ack: 0})
}

// A dialect that is set is not found out.
func TestQuirkUPPinned(t *testing.T) {
	t.Run("utp-punch accepts", func(t *testing.T) {
		tc := newScript(t, utpPunch, unconnected, with(func(p *Params) { p.Dialect = UTPPunch }))
		tc.lose("a plain SYN", packet{typ: wire.Syn, id: 1000, size: wire.HeaderSize})
		tc.conn.RepeatSyn()
		tc.flush()
		tc.want("the same again", packet{typ: wire.Syn, id: 1000, seq: 0, size: wire.HeaderSize})
		require.False(t, tc.conn.Receives(1000))
		tc.recv(packet{typ: wire.State, seq: 1})
		require.Equal(t, UTPPunch, tc.conn.Dialect())
		tc.want("it is answered", packet{typ: wire.State, id: 1000})
	})
	t.Run("utp-punch dials", func(t *testing.T) {
		tc := newScript(t, acceptor, utpPunch, unconnected, with(func(p *Params) { p.Dialect = UTPPunch }))
		tc.recv(packet{typ: wire.Syn})
		tc.want("one answer", packet{typ: wire.State, id: 1001})
		require.False(t, tc.conn.Receives(1001))
		tc.recv(packet{typ: wire.State})
		require.True(t, tc.conn.Connected())
	})
	t.Run("BEP 29", func(t *testing.T) {
		tc := newScript(t, unconnected, with(func(p *Params) { p.Dialect = BEP29 }))
		tc.want("SYN", packet{typ: wire.Syn, hello: true})
		require.False(t, tc.conn.Receives(1001))
		tc.recv(packet{typ: wire.State, seq: 1})
		tc.want("it is answered", packet{typ: wire.State})
	})
	t.Run("BEP 29 accepts", func(t *testing.T) {
		tc := newScript(t, acceptor, unconnected, with(func(p *Params) { p.Dialect = BEP29 }))
		tc.recv(packet{typ: wire.Syn, window: punchWindow})
		tc.want("one answer", packet{typ: wire.State, id: 1000})
		require.False(t, tc.conn.Receives(1000))
	})
}

// 8.4: at most 62 packets, and 0 only when all before it has arrived. The script's
// checks are at every packet.
func TestQuirkUP84Outstanding(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		tc.grow(100_000)
		tc.write(200_000)
		for range 2 {
			tc.advance(2 * rtt)
			require.Equal(t, punchOutstanding, len(tc.takeAll()))
			tc.recv(packet{typ: wire.State})
		}
		tc.takeAll()
	}, startAt(1, 1), noProbe)
}

func TestQuirkUP84BarrierAtTheWrap(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		for range 8 {
			tc.write("x")
		}
		zero := 6 // on the wire
		if tc.acceptor {
			zero = 7
		}
		for seq := 1; seq < zero; seq++ {
			tc.want("before the wrap", packet{typ: wire.Data, seq: seq})
		}
		tc.wantNothing("the barrier")
		tc.recv(packet{typ: wire.State, ack: zero - 2})
		tc.wantNothing("one is missing")
		tc.recv(packet{typ: wire.State, ack: zero - 1})
		tc.want("it is passed", packet{typ: wire.Data, seq: zero})
	}, noProbe)
}

func TestQuirkUP84BarrierBeforeFin(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		first := 6
		if tc.acceptor {
			first = 7
		}
		for range first - 1 {
			tc.write("x")
		}
		tc.closeWrite()
		tc.takeAll()
		tc.recv(packet{typ: wire.State, ack: first - 2})
		tc.wantNothing("the FIN is number 0")
		tc.recv(packet{typ: wire.State, ack: first - 1})
		tc.want("the barrier is passed", packet{typ: wire.Fin, seq: first})
		tc.recv(packet{typ: wire.State})
		require.True(t, tc.conn.Flushed())
	}, noProbe)
}

// 8.4: it goes on when all it sent is acknowledged, and repeats everything every
// 100 ms, as it was: with acknowledgements that are old by then.
func TestQuirkUP84AcknowledgedAtOnce(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		tc.recv(packet{})
		tc.want("a single packet", packet{typ: wire.State, ack: 1})
		tc.recv(packet{seq: 3}, packet{seq: 4})
		tc.want("ahead of a gap", packet{typ: wire.State, ack: 1})
		tc.wantNothing("one for the batch")
		tc.recv(packet{seq: 1}, packet{seq: 3}, packet{seq: 4})
		tc.want("repetitions", packet{typ: wire.State, ack: 1})
		tc.wantNothing("one for the batch")
	})
}

func TestQuirkUP84OldAcknowledgements(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		for range 3 * punchOutstanding {
			tc.write("x")
			tc.takeAll()
			tc.recv(packet{typ: wire.State})
		}
		tc.recv(packet{seq: 1, ack: 0})
		tc.want("DATA from the beginning, lost until now", packet{typ: wire.State, ack: 1})
		require.True(t, tc.conn.Flushed())
	}, startAt(1, 1))
}

// Without selective acknowledgements each round trip tells of one further loss.
func TestQuirkUP84SeveralLosses(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		lost := map[int]bool{2: true, 4: true, 5: true}
		for seq := 1; seq <= 10; seq++ {
			tc.write("x")
			if lost[seq] {
				tc.lose("this one", packet{seq: seq})
			} else {
				tc.want("this one arrives", packet{seq: seq})
			}
		}
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, ack: 1})
		for range dupThresh {
			tc.advance(time.Millisecond)
			tc.recv(packet{typ: wire.State, ack: 1})
		}
		tc.want("three duplicates", packet{seq: 2})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, ack: 3})
		tc.want("a partial acknowledgement", packet{seq: 4})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, ack: 4})
		tc.want("another", packet{seq: 5})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, ack: 10})
		tc.wantNothing("all has arrived")
		require.Zero(t, tc.conn.Stats().Timeouts)
	}, startAt(1, 1))
}

// 8.4: its application takes a peer that is silent for 5 s for dead.
func TestQuirkUP84KeepAlive(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		tc.conn.timers.stop(timerHandshake)
		for range 3 {
			tc.wantAfter(punchKeepAlive, "silence", packet{typ: wire.State, seq: 1, ack: 0})
		}
	})
}

func TestQuirkUP84Silence(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		tc.advance(tc.params.Timeout)
		tc.takeAll()
		tc.wantReason("it says something every 2 s", TimedOut)
	})
}

// 8.5: it forgets the connection as soon as it has sent its FIN, once, and answers
// our acknowledgement with a RESET.
func TestQuirkUP85ResetAfterItsFin(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		tc.closeWrite()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		tc.recv(packet{typ: wire.State}, packet{typ: wire.Fin})
		tc.want("it is acknowledged, once", packet{typ: wire.State, ack: 1})
		tc.wantNothing("once")
		tc.recv(packet{typ: wire.Reset})
		tc.wantReason("both had ended", Finished)
		tc.wantEOF("both had ended", true)
		require.GreaterOrEqual(t, tc.tomb.Reusable, tc.now.Add(punchReuse), "ids rest for as long as it answers with RESETs")
		require.GreaterOrEqual(t, tc.tomb.Expires, tc.tomb.Reusable)
	})
}

func TestQuirkUP85ResetInsteadOfItsFin(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		tc.closeWrite()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		tc.recv(packet{typ: wire.State}, packet{typ: wire.Reset, seq: 2})
		tc.wantReason("its FIN was lost", Finished)
		tc.wantEOF("all the same", true)
	})
}

// That RESET acknowledges what has arrived.
func TestQuirkUP85ResetAcknowledges(t *testing.T) {
	for _, acknowledged := range []bool{false, true} {
		everyPunch(t, func(tc *testConn) {
			tc.recv(packet{typ: wire.Fin})
			tc.want("its FIN is acknowledged", packet{typ: wire.State, ack: 1})
			tc.write("x")
			tc.close()
			tc.want("DATA", packet{seq: 1})
			tc.want("FIN", packet{typ: wire.Fin, seq: 2})
			ack, reason := 0, ResetByPeer
			if acknowledged {
				ack, reason = 2, Finished
			}
			tc.recv(packet{typ: wire.Reset, ack: ack})
			tc.wantReason("it is gone", reason)
		})
	}
}

func TestQuirkUP85LostBeforeItsFin(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		tc.closeWrite()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		tc.recv(packet{typ: wire.State}, packet{typ: wire.Fin, seq: 2})
		tc.want("DATA 1 is missing", packet{typ: wire.State, ack: 0})
		tc.recv(packet{typ: wire.Reset, seq: 3})
		tc.wantReason("it will never come", ResetByPeer)
		tc.wantEOF("which is no end", false)
	})
}

// 8.2: one that was restarted answers with a RESET that has no number.
func TestQuirkUP82ResetWithoutNumber(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		recv, _ := tc.conn.ConnIDs()
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data})
		tc.recv(tc.unknown(recv), tc.unknown(recv))
		tc.wantReason("two may be forged", NotClosed)
		tc.recv(packet{typ: wire.State, ack: 0})
		tc.recv(tc.unknown(recv), tc.unknown(recv))
		tc.wantReason("it was heard of meanwhile", NotClosed)
		tc.recv(tc.unknown(recv))
		tc.wantReason("it does not know us", ResetByPeer)
	})
	everyRole(t, func(tc *testConn) {
		recv, _ := tc.conn.ConnIDs()
		for range 5 {
			tc.recv(packet{typ: wire.Reset, id: int(recv), seq: -int(tc.peerBase), ack: -int(tc.base), window: punchWindow, diff: 0})
		}
		tc.wantReason("others have numbers", NotClosed)
	}, startAt(1000, 1000))
}

// 8.5: a connection that nobody wants is reset in the dialect that was found out.
func TestQuirkUP85SurplusAttempt(t *testing.T) {
	tc := newScript(t, utpPunch, unconnected)
	tc.lose("SYN", packet{typ: wire.Syn, id: 1000})
	tc.conn.Assume(UTPPunch)
	tc.abort()
	tc.want("as it sends in its dialect", packet{typ: wire.Reset, id: 1000})
}

// 8.7: a SYN gets three answers at most, however often it is repeated.
func TestQuirkUP87Answers(t *testing.T) {
	for syns := 1; syns <= 4; syns++ {
		tc := newScript(t, acceptor, utpPunch, unconnected)
		answers := 0
		for range syns {
			tc.recv(packet{typ: wire.Syn})
			answers += len(tc.loseAll())
		}
		for tc.conn.Reason() == NotClosed {
			tc.advanceToTimer()
			answers += len(tc.loseAll())
		}
		require.LessOrEqual(t, answers, 3*syns, "%d SYNs", syns)
	}
}

// 8.7: the RESETs that refuse BEP 29 may arrive when the connection is established.
func TestQuirkUP87RefusedLate(t *testing.T) {
	for _, ours := range []wire.SeqNr{1, 30000} { // near 0, their ack_nr is in the window
		tc := newScript(t, acceptor, utpPunch, startAt(ours, 700))
		late := tc.unknown(1001)
		tc.recv(late, late, late)
		tc.wantReason("they are not about this connection", NotClosed)
	}
}

// 8.7: an initiator that gives up ends what is not confirmed, whatever it speaks.
func TestQuirkUP87GivenUp(t *testing.T) {
	t.Run("before anything else was offered", func(t *testing.T) {
		tc := newScript(t, acceptor, unconnected)
		tc.recv(packet{typ: wire.Syn, window: punchWindow})
		tc.want("BEP 29", packet{typ: wire.State, id: 1000})
		tc.recv(packet{typ: wire.Reset, seq: 999, ack: 0})
		tc.wantReason("libutp's number is random", ResetByPeer)
	})
	t.Run("after that", func(t *testing.T) {
		tc := newScript(t, acceptor, unconnected)
		tc.recv(packet{typ: wire.Syn, window: punchWindow})
		tc.conn.RepeatSynAck()
		tc.flush()
		tc.loseAll()
		tc.recv(packet{typ: wire.Reset, seq: 1, ack: 0})
		tc.wantReason("it knows its own number", ResetByPeer)
	})
}

// Stale acknowledgements are good only from where the SYN came from for certain.
func TestQuirkUPPinnedConfirmation(t *testing.T) {
	tc := newScript(t, acceptor, utpPunch, unconnected, with(func(p *Params) { p.Dialect = UTPPunch }))
	tc.recv(packet{typ: wire.Syn})
	tc.want("one answer", packet{typ: wire.State, id: 1001})
	tc.recv(packet{typ: wire.State, ack: -100})
	require.False(t, tc.conn.Connected(), "it does not echo our number")
	tc.recv(packet{typ: wire.State})
	require.True(t, tc.conn.Connected())
}

// What has been found out is not assumed otherwise.
func TestQuirkUPAssumeWhatIsKnown(t *testing.T) {
	tc := newScript(t)
	tc.conn.Assume(UTPPunch)
	require.Equal(t, BEP29, tc.conn.Dialect())
}

// 8.4: a run of packets ends at the barrier.
func TestQuirkUP84BarrierInARun(t *testing.T) {
	everyPunch(t, func(tc *testConn) {
		zero := 6
		if tc.acceptor {
			zero = 7
		}
		tc.write(9 * (BaseDatagram - wire.HeaderSize))
		require.Len(t, tc.takeAll(), zero-1, "the next one is number 0")
		tc.recv(packet{typ: wire.State, ack: zero - 1})
		tc.want("it is passed", packet{typ: wire.Data, seq: zero, payload: BaseDatagram - wire.HeaderSize})
		tc.takeAll()
	}, noProbe)
}
