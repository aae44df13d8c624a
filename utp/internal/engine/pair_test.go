package engine

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"utppunch/utp/internal/wire"
)

// testMemory is Memory that counts what is out.
type testMemory struct {
	chunks   int
	reserved int
	budget   int
}

func (m *testMemory) Get(n int) *Chunk {
	m.chunks++
	size := MinChunk
	for size < n {
		size *= 2
	}
	return &Chunk{Buf: make([]byte, size)}
}

func (m *testMemory) Put(*Chunk) { m.chunks-- }

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
	rate            int // bytes a second, zero: unlimited
	queue           int // bytes that may wait for the link
	mtu             int // larger datagrams vanish unless they may be fragmented
	clean           int // datagrams that pass untouched at first
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
	log    func(string, ...any)
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
	step   func() // the application: called after every event
	err    error
}

type inFlight struct {
	at    Time
	order int
	to    *peer
	data  []byte
}

type packetHeap []inFlight

func (h packetHeap) Len() int { return len(h) }
func (h packetHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}
func (h packetHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *packetHeap) Push(x any)   { *h = append(*h, x.(inFlight)) }
func (h *packetHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func newPair(seed uint64) *pair {
	p := &pair{rng: rand.New(rand.NewPCG(seed, 1)), now: Time(time.Second), log: func(string, ...any) {}}
	p.a = &peer{name: "a", id: 1000, seq: 65530}
	p.b = &peer{name: "b", accept: true, seq: 65530}
	for _, x := range []*peer{p.a, p.b} {
		x.params = testParams()
		x.mem = x.params.Memory.(*testMemory)
		x.step = func() {}
	}
	p.a.other, p.b.other = p.b, p.a
	return p
}

// dial makes the initiator's connection.
func (p *pair) dial() {
	p.a.conn = new(Conn)
	p.a.conn.Connect(p.now, p.a.params, Identity{ConnID: p.a.id, SeqNr: p.a.seq})
}

// flush sends what x has to send.
func (p *pair) flush(x *peer) {
	var buf [MaxChunk]byte
	for i := 0; x.conn != nil; i++ {
		t, ok := x.conn.PollTransmit(p.now, buf[:])
		if !ok {
			return
		}
		if i > 1<<16 {
			panic("BUG: PollTransmit does not end")
		}
		p.send(x, buf[:t.Len], t)
	}
}

func (p *pair) send(x *peer, b []byte, t Transmit) {
	for len(b) > 0 {
		n := min(t.Segment, len(b))
		p.sendOne(x, append([]byte(nil), b[:n]...), t.Fragment)
		b = b[n:]
	}
}

func (p *pair) sendOne(x *peer, d []byte, fragment bool) {
	p.packet++
	l := &x.out
	var pkt wire.Packet
	if !pkt.Parse(d) {
		panic("BUG: sent a datagram that is not uTP")
	}
	p.log("%12v %s> %v seq %d ack %d len %d wnd %d", time.Duration(p.now), x.name, pkt.Type, pkt.SeqNr, pkt.AckNr, len(pkt.Payload), pkt.Window)
	if p.drop != nil && p.drop(x, &pkt) || l.mtu > 0 && len(d) > l.mtu && !fragment {
		p.log("  dropped")
		return
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
		heap.Push(&p.wire, inFlight{at.Add(jitter), p.order, x.other, d})
	}
}

// deliver hands a datagram to x.
func (p *pair) deliver(x *peer, d []byte) {
	var pkt wire.Packet
	pkt.Parse(d)
	if pkt.Type == wire.Syn {
		switch {
		case !x.accept:
		case x.conn == nil:
			x.conn = new(Conn)
			x.conn.Accept(p.now, x.params, Identity{SeqNr: x.seq}, &pkt)
		case x.conn.SynSeqNr() == pkt.SeqNr:
			x.conn.RepeatSynAck()
		}
		return
	}
	if x.tomb != nil {
		var b [2 * wire.HeaderSize]byte
		if t := x.tomb.Reply(p.now, &pkt, b[:]); t.Len > 0 {
			p.send(x, b[:t.Len], t)
		}
		return
	}
	if x.conn == nil {
		return
	}
	recv, send := x.conn.ConnIDs()
	if pkt.ConnID == recv || pkt.Type == wire.Reset && pkt.ConnID == send {
		x.conn.HandlePacket(p.now, &pkt)
	}
}

// settle lets the application act and sends, until nothing changes.
func (p *pair) settle(x *peer) {
	if x.conn == nil {
		return
	}
	x.step()
	p.flush(x)
	x.conn.PollEvents()
	if x.tomb == nil && x.conn.Reason() == Finished {
		if t, ok := x.conn.Tombstone(p.now); ok {
			x.tomb = &t
		}
	}
}

// next performs the earliest event and reports false when there is none.
func (p *pair) next() bool {
	at := Time(0)
	if len(p.wire) > 0 {
		at = p.wire[0].at
	}
	for _, x := range []*peer{p.a, p.b} {
		if x.conn == nil {
			continue
		}
		if t := x.conn.PollTimeout(); t != 0 && (at == 0 || t < at) {
			at = t
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
		f := heap.Pop(&p.wire).(inFlight)
		p.deliver(f.to, f.data)
		p.settle(f.to)
	}
	for _, x := range []*peer{p.a, p.b} {
		if x.conn != nil {
			if t := x.conn.PollTimeout(); t != 0 && t <= at {
				x.conn.HandleTimeout(at)
				p.settle(x)
			}
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
	y := x.other
	wrote, read := 0, 0
	buf := make([]byte, 64<<10)
	x.step = func() {
		for wrote < n {
			k := min(len(buf), n-wrote)
			fill(buf[:k], x.name[0], wrote)
			m := x.conn.Write(buf[:k])
			wrote += m
			if m < k {
				return
			}
		}
		x.conn.CloseWrite()
	}
	y.step = func() {
		for {
			m := y.conn.Read(p.now, buf)
			for i, c := range buf[:m] {
				if c != pattern(x.name[0], read+i) {
					t.Fatalf("byte %d differs", read+i)
				}
			}
			if read += m; m == 0 {
				return
			}
		}
	}
	if err := p.run(time.Hour, func() bool { return read == n && y.conn.EOF() && x.conn.Flushed() }); err != nil {
		t.Fatalf("%s: wrote %d, read %d of %d: %v; %+v", x.name, wrote, read, n, err, x.conn.Stats())
	}
	x.step, y.step = func() {}, func() {}
}

func TestPairTransfer(t *testing.T) {
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
	p := newPair(2)
	p.a.out = link{delay: 10 * time.Millisecond, jitter: 3 * time.Millisecond, loss: 0.02, duplicate: 0.01, clean: 3}
	p.b.out = p.a.out
	p.connect(t)
	start := p.now
	p.transfer(t, p.a, 10<<20)
	t.Logf("10 MiB in %v, %d packets, %+v", p.now.Sub(start), p.packet, p.a.conn.Stats())
}
