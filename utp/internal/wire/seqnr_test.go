package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSeqNr(t *testing.T) {
	for _, tt := range []struct {
		a, b SeqNr
		diff int
	}{
		{0, 0, 0},
		{1, 0, 1},
		{0, 65535, 1},
		{5, 65530, 11},
		{65535, 65535, 0},
		{32767, 0, 32767},
		{32768, 1, 32767},
		{100, 65000, 636},
		{16384, 49152, -32768},
	} {
		require.Equal(t, tt.diff, tt.a.Diff(tt.b), "%d − %d", tt.a, tt.b)
		require.Equal(t, tt.diff > 0, tt.a.After(tt.b), "%d after %d", tt.a, tt.b)
		require.Equal(t, tt.diff < 0, tt.a.Before(tt.b), "%d before %d", tt.a, tt.b)
	}
}

// TestSeqNrEverywhere: the order is the same all around the circle, and
// antisymmetric but for the one distance that has no direction.
func TestSeqNrEverywhere(t *testing.T) {
	for _, base := range []SeqNr{0, 1, 32767, 32768, 65535} {
		for d := range 1 << 16 {
			a := base + SeqNr(d)
			want := d
			if d >= 1<<15 {
				want -= 1 << 16
			}
			if got := a.Diff(base); got != want {
				t.Fatalf("%d − %d = %d, want %d", a, base, got, want)
			}
			if d == 1<<15 {
				continue
			}
			if base.Diff(a) != -want || a.After(base) != base.Before(a) || a.Before(base) != base.After(a) {
				t.Fatalf("%d and %d are not in one order", a, base)
			}
			if got := base + SeqNr(want); got != a {
				t.Fatalf("%d + %d = %d, want %d", base, want, got, a)
			}
		}
	}
}
