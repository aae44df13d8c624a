package engine

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRecvBufferModel compares with the bytes that were appended.
func TestRecvBufferModel(t *testing.T) {
	stream := streams["a"]
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		mem := &testMemory{}
		q := &recvBuffer{}
		in, out := 0, 0
		longest := pick(r, 3, 1500, 9000, MaxChunk)
		for range 200 {
			switch n := r.IntN(min(longest, len(stream)-in) + 1); r.IntN(4) {
			case 0, 1:
				q.append(mem, stream[in:in+n])
				in += n
			case 2:
				b := make([]byte, n)
				got := q.read(mem, b)
				require.Equal(t, min(n, in-out), got)
				require.True(t, bytes.Equal(stream[out:out+got], b[:got]))
				out += got
			case 3:
				if q.len > 0 {
					c, b := q.take()
					require.NotEmpty(t, b)
					require.True(t, bytes.Equal(stream[out:out+len(b)], b))
					out += len(b)
					mem.Put(c)
				}
			}
			require.Equal(t, in-out, q.len)
			require.Equal(t, q.count(), mem.chunks)
			if q.len == 0 {
				require.Zero(t, mem.chunks, "an empty buffer holds nothing")
			}
		}
		q.clear(mem)
		require.Zero(t, q.len)
		require.Zero(t, mem.chunks)
	}
}

// TestRecvBufferChunksGrow with what is waiting.
func TestRecvBufferChunksGrow(t *testing.T) {
	mem := &testMemory{}
	q := &recvBuffer{}
	packet := make([]byte, 1000)
	q.append(mem, packet)
	require.Equal(t, MinChunk, mem.bytes)
	for range 200 {
		q.append(mem, packet)
	}
	var sizes []int
	for c := q.head; c != nil; c = c.next {
		sizes = append(sizes, len(c.Buf)>>10)
	}
	require.Equal(t, []int{2, 4, 8, 16, 32, 64, 64, 64}, sizes)
	q.clear(mem)
	require.Zero(t, mem.bytes)

	q.append(mem, make([]byte, 65000))
	require.Equal(t, MaxChunk, mem.bytes, "a datagram of the largest size is one chunk")
}

func TestRecvBufferReadNothing(t *testing.T) {
	mem := &testMemory{}
	q := &recvBuffer{}
	require.Zero(t, q.read(mem, make([]byte, 10)))
	q.append(mem, nil)
	require.Zero(t, mem.chunks)
	q.append(mem, []byte("x"))
	require.Zero(t, q.read(mem, nil))
	require.Equal(t, 1, q.len)
}
