package utp

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"utppunch/utp/internal/engine"
)

// recvBudget bounds what the connections of an endpoint promise their peers
// together. When it is used up windows stop growing, before anything else.
const recvBudget = 256 << 20

// chunkClasses is the number of chunk sizes: powers of two from MinChunk to
// MaxChunk.
const chunkClasses = 6

// memory is the engine.Memory of an endpoint.
type memory struct {
	pools    [chunkClasses]sync.Pool
	reserved atomic.Int64
}

func chunkClass(n int) int {
	return bits.Len(uint(max(n, engine.MinChunk)-1) / engine.MinChunk)
}

// Get implements engine.Memory.
func (m *memory) Get(n int) *engine.Chunk {
	class := chunkClass(n)
	if c, ok := m.pools[class].Get().(*engine.Chunk); ok {
		return c
	}
	return &engine.Chunk{Buf: make([]byte, engine.MinChunk<<class)}
}

// Put implements engine.Memory.
func (m *memory) Put(c *engine.Chunk) { m.pools[chunkClass(len(c.Buf))].Put(c) }

// Reserve implements engine.Memory.
func (m *memory) Reserve(n int, must bool) bool {
	if m.reserved.Add(int64(n)) > recvBudget && !must {
		m.reserved.Add(int64(-n))
		return false
	}
	return true
}

// Release implements engine.Memory.
func (m *memory) Release(n int) { m.reserved.Add(int64(-n)) }
