package utp

import (
	"io"
	"reflect"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/engine"
	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var _ engine.Memory = (*memory)(nil)

func TestMemoryLendsChunks(t *testing.T) {
	m := new(memory)
	for _, tc := range []struct{ n, size int }{
		{0, 2 << 10}, {1, 2 << 10}, {2 << 10, 2 << 10}, {2<<10 + 1, 4 << 10}, {4 << 10, 4 << 10},
		{5000, 8 << 10}, {32<<10 + 1, 64 << 10}, {64 << 10, 64 << 10},
	} {
		c := m.Get(tc.n)
		assert.Len(t, c.Buf, tc.size, "the smallest power of two that holds %d bytes", tc.n)
		m.Put(c)
	}
	if raceEnabled {
		return // sync.Pool forgets at random then
	}
	c := m.Get(engine.MaxChunk)
	m.Put(c)
	require.NotSame(t, c, m.Get(engine.MinChunk), "chunks of another size stay where they are")
}

func TestMemoryBudget(t *testing.T) {
	m := new(memory)
	require.True(t, m.Reserve(recvBudget-10, false))
	require.False(t, m.Reserve(11, false), "that would be too much")
	require.True(t, m.Reserve(10, false), "what was refused is not charged")
	require.False(t, m.Reserve(1, false), "it is used up")
	require.True(t, m.Reserve(1000, true), "what must be, may")
	require.EqualValues(t, recvBudget+1000, m.reserved.Load())
	m.Release(1000)
	require.False(t, m.Reserve(1, false))
	m.Release(recvBudget)
	require.Zero(t, m.reserved.Load())
}

func TestWindowsGrowWithinTheBudget(t *testing.T) {
	for _, scarce := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, nil)
			c, d := p.connect()
			require.EqualValues(t, 64<<10, p.b.memory.reserved.Load(), "what a connection promises at first")
			if scarce {
				p.b.memory.reserved.Add(recvBudget)
				defer p.b.memory.reserved.Add(-recvBudget)
			}
			go func() {
				c.Write(pattern(2 << 20))
				c.CloseWrite()
			}()
			n, err := io.Copy(io.Discard, d)
			require.NoError(t, err)
			require.EqualValues(t, 2<<20, n)
			if scarce {
				require.Equal(t, 64<<10, d.Stats().RecvWindow, "without budget windows do not grow, but work")
			} else {
				require.Greater(t, d.Stats().RecvWindow, 128<<10, "windows grow with the path")
				require.EqualValues(t, d.Stats().RecvWindow, p.b.memory.reserved.Load(), "and are accounted for")
			}
		})
	}
}

// TestIdleConnectionIsSmall: what remains of a connection that has sent and
// received, and is idle. The aim is 1,500 bytes, with what the heap wastes; the
// rest of it is the Conn, its timer, its congestion control, and its place in the
// table.
func TestIdleConnectionIsSmall(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs memory of its own")
	}
	const conns = 1000
	for _, tc := range []struct {
		name string
		peer func(te *testEndpoint, i int) *peer
		max  int
	}{
		{"accepted", func(te *testEndpoint, i int) *peer { return te.accepted(routeTo(i), ownKind) }, 1400},
		{"dialled", func(te *testEndpoint, i int) *peer { return te.dialled(routeTo(i), ownKind) }, 1400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				te := newTestEndpoint(t, nil)
				te.w.silent = true
				te.listen()
				tc.peer(te, conns).reset() // what exists once
				before := heap()
				all := make([]*Conn, conns)
				for i := range all {
					p := tc.peer(te, i)
					p.recv(packet{typ: wire.Data, payload: 1000}, packet{typ: wire.Data, payload: 1000})
					p.read(2000).value("there is data")
					p.write("x").value("there is room")
					p.drain()
					p.recv(packet{typ: wire.State})
					all[i] = p.conn
				}
				te.advance(5 * time.Second)
				te.ignore("acknowledgements")
				perConn := (heap() - before) / conns
				t.Logf("%d bytes a connection", perConn)
				require.Less(t, perConn, tc.max)
				for _, c := range all {
					require.NoError(t, c.Close())
				}
				te.ignore("FINs")
			})
		})
	}
}

// TestSizes: what there are many of fits what the allocator has for it. It puts 8
// bytes before what is larger than 512; the next larger size is 1152.
func TestSizes(t *testing.T) {
	require.LessOrEqual(t, reflect.TypeFor[Conn]().Size(), uintptr(1024-8))
	require.LessOrEqual(t, reflect.TypeFor[tombstone]().Size(), uintptr(112))
	require.LessOrEqual(t, reflect.TypeFor[key]().Size(), uintptr(32))
}

// heap is the memory in use.
func heap() int {
	var m runtime.MemStats
	for range 3 { // sync.Pool forgets in two steps
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
