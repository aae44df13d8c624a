package engine

// sendBuffer holds the bytes that Write accepted until they are acknowledged:
// a stream with absolute offsets. It knows nothing of packets.
type sendBuffer struct {
	chunkList
	last       *Chunk // where the newest byte that was copied is: the next one is near
	start, end uint64 // offsets of the oldest byte that is kept, and after the newest
}

func (s *sendBuffer) len() int { return int(s.end - s.start) }

// write appends all of b.
func (s *sendBuffer) write(mem Memory, b []byte) {
	for len(b) > 0 {
		c := s.room(mem, len(b))
		if c.w == 0 {
			c.off = s.end
		}
		n := copy(c.Buf[c.w:], b)
		c.w += n
		s.end += uint64(n)
		b = b[n:]
	}
}

// writeChunk appends the first n bytes of c, which belongs to the buffer from
// then on.
func (s *sendBuffer) writeChunk(c *Chunk, n int) {
	c.next, c.off, c.r, c.w = nil, s.end, 0, n
	s.push(c)
	s.end += uint64(n)
}

// copyAt fills dst with the bytes from offset off on, all of which are kept.
func (s *sendBuffer) copyAt(dst []byte, off uint64) {
	c := s.head
	if s.last != nil && s.last.off <= off {
		c = s.last
	}
	for off >= c.off+uint64(c.w) {
		c = c.next
	}
	for {
		n := copy(dst, c.Buf[off-c.off:c.w])
		if dst, off = dst[n:], off+uint64(n); len(dst) == 0 {
			break
		}
		c = c.next
	}
	if s.last == nil || c.off > s.last.off {
		s.last = c
	}
}

// release gives back everything before offset off.
func (s *sendBuffer) release(mem Memory, off uint64) {
	s.start = off
	for s.head != nil && s.head.off+uint64(s.head.w) <= off {
		c := s.shift()
		if c == s.last {
			s.last = nil
		}
		mem.Put(c)
	}
}
