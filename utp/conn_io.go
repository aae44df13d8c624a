package utp

import (
	"io"
	"net"
	"os"
	"syscall"

	"utppunch/utp/internal/engine"
)

// Read reads up to len(b) bytes, waiting until there is at least one. It returns
// io.EOF when the peer has ended its stream and everything was read.
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	n, err := c.readLocked(b)
	c.unlock()
	return n, c.opError("read", err)
}

func (c *Conn) readLocked(b []byte) (int, error) {
	if err := c.awaitReadableLocked(len(b) > 0); err != nil || len(b) == 0 {
		return 0, err
	}
	n := c.engine.Read(c.tick(), b[:min(len(b), maxHold)])
	c.flushLocked()
	return n, nil
}

// awaitReadableLocked waits until there is something to read, if wait is set,
// and returns the error that reading meets instead.
func (c *Conn) awaitReadableLocked(wait bool) error {
	for {
		switch {
		case c.closed:
			return net.ErrClosed
		case !wait:
			return nil
		case c.readDL.passed():
			return os.ErrDeadlineExceeded
		case c.engine.Readable() > 0:
			return nil
		case c.engine.EOF():
			return io.EOF
		case c.engine.Reason() != engine.NotClosed:
			c.told = true
			return reasonError("read", c.engine.Reason())
		}
		c.waitLocked(&c.readable)
	}
}

// Write sends b. It returns when all of it is in the send buffer, or with the
// number of bytes that are and an error. The caller may change b afterwards.
// Concurrent Writes do not mix.
func (c *Conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	n, err := c.writeLocked(b)
	c.unlock()
	return n, c.opError("write", err)
}

func (c *Conn) writeLocked(b []byte) (n int, err error) {
	if err := c.beginWriteLocked(); err != nil || len(b) == 0 {
		c.endWriteLocked(err)
		return 0, err
	}
	for {
		m := c.engine.Write(b[n:min(len(b), n+maxHold)])
		n += m
		if m > 0 {
			c.flushLocked()
		}
		if n == len(b) {
			break
		}
		if err = c.awaitWritableLocked(); err != nil {
			break
		}
	}
	c.endWriteLocked(nil)
	return n, err
}

// beginWriteLocked waits for the turn of this Write. endWriteLocked, with the
// error of it, passes the turn on.
func (c *Conn) beginWriteLocked() error {
	for {
		if err := c.writeErrorLocked(); err != nil {
			return err
		}
		if !c.writing {
			c.writing = true
			return nil
		}
		c.waitLocked(&c.writable)
	}
}

func (c *Conn) endWriteLocked(err error) {
	if err == nil {
		c.writing = false
		c.writable.wake()
	}
}

// awaitWritableLocked waits until the engine takes bytes.
func (c *Conn) awaitWritableLocked() error {
	for {
		if err := c.writeErrorLocked(); err != nil {
			if c.engine.Reason() == engine.ResetByPeer && !c.resetSeen && !c.closed {
				// Like TCP: the call that was interrupted by it hears of the
				// RESET, later ones that the pipe is broken.
				c.resetSeen = true
				return reasonError("write", engine.ResetByPeer)
			}
			return err
		}
		if c.engine.Writable() > 0 {
			return nil
		}
		c.engine.WaitWritable()
		c.waitLocked(&c.writable)
	}
}

// writeErrorLocked returns the error that writing meets now.
func (c *Conn) writeErrorLocked() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.writeDL.passed():
		return os.ErrDeadlineExceeded
	case c.engine.WriteClosed():
		return errno("write", syscall.EPIPE)
	}
	r := c.engine.Reason()
	c.told = c.told || r != engine.NotClosed
	switch r {
	case engine.NotClosed:
		return nil
	case engine.Finished, engine.ResetByPeer:
		return errno("write", syscall.EPIPE)
	default:
		return reasonError("write", r)
	}
}

// ReadFrom implements [io.ReaderFrom]: it sends what r has until io.EOF, reading
// straight into the send buffer. The write deadline applies between reads of r.
func (c *Conn) ReadFrom(r io.Reader) (n int64, err error) {
	c.mu.Lock()
	defer func() {
		c.unlock()
		err = c.opError("readfrom", err)
	}()
	for {
		if err := c.awaitWritableLocked(); err != nil {
			return n, err
		}
		// The turn is not held while r is read: a source that is quiet must not
		// hold up others who write.
		chunk := c.endpoint.memory.Get(engine.MaxChunk)
		m, readErr := c.readUnlocked(r, chunk.Buf)
		if m > 0 {
			if err := c.beginWriteLocked(); err != nil {
				c.endpoint.memory.Put(chunk)
				return n, err
			}
			c.writeChunkLocked(chunk, m)
			c.endWriteLocked(nil)
			n += int64(m)
			c.flushLocked()
		} else {
			c.endpoint.memory.Put(chunk)
		}
		if readErr == io.EOF {
			return n, nil
		}
		if readErr != nil {
			return n, readErr
		}
	}
}

// writeChunkLocked sends the first n bytes of a chunk of the largest size.
func (c *Conn) writeChunkLocked(chunk *engine.Chunk, n int) {
	if n > len(chunk.Buf)/2 {
		c.engine.WriteChunk(chunk, n)
		return
	}
	// A short piece is not worth so much memory.
	c.engine.WriteAll(chunk.Buf[:n])
	c.endpoint.memory.Put(chunk)
}

// readUnlocked reads from r without the lock, which is held again when it
// returns, also by a panic.
func (c *Conn) readUnlocked(r io.Reader, b []byte) (int, error) {
	c.armLocked()
	c.mu.Unlock()
	defer c.mu.Lock()
	return r.Read(b)
}

// WriteTo implements [io.WriterTo]: it writes what is received to w, until the
// end of the stream, straight from the receive buffer. The read deadline applies
// between writes to w.
func (c *Conn) WriteTo(w io.Writer) (n int64, err error) {
	for {
		c.mu.Lock()
		if err := c.awaitReadableLocked(true); err != nil {
			c.unlock()
			if err == io.EOF {
				return n, nil
			}
			return n, c.opError("writeto", err)
		}
		chunk, b := c.engine.ReadChunk(c.tick())
		c.flushLocked()
		c.unlock()
		m, err := w.Write(b)
		c.endpoint.memory.Put(chunk)
		n += int64(m)
		if err == nil && m < len(b) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, c.opError("writeto", err)
		}
	}
}
