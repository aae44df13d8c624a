package engine

// minSendBuffer is the least that Write may buffer, unless SendBuffer is less.
const minSendBuffer = 64 << 10

// Write takes bytes to send, as many as there is room for, and returns how
// many. Zero for a non-empty b means to wait for EventWritable.
func (c *Conn) Write(b []byte) int {
	n := min(len(b), c.Writable())
	c.blocked = n < len(b)
	c.buf.write(c.params.Memory, b[:n])
	return n
}

// WriteAll takes all of b, however full the buffer is. Call it only while
// Writable is positive, with MaxChunk bytes at the most.
func (c *Conn) WriteAll(b []byte) { c.buf.write(c.params.Memory, b) }

// WriteChunk is WriteAll for the first n bytes of a chunk borrowed from Memory,
// which is not copied and must not be touched afterwards.
func (c *Conn) WriteChunk(chunk *Chunk, n int) { c.buf.writeChunk(chunk, n) }

// Writable returns the number of bytes that Write would take: a buffer of twice
// the congestion window keeps the network busy while the application is woken.
func (c *Conn) Writable() int {
	if c.finQueued || c.state == closed {
		return 0
	}
	limit := minSendBuffer
	if c.cc != nil {
		limit = max(limit, 2*c.cc.window())
	}
	return max(0, min(limit, c.params.SendBuffer)-c.buf.len())
}

// Unsent returns the number of bytes that were written and never sent.
func (c *Conn) Unsent() int { return int(c.buf.end - c.unsent) }

// WaitWritable asks for EventWritable when there is room.
func (c *Conn) WaitWritable() { c.blocked = true }

// wakeWriter raises EventWritable when a blocked Write can take a good piece,
// or when all is acknowledged.
func (c *Conn) wakeWriter() {
	if c.blocked && c.Writable() >= min(minSendBuffer, c.params.SendBuffer)/4 {
		c.blocked = false
		c.events |= EventWritable
	}
	if c.Flushed() {
		c.events |= EventWritable
	}
}

// Flushed reports whether the peer has acknowledged everything, the end of the
// stream included if there is one.
func (c *Conn) Flushed() bool {
	return c.buf.len() == 0 && c.out.count() == 0 && c.finQueued == c.finSent
}

// SetNoDelay has short packets sent at once, even while another is
// unacknowledged.
func (c *Conn) SetNoDelay(on bool) { c.noDelay = on }

// CloseWrite ends our stream: a FIN follows what was written.
func (c *Conn) CloseWrite() {
	if c.state != closed {
		c.finQueued = true
	}
}

// WriteClosed reports whether our stream was ended.
func (c *Conn) WriteClosed() bool { return c.finQueued }
