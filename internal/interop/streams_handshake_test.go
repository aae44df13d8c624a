//go:build interop

package interop

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHandshakeLoss loses each of the first datagrams of a direction, one a connection.
func TestHandshakeLoss(t *testing.T) {
	t.Parallel()
	for _, d := range []direction{toServer, toClient} {
		for n := 1; n <= 4; n++ {
			what := fmt.Sprintf("datagram %d %v is lost", n, d)
			t.Run(what, func(t *testing.T) {
				t.Parallel()
				eachStream(t, what, func(t *testing.T, s *streams) {
					t.Parallel()
					s.path = &path{delay: 5 * time.Millisecond}
					s.start("echo")
					s.relay.filter(d, func(i int, _ []byte) bool { return i != n })
					start := time.Now()
					c, id := s.connect("echo")
					echoed(t, c, 3000, 1)
					s.cell.note("%.1f s", time.Since(start).Seconds())
					require.Less(t, time.Since(start), 6*time.Second, "of a loss")
					if s.role == weListen {
						s.ended(id, randomDigest(3000, 1))
					}
					s.finish()
				})
			})
		}
	}
}
