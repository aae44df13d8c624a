//go:build interop

package interop

import (
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch/utp"
)

// echoed writes n bytes of a seed to a peer that echoes, reads them back, and ends; the peer ends as well.
func echoed(t *testing.T, c *utp.Conn, n int64, seed uint64) {
	t.Helper()
	want := random(n, seed)
	_, err := c.Write(want)
	assert.NoError(t, err)
	got := make([]byte, n)
	back, err := io.ReadFull(c, got)
	assert.NoError(t, err)
	assert.True(t, string(want) == string(got), "%d bytes came back, of %d", back, n)
	// Not earlier: utp-punch goes away as soon as both have ended, whatever was lost.
	assert.NoError(t, c.CloseWrite())
	rest, err := io.ReadAll(c)
	assert.NoError(t, err)
	assert.Empty(t, rest)
	assert.NoError(t, c.Close())
}

func TestHundredAtOnce(t *testing.T) {
	const conns, size = 100, 100 << 10
	eachStream(t, "100 connections at once, 100 KiB each way", func(t *testing.T, s *streams) {
		s.start("echo")
		for range conns {
			s.request("echo")
		}
		var busy sync.WaitGroup
		var open []*utp.Conn
		var mu sync.Mutex
		for range conns {
			busy.Go(func() {
				c := s.establish()
				s.greet(c)
				mu.Lock()
				open = append(open, c)
				mu.Unlock()
			})
		}
		busy.Wait()
		require.Len(t, open, conns)
		for i, c := range open {
			busy.Go(func() { echoed(t, c, size, uint64(i)) })
		}
		busy.Wait()
		s.finish()
	})
}

// TestThousandInARow: with ids drawn at random, several of a thousand are drawn twice.
func TestThousandInARow(t *testing.T) {
	t.Parallel()
	const conns = 1000
	eachStream(t, "1,000 connections, one after the other", func(t *testing.T, s *streams) {
		t.Parallel()
		for i := range conns {
			c, _ := s.connect("echo")
			echoed(t, c, 100, uint64(i))
			if t.Failed() {
				t.Fatal("connection ", i)
			}
		}
		s.finish()
	})
}
