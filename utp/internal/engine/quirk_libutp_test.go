package engine

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// Peers that behave as libutp does (µTorrent, go-libutp, utp-native): the rows of
// the dossier's table 7.1.

// Its acceptor drops a FIN that comes before the first DATA, and never
// acknowledges it.
func TestQuirkB02FinBeforeDataIsNeverAcknowledged(t *testing.T) {
	tc := newScript(t)
	tc.close()
	tc.advance(8*time.Second - 1)
	for _, d := range tc.loseAll() {
		require.Equal(t, wire.Fin, d.Type)
	}
	tc.advance(1)
	tc.want("given up after a few tries, and said so: it never expires by itself", packet{typ: wire.Reset, id: 1001})
	tc.wantReason("never acknowledged", TimedOut)
	require.False(t, tc.conn.Undelivered(), "nothing was written")
}

// Its half-open acceptors never expire: an attempt that is abandoned is reset.
func TestQuirkB03AbandonedAttemptIsReset(t *testing.T) {
	tc := newScript(t, unconnected)
	tc.lose("the SYN arrives, its answer does not", packet{typ: wire.Syn})
	tc.advance(3 * time.Second)
	tc.abort()
	tc.want("any ack_nr will do", packet{typ: wire.Reset, id: 1001})
}

// Its initiator takes the number of any packet for the first of the stream.
func TestQuirkB04AnyPacketSetsTheFirstNumber(t *testing.T) {
	tc := newScript(t, acceptor, unconnected)
	tc.recv(packet{typ: wire.Syn})
	tc.lose("SYN-ACK", packet{typ: wire.State})
	tc.write("queued")
	tc.closeWrite()
	for tc.now < Time(20*time.Second) {
		tc.advance(100 * time.Millisecond)
		if tc.now.Sub(Time(time.Second))%(3*time.Second) == 0 {
			tc.recv(packet{typ: wire.Syn}) // it would not, but others do
		}
		for _, d := range tc.loseAll() {
			require.Equal(t, wire.State, d.Type)
			require.Equal(t, 1, d.seq, "the first number, so that nothing is skipped")
		}
	}
}

// It does not acknowledge the SYN-ACK: its first word may be a keepalive after
// 29 s, which lags by one.
func TestQuirkB05FirstWordIsAKeepAlive(t *testing.T) {
	tc := newScript(t, acceptor, unconnected)
	tc.recv(packet{typ: wire.Syn})
	tc.want("SYN-ACK", packet{typ: wire.State})
	tc.write("server speaks first")
	tc.advance(29 * time.Second)
	tc.takeAll() // two repetitions
	tc.recv(packet{typ: wire.State, ack: -1})
	require.True(t, tc.conn.Connected())
	tc.want("no sooner than that", packet{typ: wire.Data, seq: 1, payload: "server speaks first"})
}

// It drops a datagram whose first extension is of type 3 or above, or of type 2
// and not 8 bytes long. So the Hello is that, and comes only where it was heard.
func TestQuirkB06Extensions(t *testing.T) {
	tc := newScript(t, unconnected)
	require.Equal(t, []byte{2, 0, 8}, []byte{tc.pending[0].bytes[1], tc.pending[0].bytes[20], tc.pending[0].bytes[21]})
	tc.want("SYN", packet{typ: wire.Syn, hello: true})

	for name, chain := range map[string][]extension{
		"none": nil, "µTorrent's bits": {{2, []byte{1, 2, 3, 4, 5, 6, 7, 8}}}, "zeros": {{2, make([]byte, 8)}},
	} {
		tc := newScript(t, acceptor, unconnected)
		tc.recv(packet{typ: wire.Syn, ext: chain})
		tc.want(name, packet{typ: wire.State, size: wire.HeaderSize})
		tc.recv(packet{typ: wire.State})
		require.False(t, tc.conn.OwnKind(), name)
	}
}

// It drops packets, payload and all, whose ack_nr is older than what it has
// outstanding and three more.
func TestQuirkB07OldAckIsDropped(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.write("x")
		tc.lose("DATA", packet{typ: wire.Data, seq: 1, ack: 0})
		for range 5 {
			tc.recv(packet{}, packet{})
			tc.want("not part of this", packet{typ: wire.State})
		}
		tc.wantAfter(500*time.Millisecond, "the repetition acknowledges what came since", packet{typ: wire.Data, seq: 1, ack: 10})
	})
}

// It drops a STATE whose number is not above its ack_nr: after our FIN that is the
// second of the pair.
func TestQuirkB08StateNumber(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		accepts := func(d datagram) bool { return d.seq > tc.peerAck && d.seq <= tc.peerAck+1024 }
		tc.write("x")
		tc.closeWrite()
		tc.takeAll()
		tc.recv(packet{}, packet{})
		states := tc.takeAll()
		require.Len(tc.t, states, 2)
		require.False(tc.t, accepts(states[0]), "for libtorrent")
		require.True(tc.t, accepts(states[1]), "for libutp")
	})
}

// It has no fast retransmission by duplicate acknowledgements.
func TestQuirkB09NeedsSack(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		for seq := 2; seq < 12; seq++ {
			tc.recv(packet{seq: seq})
			held := make([]int, 0, 10)
			for n := 2; n <= seq; n++ {
				held = append(held, n)
			}
			tc.want("with each packet", packet{typ: wire.State, ack: 0, sack: held})
		}
	})
}

// Its selective acknowledgements have 4 bytes and 30 bits: what lies beyond is
// not lost, even if something sent later has arrived.
func TestQuirkB10UnseenIsNotLost(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.grow(100 * full)
		base := tc.peerAck
		tc.write(60 * full)
		tc.advance(rtt)
		require.Len(tc.t, tc.loseAll(), 60)
		tc.advance(rtt)
		seen := make([]int, 0, 30)
		for n := 3; n <= 31; n++ {
			seen = append(seen, base+n)
		}
		tc.recv(packet{typ: wire.State, sack: seen})
		tc.advance(rtt / 2)
		tc.lose("both that are missing", packet{typ: wire.Data, seq: base + 1}, packet{typ: wire.Data, seq: base + 2})
		tc.wantNothing("no others")
		tc.advance(rtt / 2)
		tc.recv(packet{typ: wire.State, sack: append(seen, base+2)})
		tc.advance(rtt / 2)
		tc.want("the first was lost again", packet{typ: wire.Data, seq: base + 1})
		tc.wantNothing("number 2 was sent after 32 to 60, of which nothing was said")
		tc.recv(packet{typ: wire.State, ack: base + 60})
		require.True(tc.t, tc.conn.Flushed())
	}, noProbe)
}

// What lies beyond its masks counts as in flight, and fills the congestion window
// that a loss has made smaller. What was lost is repeated all the same, one packet
// when it is noticed and one with each acknowledgement that this brings: nothing
// else makes the masks move on.
func TestQuirkB10RepairBeyondWindow(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.grow(200 * full)
		base := tc.peerAck
		tc.write(tc.conn.Stats().CongestionWindow / full * full)
		tc.advance(rtt)
		sent := len(tc.loseAll())
		require.GreaterOrEqual(tc.t, sent, 200)
		seen := make([]int, 0, 30)
		for n := 4; n <= 31; n++ {
			seen = append(seen, base+n)
		}
		tc.recv(packet{typ: wire.State, sack: seen})
		tc.advance(rtt / 4)
		require.Greater(tc.t, tc.conn.Stats().FlightSize, tc.conn.Stats().CongestionWindow-full, "no room")
		tc.want("the first that is missing", packet{typ: wire.Data, seq: base + 1})
		tc.wantNothing("no more than that")
		tc.recv(packet{typ: wire.State, ack: base + 1, sack: seen})
		tc.want("the next", packet{typ: wire.Data, seq: base + 2})
		tc.wantNothing("no more than that")
		tc.recv(packet{typ: wire.State, ack: base + 2, sack: seen})
		tc.want("and the last", packet{typ: wire.Data, seq: base + 3})
		tc.recv(packet{typ: wire.State, ack: base + sent})
		tc.takeAll()
		require.Zero(tc.t, tc.conn.Stats().Timeouts)
		tc.advance(rtt)
		tc.takeAll()
		tc.recv(packet{typ: wire.State})
	}, noProbe)
}

// When more than 30 packets in a row are missing the mask is empty. It is sent all
// the same, which says that something behind them has arrived.
func TestQuirkB10EmptyMask(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.grow(200 * full)
		base := tc.peerAck
		tc.write(100 * full)
		tc.advance(rtt)
		require.Len(tc.t, tc.loseAll(), 100)
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, ext: []extension{{wire.ExtSelectiveAck, make([]byte, 4)}}})
		tc.advance(rtt / 2)
		again := tc.takeAll()
		require.Len(tc.t, again, 31, "the oldest, and what the mask covers")
		require.Equal(tc.t, base+1, again[0].seq)
		require.Equal(tc.t, base+31, again[30].seq)
		require.Zero(tc.t, tc.conn.Stats().Timeouts)
		tc.recv(packet{typ: wire.State, ack: base + 100})
	}, noProbe)
}

// Its keepalive is a STATE with ack_nr - 1 every 29 s: no duplicate
// acknowledgement, and not answered.
func TestQuirkB11KeepaliveIsNoDuplicateAck(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		tc.write("1")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.recv(packet{typ: wire.State})
		for range 10 {
			tc.advance(29 * time.Second)
			tc.recv(packet{typ: wire.State, ack: 0})
			tc.wantNothing("not answered")
		}
		tc.write("2")
		tc.lose("DATA", packet{typ: wire.Data, seq: 2})
		for range 10 {
			tc.advance(time.Millisecond)
			tc.recv(packet{typ: wire.State, ack: 0})
		}
		tc.wantNothing("not a duplicate acknowledgement")
		require.EqualValues(tc.t, 0, tc.conn.Stats().Invalid)
	}, noKeepAlive)
}

// Its RESET for a connection it does not know echoes the id and the number of our
// packet, under a random number; nothing else is set.
func TestQuirkB12ResetIsAnEcho(t *testing.T) {
	echo := func(tc *testConn, ack int) packet {
		_, send := tc.conn.ConnIDs()
		return packet{typ: wire.Reset, id: int(send), seq: 31337, ack: ack, window: 0, timestamp: 0, diff: 0}
	}
	everyRole(t, func(tc *testConn) {
		tc.wantAfter(25*time.Second, "keepalive", packet{typ: wire.State, seq: 1})
		tc.recv(echo(tc, 1))
		tc.wantReason("the echoed number is the next unsent one", ResetByPeer)
	})
	everyRole(t, func(tc *testConn) {
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		tc.recv(echo(tc, 1))
		tc.wantReason("that of the DATA", ResetByPeer)
	})
	everyRole(t, func(tc *testConn) {
		tc.closeWrite()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		tc.recv(packet{typ: wire.State})
		tc.wantAfter(25*time.Second, "keepalive", packet{typ: wire.State, seq: 2})
		tc.recv(echo(tc, 2))
		tc.wantReason("that after the FIN", Finished)
	})
}

// It forgets a connection when its FIN was acknowledged: ours is answered by a
// RESET.
func TestQuirkB13GoneAfterItsFin(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.recv(packet{typ: wire.Fin})
		tc.want("acknowledgement", packet{typ: wire.State, ack: 1})
		tc.advance(time.Second)
		tc.close()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		_, send := tc.conn.ConnIDs()
		tc.recv(packet{typ: wire.Reset, id: int(send), seq: 99, ack: 1})
		tc.wantReason("nothing was lost", Finished)
		tc.wantEOF("in good order", true)
	})
}

// Its window may fall below one packet, its timers tick every 500 ms, its RTO is a
// second and more: long silences are normal.
func TestQuirkB14LongSilence(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		for range 10 {
			tc.write(100)
			tc.advance(5500 * time.Millisecond)
			tc.takeAll()
			tc.recv(packet{typ: wire.State})
			tc.advance(5500 * time.Millisecond)
			tc.recv(packet{}, packet{})
			tc.takeAll()
		}
		tc.wantReason("slow, but alive", NotClosed)
	})
}

// Its window grows only with a timestamp_difference that is a sample.
func TestQuirkB15NeedsSamples(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		for i := range 50 {
			tc.advance(time.Duration(i) * time.Microsecond)
			sent := tc.now.Add(tc.peerClock)
			tc.advance(7 * time.Millisecond)
			tc.recv(packet{timestamp: int(sent.timestamp())}, packet{timestamp: int(sent.timestamp())})
			tc.want("clocks apart, and 7 ms on the way", packet{
				typ: wire.State, diff: int(uint32(7000 - tc.peerClock/time.Microsecond)),
			})
		}
	})
}

// It begins with datagrams of 1402 bytes.
func TestQuirkB16LargeDatagramsAtOnce(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.recv(packet{payload: 1382}, packet{payload: 1382})
		tc.want("taken", packet{typ: wire.State, ack: 2})
		tc.read(2764)
	})
}

// Its retransmissions may arrive long after they were needed.
func TestQuirkB17LateRetransmissions(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.recv(packet{}, packet{}, packet{}, packet{})
		tc.want("acknowledgement", packet{typ: wire.State, ack: 4})
		tc.advance(time.Second)
		tc.recv(packet{seq: 1}, packet{seq: 2}, packet{seq: 3}, packet{seq: 4})
		tc.want("once more, but not four times", packet{typ: wire.State, ack: 4})
		require.EqualValues(tc.t, 4, tc.conn.Stats().Duplicates)
		require.Equal(tc.t, 400, tc.conn.Readable())
	})
}

// A SYN with id 65535, after which the peer uses 0.
func TestQuirkB18IdWraps(t *testing.T) {
	tc := newScript(t, acceptor, func(tc *testConn) { tc.connID = math.MaxUint16 })
	recv, send := tc.conn.ConnIDs()
	require.EqualValues(t, 0, recv)
	require.EqualValues(t, math.MaxUint16, send)
	tc.recv(packet{}, packet{})
	tc.want("and so it goes on", packet{typ: wire.State, id: math.MaxUint16, ack: 2})
}

// It repeats packets with the window that they had at first.
func TestQuirkB19WindowOfRetransmission(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.recv(packet{seq: 2, window: 8000})
		tc.want("a gap", packet{typ: wire.State})
		tc.recv(packet{typ: wire.State, seq: 3, window: 6000})
		tc.recv(packet{seq: 1, window: 100})
		tc.want("filled", packet{typ: wire.State})
		require.Equal(tc.t, 6000, tc.conn.Stats().PeerWindow, "the newest number counts")
		tc.recv(packet{typ: wire.State, seq: 3, window: 7000, timestamp: int(tc.now.Add(tc.peerClock - rtt).timestamp())})
		require.Equal(tc.t, 6000, tc.conn.Stats().PeerWindow, "of two with one number the later")
		tc.recv(packet{typ: wire.State, seq: 3, window: 0})
		require.Equal(tc.t, 0, tc.conn.Stats().PeerWindow)
	})
}

// Into a closed window it sends one packet, of 1435 bytes, after 15 s, and dies if
// that is not acknowledged.
func TestQuirkB21ProbeBeyondWindow(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.fillWindow(0)
		for range 10 {
			tc.advance(15 * time.Second)
			tc.recv(packet{payload: 1435 - wire.HeaderSize})
			tc.wantAfter(25*time.Millisecond, "taken, and acknowledged", packet{typ: wire.State, ack: tc.peerNext - 1, window: 0})
		}
		tc.read(initialWindow + 10*(1435-wire.HeaderSize))
		tc.want("it is there", packet{typ: wire.State, window: initialWindow})
	}, noKeepAlive)
}

// It acknowledges a FIN twice.
func TestQuirkB22TwoStatesForAFin(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		tc.write("1")
		tc.lose("DATA", packet{typ: wire.Data, seq: 1})
		tc.closeWrite()
		tc.want("FIN, ahead of a gap", packet{typ: wire.Fin, seq: 2})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, sack: []int{2}}, packet{typ: wire.State, sack: []int{2}})
		tc.wantAfter(rtt/4, "the gap is filled", packet{typ: wire.Data, seq: 1})
		tc.recv(packet{typ: wire.State, ack: 2}, packet{typ: wire.State, ack: 2})
		tc.advance(10 * time.Second)
		tc.wantNothing("all is acknowledged")
		tc.wantReason("half-closed", NotClosed)
	})
}

// It sends up to 1,023 packets, and expects them to be kept: once the window is
// that large, a gap costs one packet.
func TestQuirkB23ThousandPacketsAheadOfAGap(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		for tc.conn.Stats().RecvWindow < 1<<20 {
			batch := make([]packet, tc.conn.window.promised()/1024)
			for i := range batch {
				batch[i].payload = 1024
			}
			tc.advance(rtt)
			tc.recv(batch...)
			tc.read(tc.conn.Readable())
			tc.advance(25 * time.Millisecond)
			tc.takeAll()
		}
		gap := tc.peerNext
		ahead := make([]packet, 1022)
		for i := range ahead {
			ahead[i] = packet{seq: gap + 1 + i, payload: 1000}
		}
		tc.recv(ahead...)
		tc.want("all are kept", packet{typ: wire.State, ack: gap - 1, size: wire.HeaderSize + 2 + 128})
		require.Equal(tc.t, 1022, tc.conn.ahead.count)
		tc.recv(packet{seq: gap, payload: 1000})
		tc.want("the gap is filled", packet{typ: wire.State, ack: gap + 1022})
		tc.read(1023 * 1000)
		tc.takeAll()
	})
}

// It aborts on a sample 2^31 µs away from the others: what we send is what we
// measured, whatever the peer's clock does.
func TestQuirkB24SaneSamples(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		for _, ts := range []uint32{1, 1 << 31, 1<<31 - 1, 1<<32 - 1, 7} {
			tc.recv(packet{timestamp: int(ts)}, packet{timestamp: int(ts)})
			tc.want("a measurement, no fantasy", packet{typ: wire.State, diff: int(uint32(tc.now/1000) - ts)})
		}
	})
}
