//go:build interop

package interop

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fetchAndServe fetches a torrent of so many bytes from libtorrent, then gives one to it.
func fetchAndServe(t *testing.T, s *torrents, theirs, ours int64) {
	t.Helper()
	f := s.theirs(theirs, 1)
	c, p := s.connect(f)
	start := time.Now()
	require.NoError(t, p.fetch())
	t.Logf("fetched with %.2f MB/s; %+v", float64(theirs)/1e6/time.Since(start).Seconds(), c.Stats())
	require.NoError(t, c.Close())

	f = s.ours(ours, 2)
	c, p = s.connect(f)
	start = time.Now()
	require.NoError(t, p.serve())
	s.child.await("finished", f.String())
	t.Logf("served with %.2f MB/s; %+v", float64(ours)/1e6/time.Since(start).Seconds(), c.Stats())
	require.NoError(t, c.Close())
	s.finish()
}

func TestTorrentBulk(t *testing.T) {
	const size = 64 << 20
	eachTorrent(t, "64 MiB each way", func(t *testing.T, s *torrents) {
		fetchAndServe(t, s, size, size)
	})
}

// TestTorrentLossy: the sizes are those that libtorrent sends in reasonable time.
func TestTorrentLossy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		loss         float64
		ours, theirs int64
	}{
		{0.02, 2 << 20, 1 << 20},
		{0.10, 256 << 10, 256 << 10},
	} {
		what := fmt.Sprintf("30 ms, %.0f %% lost, reordered, repeated: ours %d KiB, theirs %d KiB", 100*c.loss, c.ours>>10, c.theirs>>10)
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			eachTorrent(t, what, func(t *testing.T, s *torrents) {
				t.Parallel()
				s.path = lossy(c.loss)
				fetchAndServe(t, s, c.theirs, c.ours)
			})
		})
	}
}
