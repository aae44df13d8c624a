//go:build interop

package interop

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEcho(t *testing.T) {
	eachStream(t, "echo, 1 MiB", func(t *testing.T, s *streams) {
		c, id := s.connect("echo")
		exchange(t, c, 1<<20, randomDigest(1<<20, 1))
		s.ended(id, randomDigest(1<<20, 1))
		require.NoError(t, c.Close())
		s.finish()
		s.child.await("closed", id)
	})
}

func TestBulk(t *testing.T) {
	eachStream(t, "bulk, each way at once", func(t *testing.T, s *streams) {
		s.cell.note("%d MiB", s.bulk>>20)
		start := time.Now()
		c := s.exchangeBoth(s.bulk, s.bulk)
		t.Logf("%.0f MB/s each way; %+v", float64(s.bulk)/1e6/time.Since(start).Seconds(), c.Stats())
		require.NoError(t, c.Close())
		s.finish()
	})
}
