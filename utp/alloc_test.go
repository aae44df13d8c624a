package utp

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/require"
)

// loop is one established connection of an Endpoint whose packets are taken and
// made in place, without a goroutine or an allocation of its own. It runs in
// real time.
type loop struct {
	*Endpoint
	conn     *Conn
	receiver *Receiver
	seen     atomic.Uint32 // newest number that was sent
	acked    atomic.Uint32 // newest number that was acknowledged
	seq      wire.SeqNr    // the peer's next number
	buf      []byte        // the peer's packet
	window   uint32
	answers  []control
}

// TryWrite implements PacketWriter.
func (l *loop) TryWrite(d Datagrams) (int, error) {
	for b := d.Data; len(b) > 0; b = b[min(d.Segment, len(b)):] {
		l.acked.Store(uint32(binary.BigEndian.Uint16(b[18:])))
		if wire.Type(b[0]>>4) == wire.State && l.conn != nil {
			continue
		}
		seq := wire.SeqNr(binary.BigEndian.Uint16(b[16:]))
		if l.conn == nil || seq.After(wire.SeqNr(l.seen.Load())) {
			l.seen.Store(uint32(seq))
		}
	}
	return len(d.Data), nil
}

// Write implements PacketWriter.
func (l *loop) Write(d Datagrams) (int, error) { return l.TryWrite(d) }

func newLoop(t testing.TB) *loop {
	l := &loop{seq: 1, buf: make([]byte, wire.HeaderSize+1400), window: 1 << 30}
	var err error
	l.Endpoint, err = NewEndpoint(nil, l, boundAddr)
	require.NoError(t, err)
	t.Cleanup(l.Close)
	l.receiver = l.NewReceiver()
	listener, err := l.Listen()
	require.NoError(t, err)
	var hello [wire.HelloSize]byte
	wire.Hello{Version: 1}.Put(hello[:])
	wire.PutExtension(l.buf[wire.HeaderSize:], 0, hello[:])
	l.recv(wire.Syn, wire.HeaderSize+2+wire.HelloSize, 1)
	l.seen.Add(^uint32(0)) // the SYN-ACK's number is that of the first DATA
	time.Sleep(time.Millisecond)
	l.recv(wire.State, wire.HeaderSize, 1)
	c, err := listener.Accept()
	require.NoError(t, err)
	l.conn = c.(*Conn)
	return l
}

// recv hands in a batch of count packets of size bytes, and does the sender's
// work.
func (l *loop) recv(typ wire.Type, size, count int) {
	h := wire.Header{Type: typ, ConnID: synID + 1, Window: l.window, SeqNr: l.seq, AckNr: wire.SeqNr(l.seen.Load())}
	ext := byte(0)
	if typ == wire.Syn {
		h.ConnID, ext = synID, wire.ExtBits
	}
	l.receiver.Begin()
	for range count {
		h.Timestamp = wire.TimestampAt(int64(l.now()))
		h.Put(l.buf, ext)
		l.receiver.Packet(alice, l.buf[:size])
		if typ != wire.State {
			h.SeqNr++
		}
	}
	l.receiver.End()
	l.seq = h.SeqNr
	l.send()
}

// send is Run, as far as there is work.
func (l *loop) send() {
	for {
		l.ready.mu.Lock()
		idle := l.ready.head == nil && len(l.ready.control) == 0
		l.ready.mu.Unlock()
		if idle {
			return
		}
		var c *Conn
		if l.answers, c, _ = l.ready.next(l.answers[:0]); c != nil {
			c.flushFromSender()
		}
	}
}

// receive has the connection receive and read n full packets, n ≥ 2.
func (l *loop) receive(n int, b []byte) {
	l.recv(wire.Data, len(l.buf), n)
	for got := 0; got < n*1400; {
		m, err := l.conn.Read(b)
		if err != nil {
			panic(err)
		}
		got += m
	}
	// An honest peer waits for room. A timer may be at work just now.
	for l.send(); wire.SeqNr(l.acked.Load()) != l.seq-1; l.send() {
		runtime.Gosched()
	}
}

// transmit has the connection send b, and acknowledges it.
func (l *loop) transmit(b []byte) {
	if n, err := l.conn.Write(b); n != len(b) || err != nil {
		panic(err)
	}
	l.flush()
}

// flush acknowledges what is sent until nothing is left.
func (l *loop) flush() {
	for l.conn.Stats().SendBuffered > 0 {
		l.send()
		l.recv(wire.State, wire.HeaderSize, 1)
	}
}

// TestAllocs: nothing is allocated a packet, nor a burst of them.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("with the race detector sync.Pool forgets at random")
	}
	b := make([]byte, 64<<10)
	for _, tc := range []struct {
		name string
		f    func(l *loop)
	}{
		{"receive two packets", func(l *loop) { l.receive(2, b) }},
		{"receive a batch", func(l *loop) { l.receive(40, b) }},
		{"receive an acknowledgement", func(l *loop) { l.recv(wire.State, wire.HeaderSize, 1) }},
		{"send a few bytes", func(l *loop) { l.transmit(b[:100]) }},
		{"send a run", func(l *loop) { l.transmit(b[:40_000]) }},
		{"packets of no connection", func(l *loop) {
			l.receiver.Begin()
			l.receiver.Packet(bob, l.buf[:wire.HeaderSize])
			l.receiver.End()
			l.send()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLoop(t)
			for range 200 {
				tc.f(l)
			}
			require.Zero(t, testing.AllocsPerRun(500, func() { tc.f(l) }))
		})
	}
}

func BenchmarkReceive(b *testing.B) {
	l := newLoop(b)
	buf := make([]byte, 64<<10)
	b.SetBytes(40 * 1400)
	b.ReportAllocs()
	for b.Loop() {
		l.receive(40, buf)
	}
}

func BenchmarkSend(b *testing.B) {
	l := newLoop(b)
	buf := make([]byte, 64<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		l.transmit(buf)
	}
}

func BenchmarkReadFrom(b *testing.B) {
	l := newLoop(b)
	buf := make([]byte, 32<<10) // less than there is room for: ReadFrom waits for room before it finds the end
	r := bytes.NewReader(buf)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		r.Seek(0, io.SeekStart)
		if _, err := l.conn.ReadFrom(r); err != nil {
			b.Fatal(err)
		}
		l.flush()
	}
}
