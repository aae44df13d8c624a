package udp

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEnlarge(t *testing.T) {
	for _, test := range []struct{ have, limit, want int }{
		{0, readBufferSize, readBufferSize},
		{0, readBufferSize - 1, readBufferSize / 2},
		{0, minBufferSize, minBufferSize},
		{0, minBufferSize - 1, 0},
		{readBufferSize - 1, readBufferSize, readBufferSize},
		{readBufferSize, readBufferSize, 0},
		{readBufferSize / 2, readBufferSize - 1, 0},
	} {
		got := 0
		enlarge(func(size int) error {
			if size > test.limit {
				return syscall.EINVAL
			}
			got = size
			return nil
		}, test.have, readBufferSize)
		require.Equal(t, test.want, got, "%+v", test)
	}
}

func TestBuffers(t *testing.T) {
	recv, send := listen(t, "udp4", "127.0.0.1:0").Buffers()
	if recv > 0 { // where it is known
		require.GreaterOrEqual(t, recv, minBufferSize)
		require.GreaterOrEqual(t, send, minBufferSize)
	}
	recv, send = listenWrapped(t).Buffers()
	require.Zero(t, recv)
	require.Zero(t, send)
}
