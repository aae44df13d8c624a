//go:build interop

package interop

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp"
)

// TestTorrentHandshakeLoss loses each of the first datagrams of a direction, one a connection. libtorrent sends one SYN
// only; after three seconds it gives up, and dials again a second later.
func TestTorrentHandshakeLoss(t *testing.T) {
	t.Parallel()
	for _, d := range []direction{toServer, toClient} {
		for n := 1; n <= 4; n++ {
			what := fmt.Sprintf("datagram %d %v is lost", n, d)
			t.Run(what, func(t *testing.T) {
				t.Parallel()
				eachTorrent(t, what, func(t *testing.T, s *torrents) {
					t.Parallel()
					s.path = &path{delay: 5 * time.Millisecond}
					s.config = utp.Config{Timeout: 5 * time.Second}
					f := s.theirs(100<<10, 1)
					s.relay.filter(d, func(i int, _ []byte) bool { return i != n })
					start := time.Now()
					c, p := s.connect(f)
					require.NoError(t, p.fetch())
					s.cell.note("%.1f s", time.Since(start).Seconds())
					require.Less(t, time.Since(start), 8*time.Second, "of a loss")
					require.NoError(t, c.Close())
				})
			})
		}
	}
}
