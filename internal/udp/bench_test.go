package udp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkLoopback moves bytes through the kernel, sending and reading by turns,
// with and without what Linux has to make that fast: a datagram of 64 bytes, a
// run of 64 KB, and a small datagram from each of 64 peers. Run it with -cpu 1.
func BenchmarkLoopback(b *testing.B) {
	const on, off = "", "1"
	for _, test := range []struct{ name, gso, gro, mmsg string }{
		{"plain", off, off, off},
		{"mmsg", off, off, on},
		{"gso", on, off, off},
		{"gso+mmsg", on, off, on},
		{"gso+gro", on, on, off},
		{"gso+gro+mmsg", on, on, on},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.Setenv(disableGSO, test.gso)
			b.Setenv(disableGRO, test.gro)
			b.Setenv(disableMMSG, test.mmsg)
			b.Run("64B", func(b *testing.B) { benchmarkLoopback(b, 64, 1) })
			b.Run("64KB", func(b *testing.B) { benchmarkLoopback(b, 45*1448, 1) })
			b.Run("64peers", func(b *testing.B) { benchmarkLoopback(b, 64, 64) })
		})
	}
}

func benchmarkLoopback(b *testing.B, size, senders int) {
	open := func(address string) *Conn {
		c := listen(b, "udp4", address)
		require.NoError(b, c.PacketConn().SetDeadline(time.Time{}))
		return c
	}
	to := open("0.0.0.0:0")
	var from []*Conn
	for range senders {
		from = append(from, open("127.0.0.1:0"))
	}
	d := make([]Datagram, 16)
	msg := Transmit{
		Data:    make([]byte, size),
		Segment: 1448,
		Remote:  at(to, "127.0.0.1"),
		Local:   netip.MustParseAddr("127.0.0.1"),
	}
	b.SetBytes(int64(size * senders))
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range from {
			if _, err := c.Write(&msg); err != nil {
				b.Fatal(err)
			}
		}
		for left := size * senders; left > 0; {
			n, err := to.Read(d)
			if err != nil {
				b.Fatal(err)
			}
			for i := range d[:n] {
				left -= len(d[i].Data)
			}
		}
	}
}
