package engine

import (
	"bytes"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

var poison = bytes.Repeat([]byte{0xdb}, MinChunk)

// testMemory is Memory that counts what is out. Chunks are used again, so that
// who goes on using one that it gave back reads the bytes of another.
type testMemory struct {
	chunks   int
	bytes    int // of all chunks that are out
	reserved int
	budget   int
	free     [16][]*Chunk // by the logarithm of their size
}

func (m *testMemory) Get(n int) *Chunk {
	if n > MaxChunk {
		panic("BUG: chunk too large")
	}
	class := bits.Len(uint(max(n, MinChunk)-1)) - 11
	m.chunks++
	m.bytes += MinChunk << class
	if l := len(m.free[class]); l > 0 {
		c := m.free[class][l-1]
		m.free[class] = m.free[class][:l-1]
		return c
	}
	return &Chunk{Buf: make([]byte, MinChunk<<class)}
}

func (m *testMemory) Put(c *Chunk) {
	m.chunks--
	m.bytes -= len(c.Buf)
	class := bits.Len(uint(len(c.Buf)-1)) - 11
	copy(c.Buf, poison)
	m.free[class] = append(m.free[class], c)
}

func (m *testMemory) Reserve(n int, must bool) bool {
	if !must && m.budget > 0 && m.reserved+n > m.budget {
		return false
	}
	m.reserved += n
	return true
}

func (m *testMemory) Release(n int) { m.reserved -= n }

// testParams are the defaults of package utp.
func testParams() *Params {
	return &Params{
		MaxDatagram: MaxDatagramIPv4,
		SendBuffer:  1 << 20,
		RecvBuffer:  1 << 20,
		Timeout:     60 * time.Second,
		KeepAlive:   25 * time.Second,
		Linger:      5 * time.Second,
		Memory:      &testMemory{},
	}
}

// link is what happens to the datagrams of one direction.
type link struct {
	delay, jitter   time.Duration
	loss, duplicate float64
	rate            int  // bytes a second, zero: unlimited
	queue           int  // bytes that may wait for the link
	mtu             int  // larger datagrams vanish unless they may be fragmented
	iface           int  // the system refuses to send larger ones, unless they may be fragmented
	clean           int  // datagrams that pass untouched at first
	downAt, upAt    Time // nothing passes between
	busyUntil       Time
}

// pair is two endpoints with one connection between them, in virtual time.
type pair struct {
	rng    *rand.Rand
	now    Time
	a, b   *peer
	wire   packetHeap
	order  int
	packet int // datagrams sent, for limits
	drop   func(from *peer, p *wire.Packet) bool
	mangle func(from *peer, d []byte) []byte // changes a datagram on its way
	log    func(string, ...any)

	scratch [MaxChunk]byte
	reading [MaxChunk]byte
	parsed  wire.Packet
	free    [][]byte // datagrams to use again
}

// peer is one side: a minimal endpoint.
type peer struct {
	name   string
	params *Params
	mem    *testMemory
	out    link // to the other side
	conn   *Conn
	tomb   *Tombstone
	other  *peer
	accept bool // answers a SYN
	seq    wire.SeqNr
	id     uint16
	step   func()        // the application: called after every event
	wake   Time          // when to call it in any case, zero for never
	events Events        // for it: what the connection reported
	skew   time.Duration // its clock is ahead of the pair's
	room   int           // for PollTransmit, zero: plenty
	resets bool          // answers packets of unknown connections with a RESET
	busy   bool          // the application uses the connection: no SYN replaces it
	check  func()        // looks for broken invariants after every call
}

// clock is what its clock says.
func (x *peer) clock(p *pair) Time { return p.now.Add(x.skew) }

// timeout is when its connection wants to be called, on the pair's clock.
func (x *peer) timeout() Time {
	if x.conn == nil {
		return 0
	}
	if t := x.conn.PollTimeout(); t != 0 {
		return t.Add(-x.skew)
	}
	return 0
}

type inFlight struct {
	at    Time
	order int
	to    *peer
	data  []byte
}

// packetHeap is a binary heap of what is on its way, the next to arrive first.
type packetHeap []inFlight

func (h packetHeap) less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}

func (h *packetHeap) push(f inFlight) {
	*h = append(*h, f)
	s := *h
	for i := len(s) - 1; i > 0 && s.less(i, (i-1)/2); i = (i - 1) / 2 {
		s[i], s[(i-1)/2] = s[(i-1)/2], s[i]
	}
}

func (h *packetHeap) pop() inFlight {
	s := *h
	first, n := s[0], len(s)-1
	s[0], s[n] = s[n], inFlight{}
	s = s[:n]
	*h = s
	for i := 0; ; {
		c := 2*i + 1
		if c+1 < n && s.less(c+1, c) {
			c++
		}
		if c >= n || !s.less(c, i) {
			return first
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
}

func newPair(seed uint64) *pair {
	p := &pair{rng: rand.New(rand.NewPCG(seed, 1)), now: Time(time.Second), log: func(string, ...any) {}}
	p.a = &peer{name: "a", id: 1000, seq: 65530}
	p.b = &peer{name: "b", accept: true, seq: 65530}
	for _, x := range []*peer{p.a, p.b} {
		x.params = testParams()
		x.mem = x.params.Memory.(*testMemory)
		x.step, x.check = func() {}, func() {}
	}
	p.a.other, p.b.other = p.b, p.a
	return p
}

// dial makes the initiator's connection.
func (p *pair) dial() {
	p.a.conn = new(Conn)
	p.a.conn.Connect(p.a.clock(p), p.a.params, Identity{ConnID: p.a.id, SeqNr: p.a.seq})
}

// flush sends what x has to send.
func (p *pair) flush(x *peer) {
	buf := p.scratch[:]
	if x.room > 0 {
		buf = buf[:x.room]
	}
	for i := 0; x.conn != nil; i++ {
		wants := x.conn.WantsTransmit()
		t, ok := x.conn.PollTransmit(x.clock(p), buf)
		x.check()
		if !ok {
			return
		}
		if !wants {
			panic("BUG: PollTransmit has what WantsTransmit denies")
		}
		if i > 1<<16 {
			panic("BUG: PollTransmit does not end")
		}
		if t.Len > maxRun*t.Segment || t.Fragment && t.Len > t.Segment {
			panic("BUG: a run that cannot be sent at once")
		}
		if l := x.out; l.iface > 0 && t.Segment > l.iface && !t.Fragment {
			p.log("%12v %s> too big: %d", time.Duration(p.now), x.name, t.Segment)
			x.conn.HandleTooBig(x.clock(p), t.Segment)
			continue
		}
		p.send(x, buf[:t.Len], t)
	}
}

func (p *pair) send(x *peer, b []byte, t Transmit) {
	for len(b) > 0 {
		n := min(t.Segment, len(b))
		p.sendOne(x, b[:n], t.Fragment)
		b = b[n:]
	}
}

// datagram returns a copy of b.
func (p *pair) datagram(b []byte) []byte {
	if n := len(p.free); n > 0 && len(b) <= MaxDatagramIPv4 {
		d := p.free[n-1]
		p.free = p.free[:n-1]
		return append(d[:0], b...)
	}
	return append(make([]byte, 0, max(len(b), MaxDatagramIPv4)), b...)
}

func (p *pair) sendOne(x *peer, d []byte, fragment bool) {
	p.packet++
	l := &x.out
	pkt := &p.parsed
	if !pkt.Parse(d) {
		panic("BUG: sent a datagram that is not uTP")
	}
	p.log("%12v %s> %v id %d seq %d ack %d len %d wnd %d ext %d", time.Duration(p.now), x.name,
		pkt.Type, pkt.ConnID, pkt.SeqNr, pkt.AckNr, len(pkt.Payload), pkt.Window, len(d)-len(pkt.Payload)-wire.HeaderSize)
	if p.drop != nil && p.drop(x, pkt) || l.mtu > 0 && len(d) > l.mtu && !fragment || l.downAt <= p.now && p.now < l.upAt {
		p.log("  dropped")
		return
	}
	if p.mangle != nil {
		d = p.mangle(x, d)
	}
	copies := 1
	at := p.now.Add(l.delay)
	if l.clean > 0 {
		l.clean--
	} else {
		if p.rng.Float64() < l.loss {
			p.log("  lost")
			return
		}
		if p.rng.Float64() < l.duplicate {
			copies = 2
		}
	}
	if l.rate > 0 {
		start := max(p.now, l.busyUntil)
		if int(start.Sub(p.now).Seconds()*float64(l.rate)) > l.queue {
			p.log("  queue full")
			return
		}
		l.busyUntil = start.Add(time.Duration(len(d)) * time.Second / time.Duration(l.rate))
		at = l.busyUntil.Add(l.delay)
	}
	for range copies {
		jitter := time.Duration(0)
		if l.jitter > 0 {
			jitter = time.Duration(p.rng.Int64N(int64(l.jitter)))
		}
		p.order++
		// The clock of the wire is too coarse for less than a microsecond.
		arrival := (at.Add(jitter) + 999) / 1000 * 1000
		p.wire.push(inFlight{arrival, p.order, x.other, p.datagram(d)})
	}
}

// deliver hands a datagram to x.
func (p *pair) deliver(x *peer, d []byte) {
	pkt := &p.parsed
	if !pkt.Parse(d) {
		panic("BUG: received a datagram that is not uTP")
	}
	if pkt.Type == wire.Syn {
		p.deliverSyn(x, pkt)
		return
	}
	if x.tomb != nil && p.now < x.tomb.Expires.Add(-x.skew) {
		var b [2 * wire.HeaderSize]byte
		if t := x.tomb.Reply(x.clock(p), pkt, b[:]); t.Len > 0 {
			p.send(x, b[:t.Len], t)
		}
		return
	}
	if x.conn != nil && x.conn.Reason() == NotClosed {
		_, send := x.conn.ConnIDs()
		if x.conn.Receives(pkt.ConnID) || pkt.Type == wire.Reset && pkt.ConnID == send {
			x.conn.HandlePacket(x.clock(p), pkt)
			x.check()
			p.bury(x)
			return
		}
	}
	if x.resets && pkt.Type != wire.Reset {
		h := wire.Header{Type: wire.Reset, ConnID: pkt.ConnID, SeqNr: wire.SeqNr(p.rng.Uint32()), AckNr: pkt.SeqNr}
		if x.params.Dialect == UTPPunch {
			h = wire.Header{Type: wire.Reset, ConnID: pkt.ConnID ^ 1, Window: punchWindow}
		}
		var b [wire.HeaderSize]byte
		h.Put(b[:], 0)
		p.sendOne(x, b[:], false)
	}
}

func (p *pair) deliverSyn(x *peer, pkt *wire.Packet) {
	switch {
	case !x.accept:
		return
	case x.conn == nil:
	case x.conn.SynSeqNr() == pkt.SeqNr:
		x.conn.RepeatSynAck()
		return
	default:
		// Another attempt of the same dialler replaces one that led to nothing.
		if recv, _ := x.conn.ConnIDs(); x.busy || pkt.ConnID < recv {
			return
		}
		x.conn.Abort()
		p.flush(x)
		x.tomb = nil
	}
	x.conn = new(Conn)
	x.conn.Accept(x.clock(p), x.params, Identity{SeqNr: x.seq}, pkt)
}

// bury puts a tombstone where a connection has finished.
func (p *pair) bury(x *peer) {
	if x.tomb == nil && x.conn.Reason() == Finished {
		if t, ok := x.conn.Tombstone(x.clock(p)); ok {
			x.tomb = &t
		}
	}
}

// settle lets the application act and sends, until nothing changes.
func (p *pair) settle(x *peer) {
	for x.conn != nil {
		x.step()
		p.flush(x)
		e := x.conn.PollEvents()
		x.events |= e
		p.bury(x)
		if e == 0 {
			return
		}
	}
}

// next performs the earliest event and reports false when there is none.
func (p *pair) next() bool {
	at := Time(0)
	if len(p.wire) > 0 {
		at = p.wire[0].at
	}
	for _, x := range [...]*peer{p.a, p.b} {
		for _, t := range [...]Time{x.timeout(), x.wake} {
			if t != 0 && (at == 0 || t < at) {
				at = t
			}
		}
	}
	if at == 0 {
		return false
	}
	if at < p.now {
		at = p.now
	}
	p.now = at
	for len(p.wire) > 0 && p.wire[0].at <= at {
		f := p.wire.pop()
		p.deliver(f.to, f.data)
		p.free = append(p.free, f.data)
		// What arrives at once is answered at once.
		if len(p.wire) == 0 || p.wire[0].at > at || p.wire[0].to != f.to {
			p.settle(f.to)
		}
	}
	for _, x := range [...]*peer{p.a, p.b} {
		due := x.wake != 0 && x.wake <= at
		if due {
			x.wake = 0
		}
		if t := x.timeout(); t != 0 && t <= at {
			x.conn.HandleTimeout(x.clock(p))
			if t := x.timeout(); t != 0 && t <= at {
				panic("BUG: a timer is due that was just handled")
			}
			x.check()
			due = true
		}
		if due {
			p.settle(x)
		}
	}
	return true
}

// run performs events until done, for at most limit of virtual time.
func (p *pair) run(limit time.Duration, done func() bool) error {
	p.settle(p.a)
	p.settle(p.b)
	end := p.now.Add(limit)
	for !done() {
		if !p.next() {
			return fmt.Errorf("nothing left to happen at %v", time.Duration(p.now))
		}
		if p.now > end {
			return fmt.Errorf("not done after %v", limit)
		}
	}
	return nil
}

// connect dials and runs until both sides are connected.
func (p *pair) connect(t testing.TB) {
	t.Helper()
	p.dial()
	err := p.run(time.Minute, func() bool {
		return p.a.conn.Connected() && p.b.conn != nil && p.b.conn.Connected()
	})
	if err != nil {
		t.Fatalf("handshake: %v", err)
	}
}

// pattern is the byte at offset i of a stream.
func pattern(stream byte, i int) byte { return byte(i*7) ^ byte(i>>8) ^ byte(i>>16) ^ stream }

func fill(b []byte, stream byte, off int) {
	for i := range b {
		b[i] = pattern(stream, off+i)
	}
}

// transfer writes n bytes from x to its peer, ends the stream, and checks what
// arrives.
func (p *pair) transfer(t testing.TB, x *peer, n int) {
	t.Helper()
	p.move(t, x, n, func() { x.conn.CloseWrite() })
	require.NoError(t, p.run(time.Hour, func() bool { return x.other.conn.EOF() && x.conn.Flushed() }))
}

// move writes n bytes from x to its peer and checks what arrives. When all is
// written it calls written.
func (p *pair) move(t testing.TB, x *peer, n int, written func()) {
	t.Helper()
	y := x.other
	// The streams of a direction are told apart by where they begin.
	off := int(x.conn.buf.end)
	wrote, read := 0, 0
	buf := make([]byte, 64<<10)
	x.step = func() {
		for wrote < n {
			k := min(len(buf), n-wrote, x.conn.Writable()+1)
			fill(buf[:k], x.name[0], off+wrote)
			m := x.conn.Write(buf[:k])
			wrote += m
			if m < k {
				return
			}
		}
		written()
	}
	y.step = func() {
		for {
			m := y.conn.Read(y.clock(p), buf)
			for i, c := range buf[:m] {
				if c != pattern(x.name[0], off+read+i) {
					t.Fatalf("byte %d differs", read+i)
				}
			}
			if read += m; m == 0 {
				return
			}
		}
	}
	if err := p.run(time.Hour, func() bool { return read == n && x.conn.buf.len() == 0 }); err != nil {
		t.Fatalf("%s: wrote %d, read %d of %d: %v; %+v", x.name, wrote, read, n, err, x.conn.Stats())
	}
	x.step, y.step = func() {}, func() {}
}

// long marks a test with many packets, which has one goroutine and therefore
// nothing that the race detector could find.
func long(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("takes long under the race detector, for nothing")
	}
}

func TestPairTransfer(t *testing.T) {
	long(t)
	p := newPair(1)
	p.a.out, p.b.out = link{delay: 10 * time.Millisecond}, link{delay: 10 * time.Millisecond}
	p.connect(t)
	start := p.now
	p.transfer(t, p.a, 10<<20)
	t.Logf("10 MiB in %v, %d packets, %+v", p.now.Sub(start), p.packet, p.a.conn.Stats())
	p.transfer(t, p.b, 1<<20)
	if r := p.a.conn.Reason(); r != Finished {
		t.Fatalf("reason %d", r)
	}
}

func TestPairLossy(t *testing.T) {
	long(t)
	p := newPair(2)
	p.a.out = link{delay: 10 * time.Millisecond, jitter: 3 * time.Millisecond, loss: 0.02, duplicate: 0.01, clean: 3}
	p.b.out = p.a.out
	p.connect(t)
	start := p.now
	p.transfer(t, p.a, 10<<20)
	t.Logf("10 MiB in %v, %d packets, %+v", p.now.Sub(start), p.packet, p.a.conn.Stats())
}
