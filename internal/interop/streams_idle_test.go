//go:build interop

package interop

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestIdle is about keepalives: ours come after 25 s, libutp's after 29.
func TestIdle(t *testing.T) {
	t.Parallel()
	idle, what := 32*time.Second, "idle for half a minute"
	if *long {
		idle, what = 3*time.Minute, "idle for three minutes"
	}
	eachStream(t, what, func(t *testing.T, s *streams) {
		t.Parallel()
		c, id := s.connect("echo")
		require.NoError(t, c.SetDeadline(time.Now().Add(idle+patience)))
		waitFor(t, "the handshake is over", func() bool { return c.Stats().SendBuffered == 0 })
		before := c.Stats()
		time.Sleep(idle)
		after := c.Stats()
		assert.NotZero(t, after.PacketsSent-before.PacketsSent, "our keepalives")
		if s.keepAlive {
			assert.NotZero(t, after.PacketsReceived-before.PacketsReceived, "their keepalives")
		}
		assert.Zero(t, after.Retransmits)
		assert.Zero(t, after.Invalid, "a keepalive is nothing wrong")
		echoed(t, c, 1<<20, 1)
		s.ended(id, randomDigest(1<<20, 1))
		s.finish()
	})
}

// TestAcceptorSpeaksFirst: a libutp that dialled says nothing of itself until its keepalive, so that we accept it no
// earlier. Then we may speak first. One that accepted cannot: it does not become writable.
func TestAcceptorSpeaksFirst(t *testing.T) {
	t.Parallel()
	for _, peer := range streamPeers {
		t.Run(peer.npm, func(t *testing.T) {
			t.Parallel()
			s := &streams{line: newLine(t, peer.name, weListen, "we accept, and speak first"), streamPeer: peer, quiet: true}
			s.start("sink")
			id := s.request("sink")
			start := time.Now()
			s.acceptLimit = 2 * patience
			c := s.establish()
			s.cell.note("after %.0f s", time.Since(start).Seconds())
			_, err := c.Write(random(1000, 1))
			require.NoError(t, err)
			require.NoError(t, c.Close())
			s.ended(id, randomDigest(1000, 1))
			s.finish()
		})
	}
}
