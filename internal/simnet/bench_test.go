package simnet_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/internal/simnet"
)

func BenchmarkInstant(b *testing.B) { benchmarkLink(b, simnet.Link{}) }
func BenchmarkDelayed(b *testing.B) { benchmarkLink(b, simnet.Link{Latency: 10 * time.Microsecond}) }

func benchmarkLink(b *testing.B, up simnet.Link) {
	n := simnet.New(1)
	defer n.Close()
	from, err := n.Listen(alice, up, simnet.Link{})
	require.NoError(b, err)
	to, err := n.Listen(bob, simnet.Link{}, simnet.Link{})
	require.NoError(b, err)

	const window = 64 // datagrams under way, so that nothing overflows
	out, in := make([]byte, 1400), make([]byte, 1500)
	b.SetBytes(int64(len(out)))
	b.ReportAllocs()
	sent := 0
	for read := 0; b.Loop(); read++ {
		for ; sent < read+window; sent++ {
			_, err := from.WriteTo(out, to.LocalAddr())
			require.NoError(b, err)
		}
		_, _, err := to.ReadFrom(in)
		require.NoError(b, err)
	}
}
