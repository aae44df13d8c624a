package utp

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"utppunch/utp/internal/engine"
	"utppunch/utp/internal/wire"
)

// Conn is a uTP connection. It implements [net.Conn] with the semantics of a
// [net.TCPConn]; all methods are safe for concurrent use.
//
// Errors are *net.OpError around the usual sentinels, but for io.EOF, which is
// bare: os.ErrDeadlineExceeded, net.ErrClosed, syscall.ECONNRESET (the peer
// sent a RESET), ETIMEDOUT (the path or the peer is dead), and EPIPE (writing
// after CloseWrite, or after a RESET). Test for them with errors.Is. What was
// received can be read before an error is reported.
type Conn struct {
	// immutable
	endpoint *Endpoint
	inbound  bool
	unbound  bool       // dialled, when our own address was not known: see place
	synSeqNr wire.SeqNr // of the SYN that opened it

	// guarded by Endpoint.mu, and by mu too when they change: one of them is enough
	// to read them
	connIDRecv uint16
	connIDSend uint16
	next       *Conn // in the table

	// guarded by readyList.mu
	ready     bool
	readyNext *Conn

	// mu is taken after Endpoint.mu and before readyList.mu. It is never held
	// during a system call, nor longer than it takes to copy 64 KiB.
	mu sync.Mutex

	// guarded by mu
	engine      engine.Conn
	clock       engine.Time // of the last call of the engine; it never decreases
	route       Route       // changes under Endpoint.mu as well: one of them is enough to read it
	dial        *dialing    // outbound, until it is established: where to report
	readable    waiters
	writable    waiters
	readDL      *deadline // nil: never set
	writeDL     *deadline
	timer       *time.Timer // runs onTimer; armed lazily, at timerAt or earlier
	timerAt     engine.Time // zero: not armed
	flushing    bool        // somebody is sending for this connection
	trying      bool        // and it is not the sender, so it waits for nothing
	writing     bool        // a Write is under way: Writes do not mix
	closed      bool        // Close was called
	removed     bool        // the endpoint no longer routes packets here
	resetSeen   bool        // a blocked Write has reported the peer's RESET
	told        bool        // a call has reported why the connection ended
	established bool        // the endpoint was told
	linger      int         // SetLinger
	unsent      *outgoing   // what the system had no room for
}

// outgoing is a run of datagrams that is being sent, or waits for that.
type outgoing struct {
	buf  []byte // of MaxChunk
	rest []byte // the part of it that was not sent
	engine.Transmit
}

// maxHold is the most that is copied under the lock at a time, in bytes.
const maxHold = 64 << 10

// newConn returns a connection of e; its engine is still to be started.
func newConn(e *Endpoint, route Route) *Conn {
	return &Conn{endpoint: e, route: route, linger: -1}
}

// started notes what the table needs to know of an engine that was started.
func (c *Conn) started() {
	c.connIDRecv, c.connIDSend = c.engine.ConnIDs()
	c.synSeqNr = c.engine.SynSeqNr()
}

// key and place are where the connection is in the table.
func (c *Conn) key() key     { return c.route.key(c.connIDRecv) }
func (c *Conn) place() place { return place{c.route.Local, c.unbound} }

// LocalAddr returns the address that the peer sends to, as an *[Addr]: a
// concrete one where the system tells, even if the socket is bound to the
// unspecified address.
func (c *Conn) LocalAddr() net.Addr { return c.endpoint.localAddr(c.currentRoute()) }

// RemoteAddr returns the address of the peer, as an *[Addr].
func (c *Conn) RemoteAddr() net.Addr { return NewAddr(c.currentRoute().Remote) }

func (c *Conn) currentRoute() Route {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.route
}

// opError wraps an error of this connection.
func (c *Conn) opError(op string, err error) error {
	if err == nil {
		return nil
	}
	return opError(op, c.LocalAddr(), c.RemoteAddr(), err)
}

// Close closes the connection: blocked calls return at once, as do later ones,
// with net.ErrClosed. It does not block. What was written is still delivered in
// the background, followed by the end of the stream, as long as there is
// progress within Config.Linger; [Endpoint.Shutdown] waits for that. Received
// data that was not read is thrown away. See also [Conn.SetLinger]. A second
// Close returns net.ErrClosed.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.opError("close", net.ErrClosed)
	}
	c.closed = true
	if c.removed {
		c.countUndeliveredLocked()
	}
	c.readDL.stop()
	c.writeDL.stop()
	linger := c.linger
	if linger == 0 || linger < 0 && c.endpoint.lingerOff() {
		c.engine.Abort()
	} else {
		c.engine.Close(c.tick())
	}
	c.readable.wake()
	c.writable.wake()
	c.flushLocked()
	var err error
	if linger > 0 {
		err = c.awaitFlushLocked(time.Duration(linger) * time.Second)
	}
	c.unlock()
	return c.opError("close", err)
}

// countUndeliveredLocked counts a connection that was closed and has ended, if not
// all that was written was acknowledged and no call has said so.
func (c *Conn) countUndeliveredLocked() {
	if c.engine.Undelivered() && !c.told {
		c.told = true
		c.endpoint.undelivered.Add(1)
	}
}

// awaitFlushLocked waits until the peer has acknowledged everything.
func (c *Conn) awaitFlushLocked(limit time.Duration) error {
	late := false
	timer := time.AfterFunc(limit, func() {
		c.mu.Lock()
		late = true
		c.writable.wake()
		c.mu.Unlock()
	})
	defer timer.Stop()
	for {
		switch r := c.engine.Reason(); {
		case r == engine.Finished || r == engine.NotClosed && c.engine.Flushed():
			return nil
		case r != engine.NotClosed:
			return reasonError("close", r)
		case late:
			return os.ErrDeadlineExceeded
		}
		c.waitLocked(&c.writable)
	}
}

// CloseWrite ends the stream to the peer, which reads io.EOF after what was
// written; reading goes on (half-close). Writing afterwards is EPIPE. Peers that
// are not of our own kind or libutp's take it for the end of both directions.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	err := c.closeWriteLocked()
	c.unlock()
	return c.opError("close", err)
}

func (c *Conn) closeWriteLocked() error {
	if c.closed {
		return net.ErrClosed
	}
	switch r := c.engine.Reason(); r {
	case engine.NotClosed:
	case engine.Finished:
		return nil
	default:
		return errno("shutdown", syscall.ENOTCONN)
	}
	c.engine.CloseWrite()
	c.writable.wake()
	c.flushLocked()
	return nil
}

// CloseRead throws away what was received and what will be: reading returns
// io.EOF. Writing goes on, and the peer is not told.
func (c *Conn) CloseRead() error {
	c.mu.Lock()
	var err error
	if c.closed {
		err = net.ErrClosed
	} else {
		c.engine.CloseRead(c.tick())
		c.readable.wake()
		c.flushLocked()
	}
	c.unlock()
	return c.opError("close", err)
}

// SetLinger sets what Close does with data that is not acknowledged yet. Below
// zero, the default, Close returns at once and delivery goes on in the
// background. Zero has Close throw it away and send a RESET. Above zero Close
// waits until all is acknowledged, for so many seconds at the most, and reports
// an error if it is not: os.ErrDeadlineExceeded when they are over, and delivery
// goes on in the background; ETIMEDOUT when it was given up, as Config.Linger says.
func (c *Conn) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.closedLocked("set")
	}
	c.linger = sec
	return nil
}

// SetNoDelay sets whether a short packet is sent at once even if another short
// one is not acknowledged yet. By default it waits for that, or for a few
// milliseconds, so that small writes share a packet.
func (c *Conn) SetNoDelay(noDelay bool) error {
	c.mu.Lock()
	if c.closed {
		defer c.mu.Unlock()
		return c.closedLocked("set")
	}
	c.engine.SetNoDelay(noDelay)
	c.flushLocked()
	c.unlock()
	return nil
}

// closedLocked is the error for the use of a closed connection.
func (c *Conn) closedLocked(op string) error {
	return opError(op, c.endpoint.localAddr(c.route), NewAddr(c.route.Remote), net.ErrClosed)
}

// SetDeadline sets the read and the write deadline; see [net.Conn]. A deadline
// that has passed interrupts calls that are blocked, and fails later ones even
// if data is ready; nothing is lost.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, true, true) }

// SetReadDeadline sets the deadline of Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, true, false) }

// SetWriteDeadline sets the deadline of Write. A Write that has taken a part of
// its bytes when the deadline passes returns how many, and they are delivered.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

func (c *Conn) setDeadlines(t time.Time, read, write bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.closedLocked("set")
	}
	if read {
		c.readDL = c.readDL.set(&c.mu, &c.readable, t)
	}
	if write {
		c.writeDL = c.writeDL.set(&c.mu, &c.writable, t)
	}
	return nil
}
