package engine

// chunkList is a stretch of a byte stream in chunks, in order. The chunks are
// linked through themselves, so that the list allocates nothing.
type chunkList struct {
	head, tail *Chunk
}

// push appends a chunk.
func (l *chunkList) push(c *Chunk) {
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.next = c
	}
	l.tail = c
}

// shift removes the first chunk, of which there must be one.
func (l *chunkList) shift() *Chunk {
	c := l.head
	if l.head = c.next; l.head == nil {
		l.tail = nil
	}
	c.next = nil
	return c
}

// room returns the last chunk if it is not full, else a new one for want more
// bytes. Chunks grow with the stream: a few bytes cost little memory, many bytes
// few chunks.
func (l *chunkList) room(mem Memory, want int) *Chunk {
	size := MinChunk
	if t := l.tail; t != nil {
		if t.w < len(t.Buf) {
			return t
		}
		size = 2 * len(t.Buf)
	}
	c := mem.Get(min(max(size, want), MaxChunk))
	c.next, c.off, c.r, c.w = nil, 0, 0, 0
	l.push(c)
	return c
}
