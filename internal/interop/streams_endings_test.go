//go:build interop

package interop

import (
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch/utp"
)

// writeUntilError writes to a connection whose peer is gone, or going, until we are told.
func writeUntilError(t *testing.T, c *utp.Conn) error {
	t.Helper()
	for start := time.Now(); time.Since(start) < patience; time.Sleep(20 * time.Millisecond) {
		if _, err := c.Write([]byte("anybody there?")); err != nil {
			return err
		}
	}
	require.Fail(t, "writing to a peer that is gone never failed")
	return nil
}

func TestWeCloseFirst(t *testing.T) {
	const size = 1 << 20
	eachStream(t, "we close first: all is delivered", func(t *testing.T, s *streams) {
		c, id := s.connect("sink")
		_, err := c.Write(random(size, 1))
		require.NoError(t, err)
		require.NoError(t, c.Close())
		s.finish()
		s.ended(id, randomDigest(size, 1))
		s.child.await("closed", id)
		assert.False(t, s.child.says("error", id), "the end is a clean one")
	})
}

func TestTheyCloseFirst(t *testing.T) {
	const size = 1 << 20
	const unread = 32 << 10 // less than any window
	eachStream(t, "they close first: EOF, later EPIPE", func(t *testing.T, s *streams) {
		c, id := s.connect("hold")
		s.child.send("write %s %d 2", id, size)
		got := make([]byte, size)
		_, err := io.ReadFull(c, got[:size-unread])
		require.NoError(t, err)
		s.child.await("wrote", id)
		s.child.send("destroy %s", id)
		s.child.await("closed", id) // which is when all is acknowledged
		_, err = io.ReadFull(c, got[size-unread:])
		require.NoError(t, err)
		assert.True(t, string(random(size, 2)) == string(got), "what they wrote before has arrived")
		_, err = c.Read(got)
		assert.Equal(t, io.EOF, err)
		err = writeUntilError(t, c)
		assert.ErrorIs(t, err, syscall.EPIPE)
		_, err = c.Read(got)
		assert.Equal(t, io.EOF, err, "that was the end of their stream, whatever happened later")
		require.NoError(t, c.Close())
		ctx, cancel := timeLimit(t, patience)
		defer cancel()
		// What we wrote last did not arrive, and whether we know depends on who was first.
		if err := s.transport.Shutdown(ctx); err != nil {
			assert.ErrorIs(t, err, utp.ErrUndelivered)
		}
	})
}

func TestHalfClose(t *testing.T) {
	const size = 1 << 20
	eachStream(t, "half-close, ours and theirs", func(t *testing.T, s *streams) {
		if !s.halfClose {
			s.cell.note("they cannot")
			return
		}
		ours, id := s.connect("hold")
		require.NoError(t, ours.CloseWrite())
		s.ended(id, randomDigest(0, 0))
		_, err := ours.Write([]byte("x"))
		assert.ErrorIs(t, err, syscall.EPIPE)
		s.child.send("write %s %d 2", id, size)
		s.child.send("end %s", id)
		got := newDigest()
		_, err = io.Copy(got, ours)
		require.NoError(t, err)
		assert.Equal(t, randomDigest(size, 2), got.String(), "they can write after we have ended")
		s.child.await("closed", id)

		theirs, id := s.connect("hold")
		s.child.send("end %s", id)
		_, err = theirs.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		_, err = theirs.Write(random(size, 1))
		require.NoError(t, err)
		require.NoError(t, theirs.CloseWrite())
		s.ended(id, randomDigest(size, 1))
		s.child.await("closed", id)

		require.NoError(t, ours.Close())
		require.NoError(t, theirs.Close())
		s.finish()
	})
}

// TestWeReset waits until nothing of the peer's is under way: a second RESET, which its packets would meet when they
// arrive, has a libutp that was closed between the two forget to report the end.
func TestWeReset(t *testing.T) {
	eachStream(t, "we send a RESET", func(t *testing.T, s *streams) {
		quiet := func() (*utp.Conn, string) {
			c, id := s.connect("hold")
			waitFor(t, "all is acknowledged", func() bool { return c.Stats().SendBuffered == 0 })
			return c, id
		}
		c, id := quiet()
		require.NoError(t, c.SetLinger(0))
		require.NoError(t, c.Close())
		s.wasReset(id)

		_, id = quiet()
		require.NoError(t, s.transport.Close(), "which resets all")
		s.wasReset(id)
	})
}

// TestTheyReset: a process that does not know a connection says so by a RESET. This one has been started anew.
// wasReset checks that the peer's application hears of a RESET.
func (s *streams) wasReset(id string) {
	s.t.Helper()
	if s.errors {
		assert.Equal(s.t, []string{"UTP_ECONNRESET"}, s.child.await("error", id))
	}
	s.child.await("closed", id)
}

func TestTheyReset(t *testing.T) {
	eachStream(t, "they send a RESET: ECONNRESET, later EPIPE", func(t *testing.T, s *streams) {
		c, id := s.connect("hold")
		s.child.send("write %s 1000 2", id)
		waitFor(t, "what they wrote has arrived", func() bool { return c.Stats().RecvBuffered == 1000 })
		s.child.kill()
		again := startChild(t, "node", "streams.js", s.npm)
		again.send("listen %d", portOf(c.RemoteAddr()))
		again.await("listening")
		_, err := c.Write([]byte("x"))
		require.NoError(t, err)
		waitFor(t, "the RESET", func() bool { return s.transport.Stats().Conns == 0 })
		got := make([]byte, 1000)
		_, err = io.ReadFull(c, got)
		require.NoError(t, err, "what was received can be read first")
		assert.True(t, string(random(1000, 2)) == string(got))
		_, err = c.Read(got)
		assert.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = c.Write([]byte("x"))
		assert.ErrorIs(t, err, syscall.EPIPE)
	})
}

func TestKilled(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second
	eachStream(t, "their process is killed: ETIMEDOUT", func(t *testing.T, s *streams) {
		t.Parallel()
		s.config = utp.Config{Timeout: limit, Linger: time.Second}
		writing, id := s.connect("hold")
		closing, _ := s.connect("hold")
		s.child.send("write %s 1000 2", id)
		waitFor(t, "what they wrote has arrived", func() bool { return writing.Stats().RecvBuffered == 1000 })
		s.child.kill()
		start := time.Now()
		_, err := closing.Write([]byte("in vain"))
		require.NoError(t, err)
		require.NoError(t, closing.Close())
		err = writeUntilError(t, writing)
		assert.ErrorIs(t, err, syscall.ETIMEDOUT)
		assert.InDelta(t, limit.Seconds(), time.Since(start).Seconds(), 1)
		got := make([]byte, 1000)
		_, err = io.ReadFull(writing, got)
		require.NoError(t, err, "what was received can be read first")
		assert.True(t, string(random(1000, 2)) == string(got))
		_, err = writing.Read(got)
		assert.ErrorIs(t, err, syscall.ETIMEDOUT)
		require.NoError(t, writing.Close())
		waitFor(t, "the connection that was closed has been given up", func() bool { return s.transport.Stats().Undelivered == 1 })
		require.NoError(t, s.transport.Close())
	})
}

// TestKilledIdle: nothing is outstanding, so that only IdleTimeout notices.
func TestKilledIdle(t *testing.T) {
	t.Parallel()
	eachStream(t, "the same, idle, with IdleTimeout: ETIMEDOUT", func(t *testing.T, s *streams) {
		t.Parallel()
		s.config = utp.Config{IdleTimeout: 2 * time.Second}
		c, _ := s.connect("hold")
		s.child.kill()
		_, err := c.Read(make([]byte, 1))
		assert.ErrorIs(t, err, syscall.ETIMEDOUT)
	})
}
