package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// Peers that behave as anacrolix/utp does: the rows of the dossier's table 7.5.

// It does not repeat a FIN: if it is lost, none comes.
func TestQuirkA1FinIsNotRepeated(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.recv(packet{payload: 10})
		tc.wantAfter(25*time.Millisecond, "acknowledgement", packet{typ: wire.State, ack: 1})
		// Its FIN is lost here.
		tc.close()
		tc.want("FIN", packet{typ: wire.Fin, seq: 1})
		tc.recv(packet{typ: wire.State, seq: 3})
		tc.advance(5 * time.Second)
		tc.wantReason("it is not awaited for ever", Finished)
		tc.wantNothing("and nobody is bothered")
	})
}

// For a connection that it does not know it sends three RESETs, with the id of
// our packet and its neighbours. The endpoint routes two of them to us.
func TestQuirkA2ThreeResets(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		recv, send := tc.conn.ConnIDs()
		for _, id := range []uint16{send, recv} {
			tc.recv(packet{typ: wire.Reset, id: int(id), seq: -int(tc.peerBase), ack: 1, window: 0, timestamp: 0})
			tc.wantReason("the first is enough", ResetByPeer)
			tc.wantNothing("none is answered")
		}
	})
}

// It ends a connection after 2 minutes of silence, and sends no keepalive.
func TestQuirkA3TwoMinutesOfSilence(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		last := tc.now
		for range 60 {
			tc.advance(10 * time.Second)
			for _, d := range tc.takeAll() {
				last = d.at
			}
			require.Less(tc.t, tc.now.Sub(last), 30*time.Second)
		}
		tc.wantReason("and neither do we end it", NotClosed)
	})
}

// It sends 256 packets at once.
func TestQuirkA4BurstOf256Packets(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		burst := make([]packet, 256)
		for i := range burst {
			burst[i].payload = initialWindow / 256
		}
		tc.recv(burst...)
		tc.want("all are taken", packet{typ: wire.State, ack: 256, window: 0})
		tc.recv(packet{payload: initialWindow / 256})
		tc.wantAfter(25*time.Millisecond, "even one that it sends into a closed window", packet{typ: wire.State, ack: 257, window: 0})
		tc.read(257 * initialWindow / 256)
		tc.want("there is room", packet{typ: wire.State, window: initialWindow})
	})
}

// It counts each bit that is not set as a loss, those after the last set one
// included: the third, and the sixtieth, make it send again.
func TestQuirkA5ZeroBitsCountAsLosses(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.recv(packet{seq: 2})
		d := tc.pending[0]
		tc.want("a gap", packet{typ: wire.State, sack: []int{2}})
		require.LessOrEqual(tc.t, 8*(len(d.bytes)-wire.HeaderSize-2)-len(d.sack()), 31, "padding to 4 bytes, no more")
	})
}

// It keeps 256 packets ahead of a gap, and drops the others: they are sent again.
func TestQuirkA6ReorderWindowOf256(t *testing.T) {
	everyRole(t, func(tc *testConn) {
		tc.grow(600 * full)
		first := tc.peerAck + 1
		tc.write(500 * full)
		lost := false
		for range 100 {
			sent := tc.loseAll()
			for _, d := range sent {
				if d.seq == first && !lost {
					lost = true
				} else if d.seq <= tc.peerAck+256 {
					tc.arrive(&d)
				}
			}
			tc.advance(rtt)
			held := []int{}
			for n := tc.peerAck + 2; n <= tc.peerAck+256; n++ {
				if tc.arrived[n] {
					held = append(held, n)
				}
			}
			if len(sent) > 0 {
				tc.recv(packet{typ: wire.State, sack: held})
			}
		}
		require.True(tc.t, tc.conn.Flushed())
		require.Less(tc.t, tc.conn.Stats().Retransmits, uint64(300), "what was dropped, and little more")
		require.LessOrEqual(tc.t, tc.conn.Stats().Timeouts, uint64(1))
	}, noProbe)
}

// It answers a SYN when its application accepts, perhaps much later. That says
// nothing about the round trip: neither the timeout nor the pacing follows it.
func TestQuirkA7SynAckAtAccept(t *testing.T) {
	for _, late := range []time.Duration{10 * time.Second, 50 * time.Second} {
		connected := func() *testConn {
			tc := newScript(t, unconnected, noProbe, startAt(65530, 1))
			tc.want("SYN", packet{typ: wire.Syn})
			tc.advance(late)
			tc.wantNothing("patience is the endpoint's")
			tc.recv(packet{typ: wire.State})
			tc.want("STATE", packet{typ: wire.State, seq: 1, ack: 0})
			tc.conn.timers.stop(timerHandshake)
			tc.write(20 * full)
			return tc
		}
		tc := connected()
		require.Len(t, tc.loseAll(), 10, "the initial window leaves at once")
		tc.wantAfter(3*time.Second, "the timeout is not as long", packet{typ: wire.Data, seq: 1})

		tc = connected()
		tc.takeAll()
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
		tc.advance(500 * time.Millisecond)
		require.Len(t, tc.loseAll(), 10, "nor is the rest spread over that time")
	}
}
