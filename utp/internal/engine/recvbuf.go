package engine

// recvBuffer holds the in-order bytes that Read has not taken yet.
type recvBuffer struct {
	chunks []recvChunk
	len    int
}

type recvChunk struct {
	*Chunk
	r, w int // unread bytes are Buf[r:w]
}

// append copies b to the end.
func (q *recvBuffer) append(mem Memory, b []byte) {
	q.len += len(b)
	for len(b) > 0 {
		n := len(q.chunks)
		if n == 0 || q.chunks[n-1].w == len(q.chunks[n-1].Buf) {
			size := MinChunk
			if n > 0 {
				size = 2 * len(q.chunks[n-1].Buf)
			}
			q.chunks = append(q.chunks, recvChunk{Chunk: mem.Get(min(max(size, len(b)), MaxChunk))})
			n++
		}
		t := &q.chunks[n-1]
		m := copy(t.Buf[t.w:], b)
		t.w += m
		b = b[m:]
	}
}

// read moves bytes into b and returns how many.
func (q *recvBuffer) read(mem Memory, b []byte) (n int) {
	for n < len(b) && q.len > 0 {
		h := &q.chunks[0]
		m := copy(b[n:], h.Buf[h.r:h.w])
		h.r += m
		n += m
		q.len -= m
		if h.r == h.w {
			q.dropHead(mem)
		}
	}
	return n
}

// take removes the first chunk and returns it with its unread part; the caller
// puts it back into mem. The buffer must not be empty.
func (q *recvBuffer) take() (c *Chunk, unread []byte) {
	h := q.chunks[0]
	q.len -= h.w - h.r
	q.shift()
	return h.Chunk, h.Buf[h.r:h.w]
}

func (q *recvBuffer) dropHead(mem Memory) {
	mem.Put(q.chunks[0].Chunk)
	q.shift()
}

func (q *recvBuffer) shift() {
	q.chunks[0] = recvChunk{}
	if q.chunks = q.chunks[1:]; len(q.chunks) == 0 {
		q.chunks = nil
	}
}

// clear gives everything back.
func (q *recvBuffer) clear(mem Memory) {
	for len(q.chunks) > 0 {
		q.dropHead(mem)
	}
	q.len = 0
}
