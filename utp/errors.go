package utp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"utppunch/utp/internal/engine"
)

// ErrUndelivered is what Shutdown returns when a connection that was closed could
// not deliver everything: its peer did not answer for too long. A peer that resets
// the connection did not want the rest, which is no error.
var ErrUndelivered = errors.New("utp: not everything that was written has been delivered")

// network is what net.OpError and Addr.Network say.
const network = "utp"

// Errors that a [PacketWriter] returns. Any other means that the datagrams were
// not sent and may be taken for lost.
var (
	// ErrWouldBlock says that the system has no room for more datagrams now.
	ErrWouldBlock = errors.New("utp: sending would block")
	// ErrTooBig says that a datagram is larger than the system sends in one
	// piece.
	ErrTooBig = errors.New("utp: datagram too big")
)

// opError wraps err as package net does. io.EOF is returned bare.
func opError(op string, local, remote net.Addr, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: network, Source: local, Addr: remote, Err: err}
}

// errno returns a system error in the form that package net has it.
func errno(op string, e syscall.Errno) error { return os.NewSyscallError(op, e) }

// isHardSendError reports whether the system refused to send for a reason that
// will not pass: there is no route, or it is forbidden.
func isHardSendError(err error) bool {
	for _, e := range [...]syscall.Errno{
		syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EINVAL, syscall.EAFNOSUPPORT,
		syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// reasonError is what reading or writing a connection that has ended returns.
func reasonError(op string, r engine.Reason) error {
	switch r {
	case engine.ResetByPeer:
		return errno(op, syscall.ECONNRESET)
	case engine.Refused:
		return errno(op, syscall.ECONNREFUSED)
	case engine.TimedOut:
		return errno(op, syscall.ETIMEDOUT)
	case engine.Aborted:
		return net.ErrClosed
	default:
		return io.EOF
	}
}

// contextError is the error of a dial that ctx ended: what ctx.Err says, and the
// cause if that is something else.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err {
		return err
	}
	return &causedError{err: err, cause: cause}
}

// causedError is the error of a context together with its cause.
type causedError struct{ err, cause error }

func (e *causedError) Error() string   { return e.err.Error() + ": " + e.cause.Error() }
func (e *causedError) Unwrap() []error { return []error{e.err, e.cause} }
func (e *causedError) Timeout() bool   { return e.err == context.DeadlineExceeded }
func (e *causedError) Temporary() bool { return e.err == context.DeadlineExceeded }
