//go:build interop

package interop

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lossy is a path that does everything to a share of its datagrams.
func lossy(loss float64) *path {
	return &path{delay: 15 * time.Millisecond, loss: loss, duplicate: 0.02, reorder: 0.1}
}

// TestLossy transfers both ways at once over bad paths of 30 ms. The sizes are those that libutp sends in reasonable
// time: for each loss it halves its window, and it waits a second for each that it does not see by a SACK.
func TestLossy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		loss         float64
		ours, theirs int64
	}{
		{0.02, 2 << 20, 256 << 10},
		{0.10, 256 << 10, 32 << 10},
	} {
		what := fmt.Sprintf("30 ms, %.0f %% lost, reordered, repeated: ours %d KiB, theirs %d KiB", 100*c.loss, c.ours>>10, c.theirs>>10)
		eachStream(t, what, func(t *testing.T, s *streams) {
			t.Parallel()
			s.path = lossy(c.loss)
			start := time.Now()
			conn := s.exchangeBoth(c.ours, c.theirs)
			t.Logf("%v; %+v", time.Since(start), conn.Stats())
			require.NoError(t, conn.Close())
			s.finish()
		})
	}
}
