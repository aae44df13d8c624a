package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// Rule 2 is a list of "never". What can be seen in a single datagram every
// script checks in all of them (checkRule02); the tests here lead there.

// "Never: empty DATA, payload on FIN/STATE."
func TestRule02NoEmptyDataNoPayloadElsewhere(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write("")
		tc.wantNothing("nothing was written")
		tc.write("a")
		tc.write("b")
		tc.want("a first short packet", packet{typ: wire.Data, payload: "a"})
		tc.wantNothing("the second waits for company")
		tc.closeWrite()
		tc.want("but not beyond the end, and travels by itself", packet{typ: wire.Data, seq: 2, payload: "b"})
		tc.want("before the FIN", packet{typ: wire.Fin, seq: 3, size: wire.HeaderSize})
	})
}

// "Never: timestamp 0": libutp and libtorrent read it as "none".
func TestRule02NoTimestampZero(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		const wrap = Time(1<<32) * 1000 // of the microsecond clock
		tc.advance(wrap.Sub(tc.now))
		tc.write("x")
		tc.want("one microsecond is added", packet{typ: wire.Data, timestamp: 1})
		tc.advance(time.Microsecond)
		tc.recv(packet{}, packet{})
		tc.want("no more", packet{typ: wire.State, timestamp: 1})
	}, noKeepAlive)
}

// "Never: diff 0 after the first sample", nor 0x7FFFFFFF.
func TestRule02NoDifferenceThatMeansNone(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		now := int(tc.now / 1000)
		tc.recv(packet{}, packet{timestamp: now})
		tc.want("two clocks that agree", packet{typ: wire.State, diff: 1})
		tc.recv(packet{}, packet{timestamp: int(uint32(now - 0x7FFFFFFF))})
		tc.want("what µTorrent sent uninitialised", packet{typ: wire.State, diff: 0x7FFFFFFE})
		tc.recv(packet{}, packet{timestamp: now - 77})
		tc.want("any other is said as it is", packet{typ: wire.State, diff: 77})
		tc.recv(packet{timestamp: 0}, packet{timestamp: 0})
		tc.want("a packet without a timestamp is no sample: the last one stands", packet{typ: wire.State, diff: 77})
	})
}

func TestRule02NoDifferenceWithoutSample(t *testing.T) {
	tc := newScript(t, acceptor, unconnected)
	tc.recv(packet{typ: wire.Syn, timestamp: 0})
	tc.want("there is no sample yet", packet{typ: wire.State, diff: 0})
	tc.recv(packet{typ: wire.State, timestamp: int(tc.now/1000) - 5})
	tc.write("x")
	tc.want("there is one now", packet{typ: wire.Data, diff: 5})
}

// "Never: UDP payload > 1472/1452" to peers that are not of our own kind.
func TestRule02NoDatagramAboveEthernet(t *testing.T) {
	jumbo := with(func(p *Params) { p.MaxDatagram = 9000 })
	// largest returns the largest datagram when all probes succeed.
	largest := func(tc *testConn) (size int) {
		for range 20 {
			tc.write(20000)
			for _, d := range tc.takeAll() {
				size = max(size, len(d.bytes))
			}
			for range 10 {
				tc.advance(rtt)
				for _, d := range tc.takeAll() {
					size = max(size, len(d.bytes))
				}
				tc.recv(packet{typ: wire.State})
			}
		}
		tc.takeAll()
		return size
	}
	require.Equal(t, 1472, largest(newScript(t, jumbo)), "IPv4")
	require.Equal(t, 1452, largest(newScript(t, jumbo, ipv6)), "IPv6")
	require.Equal(t, 9000, largest(newScript(t, jumbo, ownKind)), "our own kind")
}

// "Never: > ~900 packets outstanding" to peers that are not of our own kind.
func TestRule02NoMoreThan900Outstanding(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		for range 900 {
			tc.write(1)
		}
		require.Len(tc.t, tc.loseAll(), 900)
		tc.closeWrite()
		if tc.ownKind {
			tc.want("our own kind takes more", packet{typ: wire.Fin})
			return
		}
		tc.wantNothing("not even a FIN")
		tc.recv(packet{typ: wire.State, ack: 1})
		tc.want("until there is room", packet{typ: wire.Fin})
	})
	everyPeer(t, func(tc *testConn) {
		tc.conn.SetNoDelay(true)
		for range 3000 {
			tc.write(1)
		}
		if sent := len(tc.loseAll()); tc.ownKind {
			require.Equal(tc.t, 3000, sent)
		} else {
			require.Equal(tc.t, 900, sent)
		}
	})
}

// "Never: DATA before confirmation": what does not echo our number is no
// confirmation, and makes us say nothing.
func TestRule02NoDataBeforeConfirmation(t *testing.T) {
	for _, ack := range []int{1, 2, 30000, -2, -3, -30000} {
		tc := newScript(t, acceptor, unconnected)
		tc.recv(packet{typ: wire.Syn})
		tc.want("SYN-ACK", packet{typ: wire.State})
		tc.write("secret")
		for _, typ := range []wire.Type{wire.State, wire.Data, wire.Fin} {
			tc.recv(packet{typ: typ, seq: 1, ack: ack})
			tc.wantNothing("a wrong number proves nothing")
		}
		require.True(t, tc.conn.Embryonic())
	}
	tc := newScript(t, acceptor, unconnected)
	tc.recv(packet{typ: wire.Syn})
	tc.want("SYN-ACK", packet{typ: wire.State})
	tc.write("secret")
	tc.recv(packet{seq: -9, ack: 0})
	tc.want("the right number, even on a duplicate, proves the address",
		packet{typ: wire.State}, packet{typ: wire.Data, seq: 1, payload: "secret"})
}

// "Never: RST in reply to RST."
func TestRule02NoResetForReset(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{typ: wire.Reset, ack: 1000})
		tc.wantNothing("not to one that is refused")
		tc.recv(packet{typ: wire.Reset}, packet{typ: wire.Reset}, packet{typ: wire.Reset})
		tc.wantReason("reset", ResetByPeer)
		tc.recv(packet{}, packet{typ: wire.Fin}, packet{typ: wire.Reset})
		tc.advance(time.Minute)
		tc.wantNothing("nor anything else afterwards")
	})
	everyPeer(t, func(tc *testConn) {
		tc.abort()
		tc.want("we reset it", packet{typ: wire.Reset, seq: 1, ack: 0})
		tc.recv(packet{typ: wire.Reset}, packet{typ: wire.State}, packet{})
		tc.advance(time.Minute)
		tc.wantNothing("once")
	})
}

// "Never: STATE in reply to STATE", whatever it says.
func TestRule02NoStateForState(t *testing.T) {
	everyPeer(t, func(tc *testConn) {
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data})
		tc.recv(packet{}, packet{})
		tc.want("not part of this", packet{typ: wire.State})
		for _, p := range []packet{
			{},
			{seq: 1}, {seq: 2}, {seq: 4}, {seq: 500}, {seq: 1023}, {seq: 2000}, {seq: -5}, {seq: -20000}, // expected is 3
			{ack: -1}, {ack: -2}, {ack: 2}, {ack: 900},
			{window: 0}, {timestamp: 0}, {diff: 0},
			{sack: []int{3}}, {ext: []extension{{1, nil}}}, {ext: []extension{{3, make([]byte, 4)}}},
		} {
			p.typ = wire.State
			tc.recv(p)
			tc.wantNothing("a STATE is no reason to say anything")
		}
		tc.advance(100 * time.Millisecond)
		tc.wantNothing("nor later")
	})
}

// "Except: every SYN-ACK is answered by one STATE, also after connecting, at most
// one in 100 ms."
func TestRule02StateForSynAck(t *testing.T) {
	for name, hello := range map[string]bool{"foreign": false, "own": true} {
		t.Run(name, func(t *testing.T) {
			tc := newScript(t, unconnected)
			tc.want("SYN", packet{typ: wire.Syn})
			synAck := packet{typ: wire.State, seq: 1, ack: 0, hello: hello}
			answer := packet{typ: wire.State, seq: 1, ack: 0, hello: false}
			tc.recv(synAck)
			tc.want("the first", answer)
			tc.advance(99 * time.Millisecond)
			tc.recv(synAck, synAck)
			tc.wantNothing("too early")
			tc.advance(time.Millisecond)
			tc.recv(synAck, synAck)
			tc.want("after 100 ms again", answer)
			tc.advance(100 * time.Millisecond)
			tc.recv(packet{}, packet{})
			tc.want("not part of this", packet{typ: wire.State, ack: 2})
			tc.recv(synAck)
			tc.want("later too: it was long under way, or its sender heard nothing", packet{typ: wire.State, seq: 1, ack: 2})
		})
	}
}

// An acceptor never takes a STATE for a SYN-ACK.
func TestRule02NoStateForStateToAcceptor(t *testing.T) {
	for _, kind := range []option{func(*testConn) {}, ownKind} {
		tc := newScript(t, acceptor, kind)
		for range 5 {
			tc.advance(time.Second)
			tc.recv(packet{typ: wire.State, seq: 1, ack: 0})
			tc.wantNothing("it is the initiator's to answer")
		}
		tc.write("x")
		tc.want("DATA", packet{typ: wire.Data, seq: 1})
		for range 2 {
			tc.recv(packet{typ: wire.State, seq: 0, ack: 1})
			tc.wantNothing("whatever its numbers")
		}
	}
}
