package engine

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"utppunch/utp/internal/wire"
)

// Operations of a FuzzConn script: one byte each, with its arguments behind it.
const (
	opPacket     = iota // type, seq, ack, window, timestamp, extension, length: a packet that fits more or less
	opRaw               // n, n bytes: a datagram
	opAck               // window: the peer acknowledges everything
	opData              // n, length: the peer sends what is due, n packets
	opWrite             // n: in units of 97 bytes
	opRead              // n
	opTime              // code: time passes, and timers go off
	opCloseWrite        //
	opCloseRead         //
	opClose             //
	opAbort             //
	opNoDelay           // on
	opTooBig            // size: in units of 8 bytes
	opMute              // n: nothing is sent during the next n operations
	opHandshake         //
	opOther             // which
	opCount
)

// script reads the input of a fuzz target.
type script struct{ b []byte }

// next returns the next byte, zero at the end.
func (s *script) next() byte {
	if len(s.b) == 0 {
		return 0
	}
	c := s.b[0]
	s.b = s.b[1:]
	return c
}

func (s *script) take(n int) []byte {
	n = min(n, len(s.b))
	b := s.b[:n]
	s.b = s.b[n:]
	return b
}

// fuzzConn is one connection whose peer, application and clock the script plays.
type fuzzConn struct {
	t   *testing.T
	in  script
	now Time
	p   *Params
	mem *testMemory
	c   Conn
	inv invariants
	own bool

	// The peer speaks utp-punch's dialect.
	punch bool

	// What was written, and what went out under which number.
	written []byte
	sent    map[wire.SeqNr]int // offset of each DATA in written
	sizes   map[wire.SeqNr]int
	offset  int
	resets  int
	mute    int
	packets uint64
	work    int // what the script has cost so far
	scratch []byte

	// What was offered to it: every packet consists of one byte, that of its
	// number. lengths are those that a number was offered with.
	lengths map[wire.SeqNr][]int
	cur     wire.SeqNr // the number whose bytes are being read
	run     int        // how many there were
	begun   bool
}

// stamp is the byte of which the payload of packet seq consists.
func stamp(seq wire.SeqNr) byte { return byte(seq) ^ byte(seq>>8)*31 }

func (f *fuzzConn) fail(format string, args ...any) {
	f.t.Helper()
	f.t.Fatalf("%s\n%+v\ntimers %v", fmt.Sprintf(format, args...), f.c.Stats(), f.c.timers)
}

// start reads what kind of connection it is.
func (f *fuzzConn) start() {
	kind, sizes := f.in.next(), f.in.next()
	f.now = Time(time.Second)
	f.mem = &testMemory{}
	f.sent, f.sizes, f.lengths = map[wire.SeqNr]int{}, map[wire.SeqNr]int{}, map[wire.SeqNr][]int{}
	f.own, f.punch = kind&2 != 0, kind&128 != 0
	f.p = &Params{
		MaxDatagram: [...]int{1472, 1200, 576, 9000}[sizes&3],
		SendBuffer:  [...]int{1 << 20, 64 << 10, 5000, 1000}[sizes>>2&3],
		RecvBuffer:  [...]int{1 << 20, 64 << 10, 5000, 1000}[sizes>>4&3],
		Timeout:     60 * time.Second,
		KeepAlive:   25 * time.Second,
		Linger:      5 * time.Second,
		Memory:      f.mem,
	}
	if sizes&64 != 0 {
		f.mem.budget = 100_000
	}
	if sizes&128 != 0 {
		f.p.IdleTimeout = 40 * time.Second
	}
	id := Identity{ConnID: 1000, SeqNr: [...]wire.SeqNr{65534, 1, 32767, 0}[kind>>4&3], IPv6: kind&64 != 0}
	f.scratch = make([]byte, MaxChunk)
	if kind&8 != 0 {
		f.scratch = f.scratch[:max(2048, f.p.MaxDatagram)]
	}
	if kind&1 != 0 {
		f.c.Connect(f.now, f.p, id)
	} else {
		window := uint32(64 << 10)
		if f.punch {
			window = punchWindow
		}
		syn := f.packet(wire.Syn, 65530, 0, window, f.hello(), nil)
		f.c.Accept(f.now, f.p, id, &syn)
	}
	f.inv = invariants{c: &f.c, mem: f.mem}
	f.flush()
	if kind&4 == 0 {
		f.handshake()
	}
}

func (f *fuzzConn) hello() []byte {
	if !f.own || f.punch {
		return nil
	}
	var h [wire.HelloSize]byte
	wire.Hello{Version: 1}.Put(h[:])
	return append([]byte{wire.ExtBits, 0, wire.HelloSize}, h[:]...)
}

// packet makes a packet of the peer. Extensions begin with the type of the first.
func (f *fuzzConn) packet(typ wire.Type, seq, ack wire.SeqNr, window uint32, ext, payload []byte) wire.Packet {
	recv, send := f.c.ConnIDs()
	diff := uint32(7)
	if f.punch {
		diff = 0
		if f.c.Dialect() == AutoDialect {
			recv = send
		}
	}
	b := make([]byte, wire.HeaderSize, wire.HeaderSize+len(ext)+len(payload))
	h := wire.Header{Type: typ, ConnID: recv, Timestamp: f.now.timestamp(), TimestampDiff: diff, Window: window, SeqNr: seq, AckNr: ack}
	first := byte(0)
	if len(ext) > 0 {
		first, ext = ext[0], ext[1:]
	}
	h.Put(b, first)
	var p wire.Packet
	if !p.Parse(append(append(b, ext...), payload...)) {
		f.fail("the packet of the fuzzer is none")
	}
	return p
}

func (f *fuzzConn) handshake() {
	switch f.c.state {
	case synSent:
		p := f.packet(wire.State, 65530, f.c.iss, 64<<10, f.hello(), nil)
		f.c.HandlePacket(f.now, &p)
	case synRecv:
		p := f.packet(wire.State, f.c.rcvNxt, f.c.iss-1, 64<<10, nil, nil)
		f.c.HandlePacket(f.now, &p)
	}
}

// offer hands a packet in, and notes what its payload may become.
func (f *fuzzConn) offer(p *wire.Packet) {
	f.work += 1 + len(p.Payload)/100
	if p.Type == wire.Data || p.Type == wire.Fin {
		for i := range p.Payload {
			p.Payload[i] = stamp(p.SeqNr)
		}
		f.lengths[p.SeqNr] = append(f.lengths[p.SeqNr], len(p.Payload))
	}
	f.c.HandlePacket(f.now, p)
}

var (
	fuzzLengths = [...]int{0, 1, 2, 100, 548, 1180, 1452, 1452, 2048, 2049, 8980, 60_000}
	fuzzWindows = [...]uint32{0, 1, 500, 1452, 3000, 20_000, 64 << 10, 1 << 20, 1 << 30, 1<<32 - 1}
	fuzzTimes   = [...]time.Duration{0, 1, time.Microsecond, ms, 5 * ms, 25 * ms, 100 * ms, 250 * ms, time.Second, 5 * time.Second, 30 * time.Second, 61 * time.Second, 20 * time.Minute, 2 * time.Hour}
)

// nearby is an offset that the script gives: mostly small.
func nearby(c byte) int {
	d := int(int8(c))
	if d > 100 {
		return (d - 100) * 1000
	}
	if d < -100 {
		return (d + 100) * 1000
	}
	return d
}

// craft reads a packet whose fields are near what the connection expects.
func (f *fuzzConn) craft() wire.Packet {
	typ := wire.Type(f.in.next() % 5)
	seq := f.c.rcvNxt + wire.SeqNr(nearby(f.in.next()))
	ack := f.c.out.nxt - 1 - wire.SeqNr(nearby(f.in.next()))
	window := fuzzWindows[int(f.in.next())%len(fuzzWindows)]
	age := f.in.next()
	var ext []byte
	switch e := f.in.next(); e % 8 {
	case 1:
		ext = append([]byte{wire.ExtSelectiveAck, 0, e / 8}, make([]byte, e/8)...)
		copy(ext[3:], f.in.take(4))
	case 2:
		ext = append([]byte{wire.ExtSelectiveAck, 0, e / 8}, bytes.Repeat([]byte{0xff}, int(e/8))...)
	case 3: // a chain
		ext = []byte{3, wire.ExtSelectiveAck, 1, 0, wire.ExtSelectiveAck, 4, 1, 2, 3, e, 0, 1, 0xff}
	case 4:
		ext = f.hello()
	}
	length := fuzzLengths[int(f.in.next())%len(fuzzLengths)]
	if typ != wire.Data {
		length %= 3
	}
	p := f.packet(typ, seq, ack, window, ext, make([]byte, length))
	switch d := fuzzTimes[int(age>>1)%len(fuzzTimes)]; {
	case age == 255:
		p.Timestamp = 0
	case age&1 != 0:
		p.Timestamp -= wire.Timestamp(d / time.Microsecond)
	default:
		p.Timestamp += wire.Timestamp(d / time.Microsecond)
	}
	if age&64 != 0 {
		_, p.ConnID = f.c.ConnIDs()
	}
	return p
}

// step performs one operation.
func (f *fuzzConn) step() {
	switch f.in.next() % opCount {
	case opPacket:
		p := f.craft()
		f.offer(&p)
	case opRaw:
		var p wire.Packet
		if p.Parse(bytes.Clone(f.in.take(int(f.in.next())))) {
			f.offer(&p)
		}
	case opAck:
		p := f.packet(wire.State, f.c.rcvNxt, f.c.out.nxt-1, fuzzWindows[int(f.in.next())%len(fuzzWindows)], nil, nil)
		f.offer(&p)
	case opData:
		n, length := f.in.next()%50, fuzzLengths[int(f.in.next())%len(fuzzLengths)]
		for range n {
			p := f.packet(wire.Data, f.c.rcvNxt, f.c.out.nxt-1, 64<<10, nil, make([]byte, length))
			f.offer(&p)
		}
	case opWrite:
		f.write(97 * int(f.in.next()))
	case opRead:
		f.read(97 * int(f.in.next()))
	case opTime:
		f.advance(fuzzTimes[int(f.in.next())%len(fuzzTimes)])
	case opCloseWrite:
		f.c.CloseWrite()
	case opCloseRead:
		f.c.CloseRead(f.now)
	case opClose:
		f.c.Close(f.now)
	case opAbort:
		f.c.Abort()
	case opNoDelay:
		f.c.SetNoDelay(f.in.next()&1 != 0)
	case opTooBig:
		f.c.HandleTooBig(f.now, 8*int(f.in.next()))
	case opMute:
		f.mute = int(f.in.next())
	case opHandshake:
		f.handshake()
	case opOther:
		switch f.in.next() % 8 {
		case 0:
			f.c.RepeatSynAck()
		case 1:
			f.c.Calm()
		case 2:
			f.c.Hurry(f.now)
		case 3:
			f.c.WaitWritable()
		case 4:
			f.readChunk()
		case 6:
			f.c.RepeatSyn()
		case 7:
			p := f.packet(wire.Reset, 0, 0, punchWindow, nil, nil)
			p.TimestampDiff = 0
			f.offer(&p)
		case 5:
			f.writeChunk()
		}
	}
	if f.mute > 0 {
		f.mute--
	} else {
		f.flush()
	}
	f.c.PollEvents()
	if err := f.inv.check(); err != nil {
		f.fail("%v", err)
	}
}

// more returns the next n bytes to write.
func (f *fuzzConn) more(n int) []byte {
	b := make([]byte, n)
	fill(b, 'w', len(f.written))
	return b
}

func (f *fuzzConn) write(n int) {
	b := f.more(n)
	room := f.c.Writable()
	got := f.c.Write(b)
	if got != min(n, room) {
		f.fail("Write took %d of %d bytes, %d were to be had", got, n, room)
	}
	f.written = append(f.written, b[:got]...)
}

func (f *fuzzConn) writeChunk() {
	if f.c.Writable() == 0 {
		return
	}
	chunk := f.mem.Get(MinChunk)
	b := f.more(len(chunk.Buf))
	copy(chunk.Buf, b)
	f.c.WriteChunk(chunk, len(b))
	f.written = append(f.written, b...)
}

func (f *fuzzConn) read(n int) {
	b := make([]byte, n)
	want := min(n, f.c.Readable())
	if got := f.c.Read(f.now, b); got != want {
		f.fail("Read returned %d of %d bytes", got, want)
	}
	f.explain(b[:want])
}

func (f *fuzzConn) readChunk() {
	if f.c.Readable() > 0 {
		chunk, b := f.c.ReadChunk(f.now)
		f.explain(b)
		f.mem.Put(chunk)
	}
}

// explain checks that bytes are those of packets that were offered, in the order
// of their numbers, and as many of each as it was offered with at one time.
func (f *fuzzConn) explain(b []byte) {
	if !f.begun && len(b) > 0 {
		f.begun = true
		f.cur = f.c.irs
		if !f.c.initiator {
			f.cur++
		}
	}
	for _, c := range b {
		for c != stamp(f.cur) || !slices.ContainsFunc(f.lengths[f.cur], func(n int) bool { return n > f.run }) {
			if f.run > 0 && !slices.Contains(f.lengths[f.cur], f.run) || f.run == 0 && !slices.Contains(f.lengths[f.cur], 0) {
				f.fail("%d bytes of packet %d, which was offered with %v", f.run, f.cur, f.lengths[f.cur])
			}
			f.cur, f.run = f.cur+1, 0
			if !f.cur.Before(f.c.rcvNxt) {
				f.fail("byte %d was read, and no packet explains it", c)
			}
		}
		f.run++
	}
}

// flush has everything sent, and looks at it.
func (f *fuzzConn) flush() {
	for i := 0; ; i++ {
		wants := f.c.WantsTransmit()
		out, ok := f.c.PollTransmit(f.now, f.scratch)
		if !ok {
			return
		}
		if !wants {
			f.fail("WantsTransmit denied it")
		}
		if i > 1<<16 {
			f.fail("PollTransmit does not end")
		}
		if out.Len > maxRun*out.Segment || out.Fragment && out.Len > out.Segment {
			f.fail("a run that cannot be sent at once: %+v", out)
		}
		for b := f.scratch[:out.Len]; len(b) > 0; f.work++ {
			n := min(out.Segment, len(b))
			f.packets++
			f.look(b[:n])
			b = b[n:]
		}
		if err := f.inv.check(); err != nil {
			f.fail("after PollTransmit: %v", err)
		}
	}
}

// look checks a datagram that goes out.
func (f *fuzzConn) look(d []byte) {
	var p wire.Packet
	if !p.Parse(d) {
		f.fail("sent %x, which is not uTP", d[:min(len(d), 64)])
	}
	limit := MaxDatagramIPv4
	if f.c.ownKind {
		limit = max(limit, f.p.MaxDatagram)
	}
	if len(d) > min(limit, f.p.MaxDatagram) {
		f.fail("a datagram of %d bytes", len(d))
	}
	if p.Timestamp == 0 || p.TimestampDiff == 0x7fffffff {
		f.fail("timestamps %d, %d", p.Timestamp, p.TimestampDiff)
	}
	switch p.Type {
	case wire.Data:
		f.lookAtData(&p)
	case wire.Fin, wire.State, wire.Reset, wire.Syn:
		if len(p.Payload) > 0 {
			f.fail("%v with payload", p.Type)
		}
		if p.Type == wire.Fin && f.offset != len(f.written) {
			f.fail("FIN after %d of %d bytes", f.offset, len(f.written))
		}
		if p.Type == wire.Reset {
			f.resets++
		}
	}
	if f.resets > 1 || f.resets == 1 && p.Type != wire.Reset {
		f.fail("%v after a RESET", p.Type)
	}
	if f.c.state == synRecv && (p.Type != wire.State || p.SeqNr != f.c.iss) {
		f.fail("%v %d before the peer is known", p.Type, p.SeqNr)
	}
}

// lookAtData: a number carries the same bytes for ever.
func (f *fuzzConn) lookAtData(p *wire.Packet) {
	off, again := f.sent[p.SeqNr]
	if again && p.SeqNr.Before(f.c.out.una) {
		f.fail("packet %d was acknowledged and sent again", p.SeqNr)
	}
	if !again || f.sizes[p.SeqNr] == -1 {
		off = f.offset
		f.sent[p.SeqNr], f.sizes[p.SeqNr] = off, len(p.Payload)
		// Its number may be used again half a turn later.
		f.sizes[p.SeqNr+halfSpace] = -1
		f.offset += len(p.Payload)
	}
	if len(p.Payload) == 0 || len(p.Payload) != f.sizes[p.SeqNr] || !bytes.Equal(p.Payload, f.written[off:off+len(p.Payload)]) {
		f.fail("packet %d of %d bytes is not what was written at %d", p.SeqNr, len(p.Payload), off)
	}
}

// advance lets time pass, timer by timer.
func (f *fuzzConn) advance(d time.Duration) {
	end := f.now.Add(d)
	for i := 0; ; i++ {
		at := f.c.PollTimeout()
		if at == 0 || at > end {
			break
		}
		if i > 100_000 {
			f.fail("timers do not end")
		}
		f.work += 1 + f.c.out.count()/100
		f.now = max(f.now, at)
		f.c.HandleTimeout(f.now)
		if at := f.c.PollTimeout(); at != 0 && at <= f.now {
			f.fail("a timer is due that was just handled")
		}
		if f.mute == 0 {
			f.flush()
		}
		if err := f.inv.check(); err != nil {
			f.fail("after a timer: %v", err)
		}
	}
	f.now = end
}

// end looks at what remains.
func (f *fuzzConn) end() {
	f.mute = 0
	f.read(f.c.Readable())
	f.c.Abort()
	f.flush()
	f.c.Close(f.now)
	if f.c.stats.PacketsSent != f.packets || f.c.stats.BytesSent != uint64(f.offset) {
		f.fail("%d packets and %d bytes were sent", f.packets, f.offset)
	}
	if f.mem.chunks != 0 || f.mem.reserved != 0 {
		f.fail("memory left: %d chunks, %d reserved", f.mem.chunks, f.mem.reserved)
	}
	if !f.c.EOF() || f.c.PollTimeout() != 0 || f.c.WantsTransmit() {
		f.fail("it does not know that it is closed")
	}
}

// FuzzConn plays peer, application and clock of one connection by a script.
func FuzzConn(f *testing.F) {
	for _, s := range connScripts {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4000 {
			return
		}
		c := &fuzzConn{t: t, in: script{b}}
		c.start()
		for len(c.in.b) > 0 && c.work < 20_000 {
			c.step()
		}
		c.end()
	})
}

// connScripts are conversations worth starting from, for all kinds of
// connections.
var connScripts = func() (all [][]byte) {
	stories := [][]byte{
		// Write, acknowledged; the peer writes, read; both end.
		{opWrite, 30, opTime, 3, opAck, 6, opData, 5, 6, opRead, 90, opCloseWrite, opAck, 6, opPacket, 1, 0, 0, 6, 0, 0, 0, opTime, 9},
		// A gap, filled; duplicates; selective acknowledgements of ours.
		{opPacket, 0, 1, 0, 6, 0, 0, 5, opPacket, 0, 3, 0, 6, 0, 0, 5, opPacket, 0, 3, 0, 6, 0, 0, 5, opPacket, 0, 0, 0, 6, 0, 0, 5, opRead, 255},
		// A gap of ours: three selective acknowledgements, then timeouts.
		{opWrite, 200, opPacket, 2, 0, 10, 6, 0, 8*4 + 2, 0, opTime, 6, opPacket, 2, 0, 10, 6, 0, 8*4 + 2, 0, opTime, 8, opTime, 9, opTime, 10, opAck, 6},
		// A window that closes and opens again.
		{opWrite, 200, opAck, 0, opTime, 8, opTime, 10, opWrite, 200, opAck, 6, opTime, 3, opAck, 0, opTime, 11, opAck, 7},
		// The peer fills our window; nobody reads for a while.
		{opData, 49, 6, opData, 49, 6, opTime, 9, opData, 49, 6, opTime, 10, opRead, 255, opTime, 7, opData, 49, 6, opCloseRead, opData, 49, 6},
		// Close with data on its way, lingering.
		{opWrite, 100, opClose, opTime, 7, opAck, 6, opTime, 9, opTime, 9},
		{opWrite, 100, opClose, opTime, 3, opAck, 6, opData, 1, 5},
		// RESETs: theirs and ours.
		{opWrite, 10, opPacket, 3, 0, 0, 6, 0, 0, 0},
		{opWrite, 10, opAbort, opTime, 8},
		// FIN ahead of a gap, twice; DATA beyond it.
		{opPacket, 1, 2, 0, 6, 0, 0, 0, opPacket, 1, 2, 0, 6, 0, 0, 0, opPacket, 0, 3, 0, 6, 0, 0, 5, opData, 2, 3, opRead, 255, opTime, 8, opCloseWrite, opAck, 6},
		// Old clocks, no clocks.
		{opData, 2, 5, opPacket, 0, 0, 0, 6, 25, 0, 5, opPacket, 0, 0, 0, 6, 25, 0, 5, opTime, 8, opPacket, 0, 0, 0, 6, 25, 0, 5, opPacket, 2, 0, 0, 6, 255, 0, 0},
		// Too big; probes lost.
		{opWrite, 100, opTooBig, 180, opTooBig, 150, opTooBig, 60, opWrite, 100, opTime, 9, opAck, 6},
		// Silence.
		{opTime, 10, opTime, 10, opTime, 11, opTime, 12},
		{opMute, 3, opWrite, 50, opData, 9, 4, opTime, 8, opOther, 2, opClose, opTime, 9},
		{opOther, 5, opNoDelay, 1, opWrite, 1, opWrite, 1, opWrite, 1, opOther, 4, opOther, 3, opRaw, 24, 0x21, 3, 3, 232, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 255, 250, 255, 254, 0, 2, 7, 7},
		{opHandshake, opOther, 0, opOther, 1, opTime, 7, opHandshake, opData, 3, 3},
	}
	for i, story := range stories {
		for kind := range 8 {
			all = append(all, append([]byte{byte(kind | i<<4&0x30), byte(37 * (i + kind))}, story...))
		}
	}
	return all
}()
