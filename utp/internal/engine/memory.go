package engine

// Sizes of buffer memory in bytes.
const (
	MinChunk = 2 << 10  // holds one datagram of the usual size
	MaxChunk = 64 << 10 // holds the largest datagram
)

// Chunk is a piece of buffer memory, borrowed from Memory. While a buffer has it,
// Buf[r:w] are the bytes in it, and off is the offset in the stream of Buf[0].
type Chunk struct {
	Buf []byte

	next *Chunk
	off  uint64
	r, w int
}

// Memory lends buffer memory to connections and keeps account of what they
// promise to their peers. The endpoint implements it; it must be safe for use
// by all connections that share it.
type Memory interface {
	// Get returns a chunk of at least n bytes, n ≤ MaxChunk.
	Get(n int) *Chunk
	// Put takes a chunk back.
	Put(*Chunk)
	// Reserve asks for n bytes of the receive budget and reports whether they
	// were granted. With must they are, whatever is left. Release returns them.
	Reserve(n int, must bool) bool
	Release(n int)
}
