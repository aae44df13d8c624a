// Package udp moves the datagrams of one UDP port: it reads them with the
// address they were sent to, and sends them from the address that was asked
// for, with DF set, without an allocation a datagram.
//
// It knows nothing of what the datagrams say. What a platform can do is in a
// file of its own, with a twin for the platforms that cannot; the API is the
// same everywhere and says what is lost.
//
// A [Conn] over a [*net.UDPConn] has the socket's full abilities. Over any
// other [net.PacketConn] it has those of that interface: no [Conn.TryWrite], no
// DF, and no local address but the one it is bound to.
package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// Datagram is what [Conn.Read] fills in: one datagram, or a run of datagrams
// of one sender to one of our addresses.
type Datagram struct {
	// Data is what was received. Read gives it its memory, at least 64 KiB, so
	// that nothing is truncated, and uses that again the next time it is called
	// with the same slot. To keep Data, take it away: set the field to nil.
	Data []byte

	// Segment is 0 if Data is one datagram. Otherwise Data is a run of
	// datagrams of Segment bytes each, of which the last may be shorter.
	Segment int

	// Remote is the sender. An IPv4-mapped IPv6 address is turned into IPv4;
	// the zone of a link-local address is kept.
	Remote netip.AddrPort

	// Local is the address of ours that the datagram was sent to, in the same
	// form as Remote, and fit for [Transmit.Local] in the answer. It is the
	// zero Addr if it is not known, and if it was a multicast address.
	Local netip.Addr
}

// Transmit is what [Conn.Write] and [Conn.TryWrite] send: one datagram, or a
// run of datagrams to one peer.
type Transmit struct {
	// Data is what is sent. It is not kept, and may be empty: an empty datagram.
	Data []byte

	// Segment is 0 if Data is one datagram. Otherwise Data is cut into
	// datagrams of Segment bytes each, of which the last may be shorter.
	Segment int

	// Remote is the receiver.
	Remote netip.AddrPort

	// Local is the source address, and of the same family as Remote; its zone
	// does not matter. The zero Addr leaves the choice to the system. Where
	// the platform cannot choose, it is ignored.
	Local netip.Addr

	// TTL is the hop limit, and 0 the system's. Where the platform has none for a
	// single datagram, it is ignored: that is IPv4 on macOS and the BSDs, all of
	// Windows, and what is not over a [*net.UDPConn].
	TTL uint8

	// Fragment allows the system to send the datagrams in fragments: DF is
	// cleared for them. It is for what was cut before the path MTU fell, and
	// costs two more system calls.
	Fragment bool
}

// Conn is one UDP port.
//
// One goroutine at a time may call Read; every other method may be called from
// any number of goroutines, at the same time as Read too.
type Conn struct {
	pc    net.PacketConn
	port  port
	stats counters

	closed atomic.Bool
}

// port is what the two kinds of Conn do differently: socket, over a
// *net.UDPConn, and packetConn, over anything else. Errors come as they are;
// Conn sorts and wraps them.
type port interface {
	// read fills in at least one of d, unless what it received had to be
	// dropped: then n is 0.
	read(d []Datagram) (n int, err error)

	// write sends the datagrams of t, and n is how many bytes of t.Data these
	// were. If there is no room, it waits for it, or returns ErrWouldBlock. t
	// is a copy: behind a pointer it would escape, and cost the caller an
	// allocation.
	write(t Transmit, wait bool) (n int, err error)
}

const (
	// softErrorBurst is how many soft errors in a row Read takes at full speed,
	// and softErrorPause its rest after as many. An error that does not go away
	// must not take a whole CPU; one that does costs the datagrams behind it
	// nothing they would notice.
	softErrorBurst = 16
	softErrorPause = 5 * time.Millisecond
)

// Listen opens a port. The network is "udp", "udp4" or "udp6", the address as
// for [net.ListenPacket]. On "udp" with a wildcard address the port is of both
// families, where the system has both.
func Listen(network, address string) (*Conn, error) {
	switch network {
	case "udp", "udp4", "udp6":
	default:
		return nil, &net.OpError{Op: "listen", Net: network, Err: net.UnknownNetworkError(network)}
	}
	pc, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	c, err := New(pc)
	if err != nil {
		_ = pc.Close()
		return nil, err
	}
	return c, nil
}

// New takes over pc, which must be open and not connected to one peer: from
// now on nothing else may read from it, and [Conn.Close] closes it. Its
// deadlines are cleared, its buffers enlarged and its socket options set.
//
// If New fails, pc still belongs to the caller. The error matches
// [net.ErrClosed] if pc is closed.
func New(pc net.PacketConn) (*Conn, error) {
	if pc == nil {
		return nil, errors.New("udp: the PacketConn is nil")
	}
	c := &Conn{pc: pc}
	if conn, ok := pc.(*net.UDPConn); ok {
		s, err := newSocket(conn, &c.stats)
		if err != nil {
			return nil, fmt.Errorf("udp: %w", err)
		}
		c.port = s
	} else {
		c.port = newPacketConn(pc, &c.stats)
	}
	// A PacketConn need not have deadlines, but it says here if it is closed.
	if err := pc.SetDeadline(time.Time{}); errors.Is(err, net.ErrClosed) {
		return nil, fmt.Errorf("udp: %w", err)
	}
	return c, nil
}

// Read waits until something was received, and fills in d[:n], n ≥ 1. (If d is
// empty it returns 0 at once.) Only one goroutine at a time may call it.
//
// Errors that say nothing about the port, such as a peer's ICMP message that
// nobody listens there, are counted and skipped. The error matches
// [net.ErrClosed] after Close; any other error is likely to come back at the
// next call.
func (c *Conn) Read(d []Datagram) (n int, err error) {
	if len(d) == 0 {
		return 0, nil
	}
	for soft := 0; ; {
		n, err = c.port.read(d)
		switch {
		case err == nil && n > 0:
			return n, nil
		case err == nil:
			soft = 0
		case c.closed.Load() || !isSoftReadError(err):
			return 0, c.opError("read", netip.AddrPort{}, err)
		default:
			c.stats.readErrors.Add(1)
			if soft++; soft%softErrorBurst == 0 {
				time.Sleep(softErrorPause)
			}
		}
	}
}

// OnUnreachable has Read call f when an ICMP message says that a datagram could
// not be delivered to remote: nobody listens there, or there is no way. Quoted is
// as much of the datagram as the message quotes, possibly nothing, and f must not
// keep it. It is what tells such a message from a forged one.
//
// OnUnreachable must be called before the first Read, and costs nothing but that
// ICMP messages become pending errors, which Read and Write see through. On
// systems other than Linux, and if the Conn is not over a [*net.UDPConn], f is
// never called.
func (c *Conn) OnUnreachable(f func(remote netip.AddrPort, quoted []byte)) {
	if s, ok := c.port.(*socket); ok {
		s.errors.request(s.v6, f)
	}
}

// Write sends the datagrams of t, and waits for room in the socket's buffer. It
// returns how many bytes of t.Data were sent, in whole datagrams: less than all
// only with an error.
//
// The error matches [ErrTooBig] if a datagram is larger than the system knows
// the path to take, and [net.ErrClosed] after Close, which ends the waiting
// too. Other errors are the system's, such as ENOBUFS, EHOSTUNREACH, EPERM (a
// packet filter), ENETUNREACH or EINVAL (no route, or Local is not, or no longer,
// an address of ours). A pending ICMP message about another datagram is none: the
// datagram is sent again.
func (c *Conn) Write(t *Transmit) (n int, err error) {
	return c.write(t, true)
}

// TryWrite is Write, but it never waits, not even for another goroutine's
// Write: when there is no room it returns how many bytes it has sent, and
// [ErrWouldBlock]. It also does so now and then while a datagram with Fragment
// is being sent. On Windows, and if the Conn is not over a [*net.UDPConn], it
// sends nothing and always returns ErrWouldBlock.
func (c *Conn) TryWrite(t *Transmit) (n int, err error) {
	return c.write(t, false)
}

func (c *Conn) write(t *Transmit, wait bool) (int, error) {
	msg := *t
	msg.Local = msg.Local.Unmap()
	msg.Remote = unmap(msg.Remote)
	var n int
	var err error
	switch {
	case c.closed.Load():
		err = net.ErrClosed
	case !msg.Remote.IsValid():
		err = &net.AddrError{Err: "missing address"}
	default:
		n, err = c.port.write(msg, wait)
	}
	switch {
	case err == nil || err == ErrWouldBlock:
		return n, err
	case isTooBig(err):
		err = fmt.Errorf("%w: %w", ErrTooBig, cause(err))
	}
	c.stats.writeErrors.Add(1)
	return n, c.opError("write", msg.Remote, err)
}

// LocalAddr returns the address that the port is bound to, which may be a
// wildcard.
func (c *Conn) LocalAddr() net.Addr { return c.pc.LocalAddr() }

// PacketConn returns the PacketConn that the Conn is over: the one that New was
// given. It is for its options; Conn remains the only one to read from it.
func (c *Conn) PacketConn() net.PacketConn { return c.pc }

// SyscallConn returns the socket, for options that this package does not set.
// The error matches [errors.ErrUnsupported] if the Conn is not over one.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.pc.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, fmt.Errorf("udp: %T has no SyscallConn: %w", c.pc, errors.ErrUnsupported)
}

// Stats returns a snapshot of the counters, which are not all of one instant.
func (c *Conn) Stats() Stats { return c.stats.snapshot() }

// Close closes the port, which is free when it returns. It ends every Read,
// Write and TryWrite; what Write was waiting to send is lost. A second Close
// returns an error that matches [net.ErrClosed].
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return c.opError("close", netip.AddrPort{}, net.ErrClosed)
	}
	return c.pc.Close()
}

// segment returns the datagram of data that begins at offset.
func segment(data []byte, size, offset int) []byte {
	if size <= 0 || size >= len(data)-offset {
		return data[offset:]
	}
	return data[offset : offset+size]
}
