package engine

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// This file is a language for scripts that play the peer of one Conn, packet by
// packet, in virtual time. TestTestScript shows all of it.
//
// Sequence numbers are counted as the conversation does: each side's first DATA
// is number 1, and what came before it, a SYN or nothing, is 0. On the wire both
// sides begin at 65530 unless told otherwise, so that number 6 is 0 there.

func TestTestScript(t *testing.T) {
	// The engine dials, and the peer is another implementation; options change
	// that. The handshake is already done.
	tc := newScript(t)

	// The script writes as the application; want takes the next datagram that
	// was sent and compares those fields that it names. Payload is a length or
	// a string. Whatever is sent must be right as a stream, and keep rule 2.
	tc.write("hello")
	tc.want("written data is sent at once", packet{typ: wire.Data, seq: 1, ack: 0, payload: "hello"})

	// recv hands packets to the engine, as one batch. What is not named is what
	// an honest peer says: its next number, the acknowledgement of all that
	// want took, its clock, a wide window.
	tc.advance(rtt)
	tc.recv(packet{typ: wire.Data, payload: "hi "}, packet{typ: wire.Data, payload: "there"})
	tc.want("two packets are acknowledged at once", packet{typ: wire.State, seq: 2, ack: 2})
	tc.read(8)

	// Without an acknowledgement of its own a packet arrives later, or never.
	tc.write("lost")
	tc.lose("this never reaches the peer", packet{typ: wire.Data, seq: 2})
	tc.recv(packet{typ: wire.State, window: 5000})

	// Time passes with advance; wantAfter says when exactly something is sent.
	tc.wantNothing("a STATE is not acknowledged")
	tc.wantAfter(tc.conn.Stats().RTO, "lost data is sent again", packet{typ: wire.Data, seq: 2, payload: "lost"})

	// A field may also be a bound. DATA is the type that need not be named.
	tc.recv(packet{seq: 4, payload: 100})
	tc.want("what lies ahead of a gap is named", packet{typ: wire.State, ack: 2, sack: []int{4}, window: atMost(initialWindow)})

	tc.recv(packet{typ: wire.Reset})
	tc.wantReason("a RESET ends it", ResetByPeer)
	// At the end nothing may be left that no want took, and no memory. When
	// something fails, the whole conversation is printed.

	// Most scripts hold for both roles and both kinds of peer.
	everyPeer(t, func(tc *testConn) {
		tc.recv(packet{})
		tc.wantNothing("a single packet is not acknowledged at once")
		tc.advanceToTimer()
		tc.want("but soon", packet{typ: wire.State, ack: 1})
		tc.close()
		tc.want("the end of our stream", packet{typ: wire.Fin, seq: 1})
		tc.recv(packet{typ: wire.Fin})
		tc.wantStateAfterFin("the end of theirs", 2)
		tc.wantReason("both have ended", Finished)
	})
}

// rtt is the round trip of a script's handshake.
const rtt = 20 * time.Millisecond

// What scripts ask a connection beyond what a driver does.

func (c *Conn) Connected() bool { return c.state == connected }

func (c *Conn) OwnKind() bool { return c.ownKind }

func (c *Conn) Embryonic() bool { return c.state == synRecv }

func (c *Conn) SRTT() time.Duration { return c.rtt.srtt }

// packet is what a script says about a datagram. A field that is nil is not
// compared in want, and what an honest peer would say in recv. Otherwise it is
// an int or, in want, a match.
type packet struct {
	typ       wire.Type
	id        any // connection_id
	seq, ack  any
	timestamp any // 0: none
	diff      any
	window    any
	payload   any         // length, or string
	sack      []int       // numbers acknowledged selectively; empty: no extension
	ext       []extension // recv: the extension chain, whatever it is
	hello     any         // bool: with the Hello of our own kind
	size      any         // want: of the datagram
}

type extension struct {
	typ     byte
	content []byte
}

// match is a condition on a number.
type match struct {
	name string
	ok   func(int) bool
}

func atMost(n int) match       { return match{fmt.Sprintf("≤ %d", n), func(m int) bool { return m <= n }} }
func atLeast(n int) match      { return match{fmt.Sprintf("≥ %d", n), func(m int) bool { return m >= n }} }
func (m match) String() string { return m.name }

// datagram is one that the engine sent.
type datagram struct {
	wire.Packet
	bytes    []byte
	at       Time
	seq, ack int // as the script counts
}

// testConn is one conversation: a Conn, and the script that plays its peer.
type testConn struct {
	t      *testing.T
	conn   *Conn
	tomb   *Tombstone
	params *Params
	now    Time
	events Events
	buf    [MaxChunk]byte

	acceptor, ownKind, utpPunch, unconnected, ipv6 bool

	connID              uint16
	startSeq, startPeer wire.SeqNr // first numbers on the wire
	base, peerBase      wire.SeqNr // number 0 of the engine and of the peer
	pending             []datagram
	log                 []logEntry

	// What the engine did.
	written  []byte
	offset   int            // in written, after what was sent
	sent     map[int][]byte // payload by number
	next     int            // number after the last that was sent
	acked    int            // highest acknowledgement that it was given
	finSent  bool
	sampled  bool // it was given a timestamp
	received int  // bytes read
	ordered  int  // highest acknowledgement that it sent

	// The peer.
	arrived     map[int]bool
	peerAck     int // everything up to here arrived
	peerNext    int // its next number
	peerPayload map[int][]byte
	peerStream  []byte // payload of all numbers in order
	peerOrdered int    // up to this number
	peerClock   time.Duration
	peerWindow  int
}

type logEntry struct {
	at    Time
	text  string
	bytes []byte // of a packet
	sent  bool
}

type option func(*testConn)

func acceptor(tc *testConn)    { tc.acceptor = true }    // the engine accepts
func ownKind(tc *testConn)     { tc.ownKind = true }     // the peer says Hello
func utpPunch(tc *testConn)    { tc.utpPunch = true }    // the peer is utp-punch
func unconnected(tc *testConn) { tc.unconnected = true } // the script does the handshake
func ipv6(tc *testConn)        { tc.ipv6 = true }

// noProbe keeps packets at the base size.
func noProbe(tc *testConn) { tc.params.MaxDatagram = BaseDatagram }

// with changes the parameters.
func with(f func(*Params)) option { return func(tc *testConn) { f(tc.params) } }

// startAt sets the first sequence numbers of both sides.
func startAt(ours, peers wire.SeqNr) option {
	return func(tc *testConn) { tc.startSeq, tc.startPeer = ours, peers }
}

// newScript begins a conversation.
func newScript(t *testing.T, opts ...option) *testConn {
	t.Helper()
	tc := &testConn{
		t: t, params: testParams(), now: Time(time.Second),
		connID: 1000, startSeq: 65530, startPeer: 65530,
		sent: map[int][]byte{}, arrived: map[int]bool{}, peerPayload: map[int][]byte{},
		peerClock: 1234567 * time.Microsecond, peerWindow: 1 << 20,
	}
	for _, o := range opts {
		o(tc)
	}
	t.Cleanup(tc.end)
	if tc.acceptor {
		// The SYN-ACK does not consume a number.
		tc.base, tc.peerBase = tc.startSeq-1, tc.startPeer
		tc.next, tc.peerNext = 1, 0
	} else {
		tc.base, tc.peerBase = tc.startSeq, tc.startPeer-1
		tc.next, tc.peerNext, tc.peerAck = 0, 1, -1
		tc.conn = new(Conn)
		tc.conn.Connect(tc.now, tc.params, Identity{ConnID: tc.connID, SeqNr: tc.startSeq, IPv6: tc.ipv6})
		tc.flush()
	}
	if !tc.unconnected {
		tc.connect()
	}
	return tc
}

// connect does the handshake.
func (tc *testConn) connect() {
	tc.t.Helper()
	if tc.acceptor {
		tc.recv(packet{typ: wire.Syn, hello: tc.ownKind})
		tc.want("a SYN is answered", packet{typ: wire.State, id: int(tc.connID), seq: 1, ack: 0, hello: tc.ownKind})
		if tc.utpPunch {
			tc.recv(tc.unknown(tc.connID + 1))
			tc.want("and again, in its dialect", packet{typ: wire.State, id: int(tc.connID) + 1, seq: 1, ack: 0})
		}
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State})
	} else {
		tc.want("dialling sends a SYN", packet{typ: wire.Syn, seq: 0, hello: true})
		tc.advance(rtt)
		tc.recv(packet{typ: wire.State, hello: tc.ownKind})
		tc.want("a SYN-ACK is answered", packet{typ: wire.State, seq: 1, ack: 0})
		// Its repetition has tests of its own.
		tc.conn.timers.stop(timerHandshake)
	}
	require.True(tc.t, tc.conn.Connected())
	require.Equal(tc.t, tc.ownKind, tc.conn.OwnKind())
	require.Equal(tc.t, tc.utpPunch, tc.conn.Dialect() == UTPPunch)
	if !tc.utpPunch || !tc.acceptor {
		require.Equal(tc.t, rtt, tc.conn.SRTT())
	}
}

// everyPeer runs a script in both roles, against our own kind and others.
func everyPeer(t *testing.T, f func(tc *testConn), opts ...option) {
	t.Run("foreign", func(t *testing.T) { everyRole(t, f, opts...) })
	t.Run("own", func(t *testing.T) { everyRole(t, f, append(slices.Clone(opts), ownKind)...) })
}

// everyRole runs a script in both roles.
func everyRole(t *testing.T, f func(tc *testConn), opts ...option) {
	t.Run("initiator", func(t *testing.T) { f(newScript(t, opts...)) })
	t.Run("acceptor", func(t *testing.T) { f(newScript(t, append(slices.Clone(opts), acceptor)...)) })
}

// end checks that nothing is left over.
func (tc *testConn) end() {
	if tc.conn != nil && !tc.t.Failed() {
		for _, d := range tc.pending {
			tc.t.Errorf("left at the end: %s", tc.describe(&d.Packet, true))
		}
		if tc.conn.Reason() == NotClosed {
			tc.conn.Abort()
			tc.flush()
		}
		for tc.conn.Read(tc.now, tc.buf[:]) > 0 {
		}
		mem := tc.params.Memory.(*testMemory)
		if mem.chunks != 0 || mem.reserved != 0 {
			tc.t.Errorf("left at the end: %d chunks, %d bytes reserved", mem.chunks, mem.reserved)
		}
	}
	if tc.t.Failed() {
		tc.t.Log("the conversation, as far as it went:\n" + tc.transcript())
	}
}

// near is the script's number for x, the one closest to n.
func near(x, base wire.SeqNr, n int) int { return n + x.Diff(base+wire.SeqNr(n)) }

func (tc *testConn) note(format string, args ...any) {
	tc.log = append(tc.log, logEntry{at: tc.now, text: fmt.Sprintf(format, args...)})
}

// flush does what the driver does after it has called the engine.
func (tc *testConn) flush() {
	tc.t.Helper()
	for {
		wants := tc.conn.WantsTransmit()
		t, ok := tc.conn.PollTransmit(tc.now, tc.buf[:])
		if !ok {
			break
		}
		if !wants {
			tc.fatalf("WantsTransmit did not expect that PollTransmit has something")
		}
		for b := tc.buf[:t.Len]; len(b) > 0; {
			n := min(t.Segment, len(b))
			tc.capture(bytes.Clone(b[:n]))
			b = b[n:]
		}
	}
	tc.events |= tc.conn.PollEvents()
	if tc.tomb == nil && tc.conn.Reason() == Finished {
		if tomb, ok := tc.conn.Tombstone(tc.now); ok {
			tc.tomb = &tomb
		}
	}
}

func (tc *testConn) fatalf(format string, args ...any) {
	tc.t.Helper()
	tc.t.Fatalf("at %v: %s", tc.now.Sub(Time(time.Second)), fmt.Sprintf(format, args...))
}

// want takes the next datagrams that were sent; they arrive.
func (tc *testConn) want(why string, ps ...packet) {
	tc.t.Helper()
	for _, p := range ps {
		d := tc.take(why, p)
		tc.arrive(&d)
	}
}

// lose takes the next datagrams that were sent; they never arrive.
func (tc *testConn) lose(why string, ps ...packet) {
	tc.t.Helper()
	for _, p := range ps {
		tc.take(why, p)
	}
}

// wantNothing checks that nothing was sent.
func (tc *testConn) wantNothing(why string) {
	tc.t.Helper()
	if len(tc.pending) > 0 {
		tc.fatalf("%s: want nothing, got %s", why, tc.describe(&tc.pending[0].Packet, true))
	}
}

// wantAfter checks that for d nothing is sent, then p.
func (tc *testConn) wantAfter(d time.Duration, why string, p packet) {
	tc.t.Helper()
	tc.wantNothing(why)
	tc.advance(d - 1)
	tc.wantNothing(why + ", not earlier")
	tc.advance(1)
	tc.want(why, p)
}

// takeAll takes what was sent, whatever it is; it arrives.
func (tc *testConn) takeAll() []datagram {
	all := tc.loseAll()
	for i := range all {
		tc.arrive(&all[i])
	}
	return all
}

// loseAll takes what was sent, whatever it is; it never arrives.
func (tc *testConn) loseAll() []datagram {
	all := tc.pending
	tc.pending = nil
	return all
}

// grow opens the congestion window to n bytes; all that is sent is acknowledged.
func (tc *testConn) grow(n int) {
	tc.t.Helper()
	for tc.conn.Stats().CongestionWindow < n {
		tc.write(tc.conn.Writable())
		tc.advance(rtt)
		tc.takeAll()
		tc.recv(packet{typ: wire.State})
	}
	for !tc.conn.Flushed() {
		tc.advance(rtt)
		tc.takeAll()
		tc.recv(packet{typ: wire.State})
	}
}

func (tc *testConn) take(why string, p packet) datagram {
	tc.t.Helper()
	if len(tc.pending) == 0 {
		tc.fatalf("%s: want %v, nothing was sent", why, p.typ)
	}
	d := tc.pending[0]
	tc.pending = tc.pending[1:]
	if bad := tc.mismatch(p, &d); bad != "" {
		tc.fatalf("%s: %s: %s", why, tc.describe(&d.Packet, true), bad)
	}
	return d
}

func (tc *testConn) arrive(d *datagram) {
	if d.Type == wire.State || d.Type == wire.Reset {
		return
	}
	tc.arrived[d.seq] = true
	for tc.arrived[tc.peerAck+1] {
		tc.peerAck++
	}
}

// recv hands packets to the engine, as one batch.
func (tc *testConn) recv(ps ...packet) {
	tc.t.Helper()
	for _, p := range ps {
		tc.handIn(tc.build(p))
	}
	tc.flush()
}

// handIn routes a datagram as the endpoint does.
func (tc *testConn) handIn(b []byte) {
	tc.t.Helper()
	var p wire.Packet
	if !p.Parse(b) {
		tc.fatalf("the script's own packet is not uTP: %x", b)
	}
	tc.log = append(tc.log, logEntry{at: tc.now, bytes: b})
	tc.sampled = tc.sampled || p.Timestamp != 0
	tc.acked = max(tc.acked, min(near(p.AckNr, tc.base, tc.next), tc.next-1))
	switch {
	case p.Type == wire.Syn && tc.conn == nil:
		tc.conn = new(Conn)
		tc.conn.Accept(tc.now, tc.params, Identity{SeqNr: tc.startSeq, IPv6: tc.ipv6}, &p)
	case p.Type == wire.Syn:
		if tc.conn.SynSeqNr() == p.SeqNr {
			tc.conn.RepeatSynAck()
		}
	case tc.tomb != nil:
		t := tc.tomb.Reply(tc.now, &p, tc.buf[:])
		for b := tc.buf[:t.Len]; len(b) > 0; b = b[t.Segment:] {
			tc.capture(bytes.Clone(b[:t.Segment]))
		}
	default:
		_, send := tc.conn.ConnIDs()
		if !tc.conn.Receives(p.ConnID) && (p.ConnID != send || p.Type != wire.Reset) {
			tc.fatalf("id %d leads to no connection", p.ConnID)
		}
		tc.conn.HandlePacket(tc.now, &p)
	}
}

// advance lets time pass.
func (tc *testConn) advance(d time.Duration) {
	tc.t.Helper()
	end := tc.now.Add(d)
	for at := tc.conn.PollTimeout(); at != 0 && at <= end; at = tc.conn.PollTimeout() {
		tc.advanceToTimer()
	}
	tc.now = end
}

// advanceToTimer lets time pass until the engine wants to be called.
func (tc *testConn) advanceToTimer() {
	tc.t.Helper()
	at := tc.conn.PollTimeout()
	if at == 0 {
		tc.fatalf("no timer is running")
	}
	tc.now = max(tc.now, at)
	tc.conn.HandleTimeout(tc.now)
	tc.flush()
	if tc.conn.PollTimeout() == at {
		tc.fatalf("a timer does not move")
	}
}

// write writes a string, or a number of bytes.
func (tc *testConn) write(x any) {
	tc.t.Helper()
	tc.queue(x)
	tc.flush()
}

// queue is write, but does not send yet: more happens before.
func (tc *testConn) queue(x any) {
	tc.t.Helper()
	b, _ := x.(string)
	data := []byte(b)
	if n, ok := x.(int); ok {
		data = make([]byte, n)
		fill(data, 'w', len(tc.written))
	}
	tc.note("write %d", len(data))
	tc.written = append(tc.written, data...)
	require.Equal(tc.t, len(data), tc.conn.Write(data))
}

// read reads n bytes, which must be there and be the peer's.
func (tc *testConn) read(n int) {
	tc.t.Helper()
	tc.note("read %d", n)
	b := make([]byte, n)
	require.Equal(tc.t, n, tc.conn.Read(tc.now, b))
	require.True(tc.t, bytes.Equal(tc.peerStream[tc.received:tc.received+n], b), "what was read is not what the peer sent")
	tc.received += n
	tc.flush()
}

func (tc *testConn) closeWrite() {
	tc.t.Helper()
	tc.note("close write")
	tc.conn.CloseWrite()
	tc.flush()
}

func (tc *testConn) close() {
	tc.t.Helper()
	tc.note("close")
	tc.conn.Close(tc.now)
	tc.flush()
}

func (tc *testConn) abort() {
	tc.t.Helper()
	tc.note("abort")
	tc.conn.Abort()
	tc.flush()
}

// wantReason checks why the connection has ended, NotClosed if it has not.
func (tc *testConn) wantReason(why string, r Reason) {
	tc.t.Helper()
	if got := tc.conn.Reason(); got != r {
		tc.fatalf("%s: reason is %d, want %d", why, got, r)
	}
	if closed := tc.events&EventClosed != 0; closed != (r != NotClosed) {
		tc.fatalf("%s: EventClosed: %v", why, closed)
	}
}

// wantEOF checks that everything was read.
func (tc *testConn) wantEOF(why string, eof bool) {
	tc.t.Helper()
	if tc.conn.EOF() != eof {
		tc.fatalf("%s: EOF is %v", why, !eof)
	}
}

// wantStateAfterFin takes an acknowledgement that follows our FIN: two STATEs, with
// the FIN's number and the next, or one to our own kind.
func (tc *testConn) wantStateAfterFin(why string, ack int) {
	tc.t.Helper()
	if !tc.ownKind {
		tc.want(why, packet{typ: wire.State, seq: tc.next - 1, ack: ack})
	}
	tc.want(why, packet{typ: wire.State, seq: tc.next, ack: ack})
}
