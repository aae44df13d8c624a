//go:build interop

package interop

import (
	"fmt"
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
		size := s.bulk
		s.cell.note("%d MiB", size>>20)
		c, id := s.connect(fmt.Sprintf("both %d 2", size))
		start := time.Now()
		s.exchangeBoth(c, size, randomDigest(size, 2))
		s.ended(id, randomDigest(size, 1))
		t.Logf("%.0f MiB/s each way; %+v", float64(size)/1e6/time.Since(start).Seconds(), c.Stats())
		require.NoError(t, c.Close())
		s.finish()
	})
}
