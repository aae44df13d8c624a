package udp

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEnlarge(t *testing.T) {
	for _, test := range []struct{ limit, want int }{
		{readBufferSize, readBufferSize},
		{readBufferSize - 1, readBufferSize / 2},
		{minBufferSize, minBufferSize},
		{minBufferSize - 1, 0},
	} {
		got := 0
		enlarge(func(size int) error {
			if size > test.limit {
				return syscall.EINVAL
			}
			got = size
			return nil
		}, readBufferSize)
		require.Equal(t, test.want, got, "limit %d", test.limit)
	}
}
