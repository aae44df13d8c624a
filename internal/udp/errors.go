package udp

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

var (
	// ErrWouldBlock is returned, as it is, by [Conn.TryWrite] when sending
	// would mean waiting.
	ErrWouldBlock = errors.New("udp: no room to send without waiting")

	// ErrTooBig is matched by the error for a datagram that is larger than its
	// path, as far as the system knows it, or than any datagram can be. The
	// error matches the system's own, EMSGSIZE, too.
	ErrTooBig = errors.New("datagram too big")
)

// isSoftReadError reports whether err, from reading, is about something other
// than the port: reading goes on.
func isSoftReadError(err error) bool {
	errno, ok := errnoOf(err)
	return ok && softReadErrno(errno)
}

// isPendingError reports whether err, from sending, is about an earlier
// datagram: the one at hand was not sent, and can be.
func isPendingError(err error) bool {
	errno, ok := errnoOf(err)
	return ok && pendingErrno(errno)
}

// isTooBig reports whether err, from sending, is about the datagram's length.
func isTooBig(err error) bool {
	errno, ok := errnoOf(err)
	return ok && tooBigErrno(errno)
}

func errnoOf(err error) (errno syscall.Errno, ok bool) {
	ok = errors.As(err, &errno)
	return errno, ok
}

// cause returns err without the net.OpError that package net put around it.
func cause(err error) error {
	if op, ok := err.(*net.OpError); ok {
		return op.Err
	}
	return err
}

// opError returns the error of an operation as package net would.
func (c *Conn) opError(op string, remote netip.AddrPort, err error) error {
	// Not every PacketConn says ErrClosed when it is closed.
	if c.closed.Load() {
		err = net.ErrClosed
	}
	e := &net.OpError{Op: op, Net: "udp", Source: c.pc.LocalAddr(), Err: cause(err)}
	if remote.IsValid() {
		e.Addr = net.UDPAddrFromAddrPort(remote)
	}
	return e
}
