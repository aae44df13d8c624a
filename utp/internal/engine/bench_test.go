package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// duo is two connections face to face, without a network and without a harness
// that allocates.
type duo struct {
	now    Time
	a, b   *Conn
	buf    []byte
	data   []byte
	packet wire.Packet
	runs   int // of a's packets
}

func newDuo(t testing.TB) *duo {
	p := newPair(1)
	p.a.params.SendBuffer, p.b.params.RecvBuffer = 4<<20, 4<<20
	p.connect(t)
	return &duo{now: p.now.Add(time.Second), a: p.a.conn, b: p.b.conn, buf: make([]byte, MaxChunk), data: make([]byte, 64<<10)}
}

// pass carries everything that x has to send to y, and returns the datagrams.
func (d *duo) pass(x, y *Conn) (n int) {
	for {
		t, ok := x.PollTransmit(d.now, d.buf)
		if !ok {
			return n
		}
		d.runs++
		for b := d.buf[:t.Len]; len(b) > 0; n++ {
			size := min(t.Segment, len(b))
			d.packet.Parse(b[:size])
			y.HandlePacket(d.now, &d.packet)
			b = b[size:]
		}
	}
}

// round writes n bytes at a and reads them at b, a millisecond later.
func (d *duo) round(n int) (packets int) {
	d.a.Write(d.data[:n])
	packets = d.pass(d.a, d.b)
	for d.b.Readable() > 0 {
		d.b.Read(d.now, d.data)
	}
	packets += d.pass(d.b, d.a)
	d.now = d.now.Add(ms)
	d.timers(d.a)
	d.timers(d.b)
	d.a.PollEvents()
	d.b.PollEvents()
	return packets
}

// lossyRound loses one packet of a few, of which selective acknowledgements
// tell, and repairs that.
func (d *duo) lossyRound() {
	d.a.Write(d.data[:20*1452])
	for n := 0; ; {
		out, ok := d.a.PollTransmit(d.now, d.buf)
		if !ok {
			break
		}
		for b := d.buf[:out.Len]; len(b) > 0; n++ {
			size := min(out.Segment, len(b))
			if n != 3 {
				d.packet.Parse(b[:size])
				d.b.HandlePacket(d.now, &d.packet)
			}
			b = b[size:]
		}
		d.pass(d.b, d.a)
	}
	for range 5 {
		d.round(0)
	}
}

func (d *duo) timers(x *Conn) {
	if at := x.PollTimeout(); at != 0 && at <= d.now {
		x.HandleTimeout(d.now)
	}
}

// warmUp lets windows and rings become as large as they will.
func (d *duo) warmUp(t testing.TB) {
	for range 3000 {
		d.round(len(d.data))
	}
	require.Equal(t, MaxDatagramIPv4, d.a.Stats().Datagram)
	require.Zero(t, d.a.stats.Retransmits)
}

// TestNothingIsAllocatedPerPacket: in steady state, with a pooled Memory.
func TestNothingIsAllocatedPerPacket(t *testing.T) {
	long(t)
	d := newDuo(t)
	d.warmUp(t)
	const full = maxRun * (MaxDatagramIPv4 - wire.HeaderSize)
	for _, tt := range []struct {
		name    string
		bytes   int
		packets int
		runs    int
	}{
		{"a run of 44 segments, and its acknowledgement", full, maxRun + 1, 2},
		{"one byte", 1, 0, 0},
		{"a few segments", 5000, 0, 0},
	} {
		packets := 0
		require.Zero(t, testing.AllocsPerRun(1, func() {
			for range 300 {
				d.runs = 0
				packets = d.round(tt.bytes)
			}
		}), tt.name)
		if tt.packets > 0 {
			require.Equal(t, tt.packets, packets, tt.name)
			require.Equal(t, tt.runs, d.runs, tt.name)
		}
	}

	d.lossyRound()
	require.Zero(t, testing.AllocsPerRun(1, func() {
		for range 100 {
			d.lossyRound()
		}
	}), "loss")
	require.EqualValues(t, 201, d.a.stats.Retransmits)
	require.True(t, d.a.Flushed())
	require.Zero(t, d.a.stats.Timeouts)
}

func BenchmarkPairThroughput(b *testing.B) {
	d := newDuo(b)
	d.warmUp(b)
	const n = maxRun * (MaxDatagramIPv4 - wire.HeaderSize)
	b.SetBytes(n)
	b.ReportAllocs()
	packets := 0
	for b.Loop() {
		packets += d.round(n)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
}

// BenchmarkRequests is a small request and a small answer.
func BenchmarkRequests(b *testing.B) {
	d := newDuo(b)
	b.ReportAllocs()
	for b.Loop() {
		d.a.Write(d.data[:200])
		d.pass(d.a, d.b)
		d.b.Read(d.now, d.data)
		d.b.Write(d.data[:200])
		d.pass(d.b, d.a)
		d.a.Read(d.now, d.data)
		d.pass(d.a, d.b)
		d.now = d.now.Add(100 * time.Microsecond)
		d.timers(d.a)
		d.timers(d.b)
	}
}

// BenchmarkHandlePacketData is a packet in order, read at once.
func BenchmarkHandlePacketData(b *testing.B) {
	d := newDuo(b)
	d.warmUp(b)
	payload := make([]byte, MaxDatagramIPv4-wire.HeaderSize)
	p := wire.Packet{Header: wire.Header{Type: wire.Data, SeqNr: d.b.rcvNxt, AckNr: d.b.out.nxt - 1, Window: 1 << 20}, Payload: payload}
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		p.Timestamp = d.now.timestamp()
		d.b.HandlePacket(d.now, &p)
		d.b.Read(d.now, d.data)
		d.b.PollTransmit(d.now, d.buf)
		p.SeqNr++
		d.now++
	}
}

// BenchmarkHandlePacketState is an acknowledgement of two packets.
func BenchmarkHandlePacketState(b *testing.B) {
	d := newDuo(b)
	d.warmUp(b)
	p := wire.Packet{Header: wire.Header{Type: wire.State, SeqNr: d.a.rcvNxt, Window: 4 << 20}}
	b.ReportAllocs()
	for b.Loop() {
		if d.a.out.count() < 2 {
			b.StopTimer()
			d.now = d.now.Add(time.Second)
			for i := 0; i < 1000 && d.a.Writable() > 0; i++ {
				d.a.Write(d.data)
			}
			for {
				if _, ok := d.a.PollTransmit(d.now, d.buf); !ok {
					break
				}
			}
			b.StartTimer()
		}
		p.AckNr = d.a.out.una + 1
		p.Timestamp = d.now.timestamp()
		d.a.HandlePacket(d.now, &p)
	}
}

// BenchmarkHandlePacketSack is an acknowledgement with 252 bytes of mask.
func BenchmarkHandlePacketSack(b *testing.B) {
	d := newDuo(b)
	d.warmUp(b)
	mask := make([]byte, 2+wire.MaxSackBytes)
	mask[1] = wire.MaxSackBytes
	raw := make([]byte, wire.HeaderSize, wire.HeaderSize+len(mask))
	d.a.Write(d.data)
	for {
		if _, ok := d.a.PollTransmit(d.now, d.buf); !ok {
			break
		}
	}
	for i := range mask[2:] {
		mask[2+i] = 0x55
	}
	b.ReportAllocs()
	for b.Loop() {
		h := wire.Header{Type: wire.State, SeqNr: d.a.rcvNxt, AckNr: d.a.out.una - 1, Window: 4 << 20, Timestamp: d.now.timestamp()}
		h.Put(raw, wire.ExtSelectiveAck)
		d.packet.Parse(append(raw, mask...))
		d.a.HandlePacket(d.now, &d.packet)
	}
}

// BenchmarkConversation is what TestConversations does.
func BenchmarkConversation(b *testing.B) {
	seed := uint64(0)
	for b.Loop() {
		if err := newScenario(seed).run(); err != nil {
			b.Fatal(seed, err)
		}
		seed++
	}
}
