package engine

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"utppunch/utp/internal/wire"
)

// Operations of a FuzzPair script. The lower half of a byte is the operation,
// the upper half its argument, of which the lowest bit says which side.
const (
	linkDeliver = iota // the oldest datagrams of a direction arrive, one to eight
	linkDrop           // they are lost instead
	linkTwice          // the oldest arrives and remains on its way
	linkLater          // the oldest goes behind all others
	linkAny            // one from the middle arrives first
	sideWrite
	sideRead
	sideCloseWrite
	sideCloseRead
	sideClose
	sideNoDelay
	timeMicroseconds
	timeMilliseconds
	timeSeconds
)

// fuzzPair is two connections and what lies between them, at the mercy of a
// script.
type fuzzPair struct {
	t      *testing.T
	p      *pair
	in     script
	actors map[*peer]*fuzzSide
}

// fuzzSide is one side's application.
type fuzzSide struct {
	x           *peer
	onWay       []heldDatagram // what it sent and has not arrived
	inv         invariants
	wrote, read int
	acked       int
	discards    bool
}

type heldDatagram struct {
	data []byte
	at   Time // when it was sent
}

// datagramLife is how old a datagram may be when it arrives. From 35.8 minutes on,
// half the wrap of the 32-bit clock in microseconds, it looks newer than what was
// sent since, and nothing on the wire says otherwise.
const datagramLife = 30 * time.Minute

func (f *fuzzPair) fail(format string, args ...any) {
	f.t.Helper()
	s := fmt.Sprintf(format, args...)
	for _, x := range []*peer{f.p.a, f.p.b} {
		if x.conn != nil {
			s += fmt.Sprintf("\n%s: state %d, reason %d, timers %v, %+v, %+v", x.name, x.conn.state, x.conn.reason, x.conn.timers, *f.actors[x], x.conn.Stats())
		}
	}
	f.t.Fatal(s)
}

func (f *fuzzPair) start() {
	kind, sizes := f.in.next(), f.in.next()
	p := newPair(1)
	f.p = p
	f.actors = map[*peer]*fuzzSide{}
	for i, x := range []*peer{p.a, p.b} {
		x.seq = [...]wire.SeqNr{65530, 65535, 7, 32760}[kind>>(2*i)&3]
		x.params.SendBuffer = [...]int{1 << 20, 5000}[sizes>>i&1]
		x.params.RecvBuffer = [...]int{1 << 20, 64 << 10, 10_000, 2000}[sizes>>(2+2*i)&3]
		x.params.MaxDatagram = [...]int{1472, 576}[sizes>>(6+i)&1]
		side := &fuzzSide{x: x}
		f.actors[x] = side
		x.check = func() {
			if side.inv.c != x.conn {
				side.inv = invariants{c: x.conn, mem: x.mem}
			}
			if err := side.inv.check(); err != nil {
				f.fail("%s: %v", x.name, err)
			}
			if x.conn.state != closed {
				side.acked = int(x.conn.buf.start)
			}
		}
	}
	if kind&16 != 0 {
		p.mangle = stripHello
	}
	p.a.out, p.b.out = link{delay: 20 * ms}, link{delay: 20 * ms}
	p.connect(f.t)
	if p.a.conn.OwnKind() == (kind&16 != 0) {
		f.fail("kinds")
	}
	p.a.conn.SetNoDelay(kind&32 != 0)
	p.b.conn.SetNoDelay(kind&64 != 0)
	if kind&128 != 0 {
		p.a.out.mtu, p.b.out.mtu = BaseDatagram, BaseDatagram
	}
	// From here on nothing arrives unless the script says so.
	p.drop = f.hold
}

// hold keeps a datagram that x sends. A probe of the path's MTU may vanish.
func (f *fuzzPair) hold(x *peer, pkt *wire.Packet) bool {
	if size := wire.HeaderSize + len(pkt.Payload); x.out.mtu > 0 && size > x.out.mtu && size == int(x.conn.mtu.probe) {
		return true
	}
	d := make([]byte, wire.HeaderSize, wire.HeaderSize+len(pkt.Payload))
	first := byte(0)
	var ext []byte
	for typ, content := range pkt.Extensions.All() {
		if first == 0 {
			first = typ
		} else {
			ext[len(ext)-len(content)-2] = typ
		}
		e := make([]byte, 2+len(content))
		wire.PutExtension(e, 0, content)
		ext = append(ext, e...)
	}
	pkt.Put(d, first)
	f.actors[x].onWay = append(f.actors[x].onWay, heldDatagram{append(append(d, ext...), pkt.Payload...), f.p.now})
	return true
}

// arrive hands over the i-th datagram of x.
func (f *fuzzPair) arrive(x *peer, i int, keep bool) {
	s := f.actors[x]
	if i >= len(s.onWay) {
		return
	}
	d := s.onWay[i]
	if !keep {
		s.onWay = append(s.onWay[:i:i], s.onWay[i+1:]...)
	}
	if f.p.now.Sub(d.at) <= datagramLife {
		f.p.deliver(x.other, d.data)
		f.settle(x.other)
	}
}

func (f *fuzzPair) settle(x *peer) {
	f.p.settle(x)
	if err := f.actors[x].inv.checkIdle(); err != nil {
		f.fail("%s: %v", x.name, err)
	}
}

func (f *fuzzPair) step() {
	c := f.in.next()
	arg := int(c >> 4)
	x := f.p.a
	if arg&1 != 0 {
		x = f.p.b
	}
	s, n := f.actors[x], arg>>1
	switch c & 15 {
	case linkDeliver:
		for range n + 1 {
			f.arrive(x, 0, false)
		}
	case linkDrop:
		s.onWay = s.onWay[min(n+1, len(s.onWay)):]
	case linkTwice:
		f.arrive(x, 0, true)
	case linkLater:
		if len(s.onWay) > 1 {
			s.onWay = append(s.onWay[1:], s.onWay[0])
		}
	case linkAny:
		f.arrive(x, n+1, false)
	case sideWrite:
		f.write(s, [...]int{1, 10, 100, 1000, 1452, 3000, 20_000, 64_000}[n])
	case sideRead:
		f.read(s, [...]int{1, 100, 1000, 1472, 5000, 20_000, 64_000, 64_000}[n])
	case sideCloseWrite:
		x.conn.CloseWrite()
	case sideCloseRead:
		s.discards = true
		x.conn.CloseRead(x.clock(f.p))
	case sideClose:
		s.discards = s.discards || !x.conn.EOF()
		x.conn.Close(x.clock(f.p))
	case sideNoDelay:
		x.conn.SetNoDelay(n&1 != 0)
	case timeMicroseconds:
		f.advance(time.Duration(arg) * time.Microsecond)
	case timeMilliseconds:
		f.advance(time.Duration(arg*arg) * ms)
	case timeSeconds:
		f.advance(time.Duration(arg) * time.Second)
	}
	f.settle(x)
}

func (f *fuzzPair) write(s *fuzzSide, n int) {
	b := streams[s.x.name]
	s.wrote += s.x.conn.Write(b[s.wrote:min(len(b), s.wrote+n)])
}

func (f *fuzzPair) read(s *fuzzSide, n int) {
	b := f.p.reading[:n]
	b = b[:s.x.conn.Read(s.x.clock(f.p), b)]
	if want := streams[s.x.other.name][s.read:]; !bytes.Equal(b, want[:len(b)]) {
		f.fail("%s: what was read at %d is not what was written", s.x.name, s.read)
	}
	s.read += len(b)
}

// advance lets time pass on both sides.
func (f *fuzzPair) advance(d time.Duration) {
	end := f.p.now.Add(d)
	for {
		at := end
		for _, x := range []*peer{f.p.a, f.p.b} {
			if t := x.timeout(); t != 0 {
				at = min(at, t)
			}
		}
		f.p.now = max(at, f.p.now)
		for _, x := range []*peer{f.p.a, f.p.b} {
			if t := x.timeout(); t != 0 && t <= f.p.now {
				x.conn.HandleTimeout(x.clock(f.p))
				if t := x.timeout(); t != 0 && t <= f.p.now {
					f.fail("%s: a timer is due that was just handled", x.name)
				}
				f.settle(x)
			}
		}
		if at == end {
			return
		}
	}
}

// healthy reports whether a connection is open and not about to be given up.
func (f *fuzzPair) healthy(x *peer) bool {
	c := x.conn
	patience := x.params.Timeout - 2*maxRTO
	return c.Reason() == NotClosed && c.asked == 0 && (c.out.count() == 0 || x.clock(f.p).Sub(c.lastProgress) < patience)
}

// end makes the link a good one: what was written has to arrive then.
func (f *fuzzPair) end() {
	p := f.p
	p.drop = nil
	for _, x := range []*peer{p.a, p.b} {
		for len(f.actors[x].onWay) > 0 {
			f.arrive(x, 0, false)
		}
	}
	open := f.healthy(p.a) && f.healthy(p.b)
	closing := p.a.conn.closing || p.b.conn.closing
	for x, s := range f.actors {
		x.step = func() {
			f.read(s, len(p.reading))
			if !x.conn.WriteClosed() {
				x.conn.CloseWrite()
			}
		}
	}
	err := p.run(30*time.Minute, func() bool { return p.a.conn.Reason() != NotClosed && p.b.conn.Reason() != NotClosed })
	if err != nil && open {
		f.fail("%v", err)
	}
	for x, s := range f.actors {
		y := f.actors[x.other]
		f.read(s, len(p.reading))
		f.read(s, len(p.reading))
		if x.conn.Reason() == Finished {
			s.acked = s.wrote
		}
		// What was acknowledged is not lost; and if nobody closed early,
		// everything arrives.
		if !y.discards && y.read+y.x.conn.Readable() < s.acked {
			f.fail("%s: %d bytes acknowledged, %d read", x.name, s.acked, y.read)
		}
		if open && !closing && !y.discards && (y.read+y.x.conn.Readable() != s.wrote || !y.x.conn.eof) {
			f.fail("%s: %d bytes written, %d read, end %v", x.name, s.wrote, y.read, y.x.conn.eof)
		}
		if open && !closing && x.conn.Reason() != Finished {
			f.fail("%s: closed for reason %d", x.name, x.conn.Reason())
		}
	}
	for x := range f.actors {
		x.conn.Abort()
		x.conn.CloseRead(x.clock(p))
		if x.mem.chunks != 0 || x.mem.reserved != 0 {
			f.fail("%s: memory left: %d chunks, %d reserved", x.name, x.mem.chunks, x.mem.reserved)
		}
	}
}

// FuzzPair has two engines talk over a link that loses, repeats, delays and
// reorders as a script says.
func FuzzPair(f *testing.F) {
	op := func(op, n, side int) byte { return byte(op | n<<5 | side<<4) }
	for i, story := range [][]byte{
		{op(sideWrite, 7, 0), op(linkDeliver, 7, 0), op(linkDeliver, 7, 1), op(sideRead, 6, 1), op(sideWrite, 7, 1), op(timeMilliseconds, 7, 0)},
		{op(sideWrite, 7, 0), op(linkDrop, 0, 0), op(linkDeliver, 7, 0), op(linkDeliver, 7, 1), op(timeMilliseconds, 7, 1), op(timeSeconds, 0, 1)},
		{op(sideWrite, 7, 0), op(linkDrop, 7, 0), op(timeSeconds, 1, 1), op(linkDrop, 7, 0), op(timeSeconds, 2, 1), op(linkDeliver, 7, 0), op(linkDeliver, 7, 1)},
		{op(sideWrite, 6, 0), op(linkTwice, 0, 0), op(linkLater, 0, 0), op(linkAny, 3, 0), op(linkDeliver, 7, 0), op(linkLater, 0, 1), op(linkDeliver, 7, 1)},
		{op(sideWrite, 7, 0), op(linkDeliver, 7, 0), op(linkDeliver, 7, 1), op(linkDeliver, 7, 0), op(linkDeliver, 7, 1), op(linkDeliver, 7, 0), op(timeSeconds, 7, 0), op(linkDeliver, 7, 1), op(sideRead, 7, 1)},
		{op(sideWrite, 4, 0), op(sideCloseWrite, 0, 0), op(sideWrite, 4, 1), op(sideCloseWrite, 0, 1), op(linkDrop, 0, 0), op(linkDrop, 0, 1), op(timeSeconds, 1, 0), op(linkDeliver, 7, 0), op(linkDeliver, 7, 1)},
		{op(sideWrite, 7, 0), op(sideClose, 0, 0), op(linkDeliver, 3, 0), op(sideWrite, 7, 1), op(linkDeliver, 7, 1), op(linkDeliver, 7, 0), op(linkDeliver, 7, 1)},
		{op(sideWrite, 7, 0), op(sideCloseRead, 0, 1), op(linkDeliver, 7, 0), op(timeMilliseconds, 5, 0), op(sideNoDelay, 1, 0), op(sideWrite, 0, 0), op(sideWrite, 0, 0), op(timeMicroseconds, 7, 1)},
	} {
		for kind := range 8 {
			f.Add(append([]byte{byte(kind<<4 | kind | i<<7), byte(kind * 37)}, story...))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 2000 {
			return
		}
		p := &fuzzPair{t: t, in: script{b}}
		p.start()
		for len(p.in.b) > 0 {
			p.step()
		}
		p.end()
	})
}
