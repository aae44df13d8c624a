//go:build interop

package interop

import (
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
	s.remove(f)

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
