//go:build interop

package interop

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTorrentIdle: libtorrent's uTP has no keepalives. BitTorrent has, and libtorrent ends what says nothing for two
// minutes, so that there is one a minute from us.
func TestTorrentIdle(t *testing.T) {
	t.Parallel()
	idle, what := 32*time.Second, "idle for half a minute"
	if *long {
		idle, what = 3*time.Minute, "idle for three minutes"
	}
	eachTorrent(t, what, func(t *testing.T, s *torrents) {
		t.Parallel()
		f := s.theirs(1<<20, 1)
		c, p := s.connect(f)
		require.NoError(t, c.SetDeadline(time.Now().Add(idle+patience)))
		for rest := idle; rest > 0; rest -= time.Minute {
			time.Sleep(min(rest, time.Minute))
			p.keepAlive()
		}
		require.NoError(t, p.fetch())
		require.NoError(t, c.Close())
		s.finish()
	})
}
