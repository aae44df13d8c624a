package udp

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErrorKinds(t *testing.T) {
	wrapped := func(errno syscall.Errno) error {
		return &net.OpError{Op: "op", Err: os.NewSyscallError("call", errno)}
	}
	require.True(t, isSoftReadError(wrapped(softError)))
	require.False(t, isSoftReadError(wrapped(syscall.EINVAL)))
	require.True(t, isPendingError(wrapped(pendingError)))
	require.False(t, isPendingError(wrapped(syscall.ENOBUFS)))
	require.True(t, isTooBig(wrapped(tooBigError)))
	require.False(t, isTooBig(wrapped(pendingError)))
	for _, err := range []error{nil, io.EOF, net.ErrClosed, os.ErrDeadlineExceeded, syscall.Errno(0), ErrTooBig, ErrWouldBlock} {
		require.False(t, isSoftReadError(err), "%v", err)
		require.False(t, isPendingError(err), "%v", err)
		require.False(t, isTooBig(err), "%v", err)
	}
}

func TestCause(t *testing.T) {
	require.Equal(t, io.EOF, cause(&net.OpError{Op: "raw-write", Err: io.EOF}))
	require.Equal(t, io.EOF, cause(io.EOF))
	own := fmt.Errorf("relay: %w", &net.OpError{Op: "write", Err: io.EOF})
	require.Equal(t, own, cause(own), "what others wrapped is theirs")
}
