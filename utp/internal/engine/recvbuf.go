package engine

// recvBuffer holds the in-order bytes that Read has not taken yet.
type recvBuffer struct {
	chunkList
	len int
}

// append copies b to the end.
func (q *recvBuffer) append(mem Memory, b []byte) {
	q.len += len(b)
	for len(b) > 0 {
		c := q.room(mem, len(b))
		n := copy(c.Buf[c.w:], b)
		c.w += n
		b = b[n:]
	}
}

// read moves bytes into b and returns how many.
func (q *recvBuffer) read(mem Memory, b []byte) (n int) {
	for n < len(b) && q.len > 0 {
		c := q.head
		m := copy(b[n:], c.Buf[c.r:c.w])
		c.r += m
		n += m
		q.len -= m
		if c.r == c.w {
			mem.Put(q.shift())
		}
	}
	return n
}

// take removes the first chunk and returns it with its unread part; the caller
// puts it back into mem. The buffer must not be empty.
func (q *recvBuffer) take() (c *Chunk, unread []byte) {
	c = q.shift()
	q.len -= c.w - c.r
	return c, c.Buf[c.r:c.w]
}

// clear gives everything back.
func (q *recvBuffer) clear(mem Memory) {
	for q.head != nil {
		mem.Put(q.shift())
	}
	q.len = 0
}
