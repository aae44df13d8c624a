package utp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"utppunch/utp/internal/engine"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReasonError(t *testing.T) {
	for reason, want := range map[engine.Reason]struct {
		err     error
		text    string
		timeout bool
	}{
		engine.ResetByPeer: {syscall.ECONNRESET, "read: " + syscall.ECONNRESET.Error(), false},
		engine.Refused:     {syscall.ECONNREFUSED, "read: " + syscall.ECONNREFUSED.Error(), false},
		engine.TimedOut:    {syscall.ETIMEDOUT, "read: " + syscall.ETIMEDOUT.Error(), true},
		engine.Aborted:     {net.ErrClosed, "use of closed network connection", false},
		engine.Finished:    {io.EOF, "EOF", false},
	} {
		err := reasonError("read", reason)
		assert.ErrorIs(t, err, want.err)
		assert.Equal(t, want.text, err.Error())
		wrapped := opError("read", nil, NewAddr(alice.Remote), err)
		assert.Equal(t, want.timeout, timeout(wrapped), want.text)
	}
}

func TestOpError(t *testing.T) {
	local, remote := NewAddr(bob.Remote), NewAddr(alice.Remote)
	require.NoError(t, opError("read", local, remote, nil), "no error is no error")
	require.Equal(t, io.EOF, opError("read", local, remote, io.EOF), "io.EOF is bare: callers compare it")
	err := opError("read", local, remote, os.ErrDeadlineExceeded)
	require.EqualError(t, err, "read utp [2001:db8::2]:4002->192.0.2.1:4001: i/o timeout")
	require.True(t, timeout(err))
}

func TestContextError(t *testing.T) {
	cause := errors.New("cause")
	with := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		return ctx
	}
	require.Equal(t, context.Canceled, contextError(with(nil)), "nothing is added to what says all")
	err := contextError(with(cause))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, cause)
	require.EqualError(t, err, "context canceled: cause")
	require.False(t, timeout(opError("dial", nil, nil, err)))

	// The cause of a deadline may look like anything.
	ctx, cancel := context.WithTimeoutCause(t.Context(), 0, cause)
	defer cancel()
	<-ctx.Done()
	err = opError("dial", nil, nil, contextError(ctx))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, cause)
	ne, ok := err.(net.Error)
	require.True(t, ok && ne.Timeout(), "it is a timeout all the same")
	temporary, ok := err.(interface{ Temporary() bool })
	require.True(t, ok && temporary.Temporary())
}
