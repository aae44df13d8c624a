//go:build interop

package interop

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch/utp"
)

// TestTorrentLossy: libtorrent gives a connection up when one packet was lost three times, which a tenth of losses
// brings about soon, and sends neither FIN nor RESET then. As in real life the transfer goes on over another one.
func TestTorrentLossy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		loss         float64
		ours, theirs int64
	}{
		{0.02, 2 << 20, 1 << 20},
		{0.10, 256 << 10, 256 << 10},
	} {
		if c.loss > 0.05 && !*long {
			// Now and then libtorrent holds a connection for alive that it has given up, when our RESET is lost too,
			// and dials no other one for minutes.
			continue
		}
		what := fmt.Sprintf("30 ms, %.0f %% lost, reordered, repeated: ours %d KiB, theirs %d KiB", 100*c.loss, c.ours>>10, c.theirs>>10)
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			eachTorrent(t, what, func(t *testing.T, s *torrents) {
				t.Parallel()
				s.path = lossy(c.loss)
				s.config = utp.Config{Timeout: 5 * time.Second, IdleTimeout: 5 * time.Second}
				f := s.theirs(c.theirs, 1)
				d := newDownload(f)
				n := s.untilDone(f, func(p *btPeer) bool { return p.resume(d) == nil })
				assert.Zero(t, d.left)
				s.remove(f)

				f = s.ours(c.ours, 2)
				n += s.untilDone(f, func(p *btPeer) bool {
					err := p.serve()
					return s.child.says("finished", f.String()) || err == nil && s.saysFor(5*time.Second, "finished", f.String())
				})
				s.cell.note("%d connections", n)
			})
		})
	}
}

// untilDone opens connections until a transfer over one of them says that it is done, and returns how many it took.
func (s *torrents) untilDone(f *torrent, transfer func(p *btPeer) bool) (conns int) {
	s.t.Helper()
	for start := time.Now(); time.Since(start) < 4*patience; {
		conns++
		s.request(f)
		c, p, err := s.meet(f)
		if err != nil {
			s.t.Logf("connection %d: %v", conns, err)
			require.NoError(s.t, c.Close())
			continue
		}
		done := transfer(p)
		s.t.Logf("connection %d: done: %v, %+v", conns, done, c.Stats())
		require.NoError(s.t, c.Close())
		if done {
			return conns
		}
	}
	require.Fail(s.t, "the transfer does not end", "%d connections", conns)
	return conns
}

// saysFor is whether libtorrent says so within a time.
func (s *torrents) saysFor(limit time.Duration, words ...string) bool {
	for start := time.Now(); time.Since(start) < limit; time.Sleep(10 * time.Millisecond) {
		if s.child.says(words...) {
			return true
		}
	}
	return false
}
