package utp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRandomSource(t *testing.T) {
	r := newRandomSource()
	const draws = 10_000
	seen := map[uint16]bool{}
	var ones [16]int
	for range draws {
		v := r.uint16()
		seen[v] = true
		for i := range ones {
			ones[i] += int(v >> i & 1)
		}
	}
	// Of 65,536 values 10,000 draws meet 9,274 on average; the standard deviation
	// is about 24. A bit is set 5,000 times, with a standard deviation of 50.
	require.InDelta(t, 9274, len(seen), 250, "values do not repeat")
	for i, n := range ones {
		require.InDelta(t, draws/2, n, 500, "bit %d", i)
	}
	other := newRandomSource()
	same := true
	for range 8 {
		same = same && r.seqNr() == other.seqNr()
	}
	require.False(t, same, "no two sources are alike")
}
