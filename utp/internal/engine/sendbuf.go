package engine

// sendBuffer holds the bytes that Write accepted until they are acknowledged:
// a stream with absolute offsets, in chunks. It knows nothing of packets.
type sendBuffer struct {
	chunks []sendChunk // in stream order
	start  uint64      // offset of the oldest byte that is kept
	end    uint64      // offset after the newest byte
}

type sendChunk struct {
	*Chunk
	off uint64 // stream offset of Buf[0]
	n   int    // bytes of Buf in use
}

func (s *sendBuffer) len() int { return int(s.end - s.start) }

// write appends all of b.
func (s *sendBuffer) write(mem Memory, b []byte) {
	for len(b) > 0 {
		if len(s.chunks) == 0 || s.tail().n == len(s.tail().Buf) {
			s.chunks = append(s.chunks, sendChunk{Chunk: mem.Get(s.nextSize(len(b))), off: s.end})
		}
		t := s.tail()
		n := copy(t.Buf[t.n:], b)
		t.n += n
		s.end += uint64(n)
		b = b[n:]
	}
}

// writeChunk appends the first n bytes of c, which belongs to the buffer from
// then on.
func (s *sendBuffer) writeChunk(c *Chunk, n int) {
	s.chunks = append(s.chunks, sendChunk{Chunk: c, off: s.end, n: n})
	s.end += uint64(n)
}

func (s *sendBuffer) tail() *sendChunk { return &s.chunks[len(s.chunks)-1] }

// nextSize grows chunks with the stream, so that a few bytes cost little
// memory and many bytes few chunks.
func (s *sendBuffer) nextSize(want int) int {
	size := MinChunk
	if n := len(s.chunks); n > 0 {
		size = 2 * len(s.chunks[n-1].Buf)
	}
	return min(max(size, want), MaxChunk)
}

// copyAt fills dst with the bytes from offset off on, all of which are kept.
func (s *sendBuffer) copyAt(dst []byte, off uint64) {
	i := s.find(off)
	for len(dst) > 0 {
		c := &s.chunks[i]
		n := copy(dst, c.Buf[off-c.off:c.n])
		dst, off, i = dst[n:], off+uint64(n), i+1
	}
}

// find returns the index of the chunk that holds offset off.
func (s *sendBuffer) find(off uint64) int {
	lo, hi := 0, len(s.chunks)-1
	for lo < hi {
		mid := int(uint(lo+hi+1) / 2)
		if s.chunks[mid].off <= off {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo
}

// release gives back everything before offset off.
func (s *sendBuffer) release(mem Memory, off uint64) {
	s.start = off
	done := 0
	for done < len(s.chunks) && s.chunks[done].off+uint64(s.chunks[done].n) <= off {
		mem.Put(s.chunks[done].Chunk)
		s.chunks[done] = sendChunk{}
		done++
	}
	if s.chunks = s.chunks[done:]; len(s.chunks) == 0 {
		s.chunks = nil
	}
}
