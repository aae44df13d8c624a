package engine

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSendBufferModel compares with the bytes that were written.
func TestSendBufferModel(t *testing.T) {
	stream := streams["a"]
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		mem := &testMemory{}
		s := &sendBuffer{}
		longest := pick(r, 3, 1500, 70_000)
		for range 200 {
			start, end := int(s.start), int(s.end)
			switch n := r.IntN(min(longest, len(stream)-end) + 1); r.IntN(5) {
			case 0, 1:
				s.write(mem, stream[end:end+n])
				require.Equal(t, end+n, int(s.end))
			case 2:
				if n = min(n, MaxChunk); n > 0 {
					c := mem.Get(n)
					copy(c.Buf, stream[end:end+n])
					s.writeChunk(c, n)
					require.Equal(t, end+n, int(s.end))
				}
			case 3:
				if end > start {
					off := start + r.IntN(end-start)
					got := make([]byte, 1+r.IntN(end-off))
					s.copyAt(got, uint64(off))
					require.True(t, bytes.Equal(stream[off:off+len(got)], got), "%d bytes at %d", len(got), off)
				}
			case 4:
				off := start + r.IntN(end-start+1)
				s.release(mem, uint64(off))
				require.Equal(t, off, int(s.start))
			}
			require.Equal(t, int(s.end-s.start), s.len())
			require.Equal(t, s.count(), mem.chunks)
			if s.len() == 0 {
				require.Nil(t, s.head, "an empty buffer holds nothing")
			}
		}
		s.release(mem, s.end)
		require.Zero(t, mem.chunks)
	}
}

// TestSendBufferChunksGrow: a few bytes cost little memory, many bytes few chunks.
func TestSendBufferChunksGrow(t *testing.T) {
	mem := &testMemory{}
	s := &sendBuffer{}
	s.write(mem, []byte("x"))
	require.Equal(t, MinChunk, mem.bytes)
	for range 300_000 - 1 {
		s.write(mem, []byte("x"))
	}
	var sizes []int
	for c := s.head; c != nil; c = c.next {
		sizes = append(sizes, len(c.Buf)>>10)
	}
	require.Equal(t, []int{2, 4, 8, 16, 32, 64, 64, 64, 64}, sizes)

	s.release(mem, s.end)
	s.write(mem, make([]byte, 300_000))
	require.Equal(t, 5, mem.chunks, "one that is large at once")
}

// TestSendBufferKeepsTheTail: the last chunk is written on after all before it
// was acknowledged, and even when it was itself, in part.
func TestSendBufferKeepsTheTail(t *testing.T) {
	mem := &testMemory{}
	s := &sendBuffer{}
	s.write(mem, []byte("hello"))
	s.release(mem, 3)
	s.write(mem, []byte(" world"))
	require.Equal(t, 1, mem.chunks)
	got := make([]byte, 8)
	s.copyAt(got, 3)
	require.Equal(t, "lo world", string(got))
	s.release(mem, 11)
	require.Zero(t, mem.chunks)
}
