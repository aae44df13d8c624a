//go:build interop

package interop

import (
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch/utp"
)

// disconnected waits for libtorrent's word that a connection has ended, and returns why.
func (s *torrents) disconnected(f *torrent) string {
	s.t.Helper()
	return strings.Join(s.child.await("disconnected", f.String()), " ")
}

// TestTorrentWeCloseFirst waits with Close until all is acknowledged: a libtorrent that learns in one go of data and of
// the end acknowledges the data and throws it away.
func TestTorrentWeCloseFirst(t *testing.T) {
	eachTorrent(t, "we close first: all is delivered", func(t *testing.T, s *torrents) {
		f := s.ours(4<<20, 1)
		c, p := s.connect(f)
		require.NoError(t, p.serve())
		waitFor(t, "all is acknowledged", func() bool { return c.Stats().SendBuffered == 0 })
		require.NoError(t, c.Close())
		s.finish()
		s.child.await("finished", f.String())
		// Whichever it notices first.
		assert.Contains(t, []string{"End_of_file", "torrent_finished"}, s.disconnected(f))
	})
}

// TestTorrentTheyCloseFirst: libtorrent ends both directions at once. What comes after its FIN was acknowledged it does
// not answer, or with a RESET while it still remembers.
func TestTorrentTheyCloseFirst(t *testing.T) {
	t.Parallel()
	eachTorrent(t, "they close first: EOF, later EPIPE", func(t *testing.T, s *torrents) {
		t.Parallel()
		s.config.Timeout = 3 * time.Second
		f := s.theirs(1<<20, 1)
		c, p := s.connect(f)
		require.NoError(t, p.fetch())
		s.remove(f)
		_, err := io.Copy(io.Discard, p.r)
		require.NoError(t, err, "the end of the stream, after messages that are none of our business")
		err = writeUntilError(t, c)
		if !assertAny(t, err, syscall.EPIPE, syscall.ETIMEDOUT) {
			return
		}
		_, err = c.Read(make([]byte, 1))
		assert.Equal(t, io.EOF, err)
		require.NoError(t, c.Close())
		waitFor(t, "the end", func() bool { return s.transport.Stats().Conns == 0 })
	})
}

// TestTorrentTheyFinish: libtorrent has got everything and has no use for another who has it all.
func TestTorrentTheyFinish(t *testing.T) {
	eachTorrent(t, "they have all and close: EOF", func(t *testing.T, s *torrents) {
		f := s.ours(1<<20, 1)
		c, p := s.connect(f)
		require.NoError(t, p.serve())
		s.child.await("finished", f.String())
		_, err := io.Copy(io.Discard, p.r)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		s.finish()
	})
}

func TestTorrentWeReset(t *testing.T) {
	eachTorrent(t, "we send a RESET", func(t *testing.T, s *torrents) {
		f := s.theirs(1<<20, 1)
		c, p := s.connect(f)
		require.NoError(t, p.fetch())
		require.NoError(t, c.SetLinger(0))
		require.NoError(t, c.Close())
		assert.Equal(t, "Connection_reset_by_peer", s.disconnected(f))
	})
}

func TestTorrentKilled(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second
	eachTorrent(t, "their process is killed: ETIMEDOUT", func(t *testing.T, s *torrents) {
		t.Parallel()
		s.config = utp.Config{Timeout: limit}
		f := s.theirs(1<<20, 1)
		c, p := s.connect(f)
		require.NoError(t, p.fetch())
		s.child.kill()
		start := time.Now()
		err := writeUntilError(t, c)
		assert.ErrorIs(t, err, syscall.ETIMEDOUT)
		assert.InDelta(t, limit.Seconds(), time.Since(start).Seconds(), 1)
		_, err = io.Copy(io.Discard, c)
		assert.ErrorIs(t, err, syscall.ETIMEDOUT)
	})
}

func TestTorrentKilledIdle(t *testing.T) {
	t.Parallel()
	eachTorrent(t, "the same, idle, with IdleTimeout: ETIMEDOUT", func(t *testing.T, s *torrents) {
		t.Parallel()
		s.config = utp.Config{IdleTimeout: 2 * time.Second}
		f := s.theirs(1<<20, 1)
		c, p := s.connect(f)
		require.NoError(t, p.fetch())
		s.child.kill()
		_, err := io.Copy(io.Discard, c)
		assert.ErrorIs(t, err, syscall.ETIMEDOUT)
	})
}

// TestTorrentUnanswered: what our dials do is in TestUnanswered; there is no peer in that.
func TestTorrentUnanswered(t *testing.T) {
	t.Parallel()
	s := &torrents{line: newLine(t, "libtorrent", weListen, "a dial is never answered: ETIMEDOUT")}
	s.path = new(path)
	f := s.theirs(1<<20, 1)
	s.relay.cut()
	s.request(f)
	assert.Equal(t, "Connection_timed_out", s.disconnected(f))
	assert.Zero(t, s.transport.Stats().Conns)
}

func TestTorrentRefused(t *testing.T) {
	eachTorrent(t, "a dial is refused: ECONNREFUSED", func(t *testing.T, s *torrents) {
		f := s.theirs(1<<20, 1)
		if s.role == weDial {
			s.child.kill()
			_, err := s.transport.DialContext(t.Context(), "utp", local(s.port).String())
			assert.ErrorIs(t, err, syscall.ECONNREFUSED)
			return
		}
		require.NoError(t, s.listener.Close())
		s.request(f)
		assert.Equal(t, "Connection_reset_by_peer", s.disconnected(f))
	})
}
