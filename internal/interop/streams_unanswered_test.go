//go:build interop

package interop

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch"
)

// TestUnanswered dials where everything is lost.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	eachStream(t, "a dial is never answered: ETIMEDOUT", func(t *testing.T, s *streams) {
		t.Parallel()
		s.path = new(path)
		s.start("hold")
		s.relay.cut()
		if s.role == weListen && !s.errors {
			s.cell.note("they try for ever")
			return
		}
		if s.role == weListen {
			id := s.request("hold")
			assert.Equal(t, []string{"UTP_ETIMEDOUT"}, s.child.awaitFor(2*patience, "error", id))
			s.child.await("closed", id)
			assert.Zero(t, s.transport.Stats().Conns)
			return
		}
		ctx, cancel := timeLimit(t, time.Second)
		defer cancel()
		_, err := s.transport.DialContext(ctx, "utp", local(s.port).String())
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = s.transport.DialContext(t.Context(), "utp", local(s.port).String())
		assert.ErrorIs(t, err, syscall.ETIMEDOUT)
	})
}

// TestRefused dials where nobody listens: we a port that is closed, they one of ours that has no Listener.
func TestRefused(t *testing.T) {
	eachStream(t, "a dial is refused: ECONNREFUSED", func(t *testing.T, s *streams) {
		if s.role == weDial {
			s.start("hold")
			s.child.kill()
			_, err := s.transport.DialContext(t.Context(), "utp", local(s.port).String())
			assert.ErrorIs(t, err, syscall.ECONNREFUSED)
			return
		}
		tr, err := utppunch.Open("utp4", "127.0.0.1:0", nil)
		require.NoError(t, err)
		t.Cleanup(func() { tr.Close() })
		s.transport, s.port = tr, portOf(tr.Addr())
		s.start("hold")
		id := s.request("hold")
		// libutp means to say ECONNREFUSED, but has changed its state before it looks at it.
		s.wasReset(id)
	})
}
