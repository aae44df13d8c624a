package udp

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// noOption is an option of SOL_SOCKET that the kernel does not have.
const noOption = 1 << 20

// control calls f with the descriptor of c.
func control(t testing.TB, c *Conn, f func(fd int)) {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { f(int(fd)) }))
}

func setInt(t testing.TB, fd, level, option, value int) {
	t.Helper()
	require.NoError(t, syscall.SetsockoptInt(fd, level, option, value))
}

func TestBuffersAreAsLargeAsTheyCanBe(t *testing.T) {
	recv, send := listen(t, "udp4", "127.0.0.1:0").Buffers()
	wantRecv, wantSend := cappedSize(syscall.SO_RCVBUF, readBufferSize), cappedSize(syscall.SO_SNDBUF, writeBufferSize)
	control(t, listen(t, "udp4", "127.0.0.1:0"), func(fd int) {
		if syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, readBufferSize) == nil {
			wantRecv, wantSend = reportedSize(readBufferSize), reportedSize(writeBufferSize)
		}
	})
	require.Equal(t, wantRecv, recv)
	require.Equal(t, wantSend, send)
}

func TestBuffersWithoutForce(t *testing.T) {
	control(t, listen(t, "udp4", "127.0.0.1:0"), func(fd int) {
		setInt(t, fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, minBufferSize)
		enlargeBuffer(fd, syscall.SO_RCVBUF, noOption, 4*minBufferSize)
		require.Equal(t, cappedSize(syscall.SO_RCVBUF, 4*minBufferSize), bufferSize(fd, syscall.SO_RCVBUF))
	})
}

func TestBuffersNeverShrink(t *testing.T) {
	control(t, listen(t, "udp4", "127.0.0.1:0"), func(fd int) {
		// Larger than what is asked for: not even force is used.
		setInt(t, fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2*minBufferSize)
		want := bufferSize(fd, syscall.SO_RCVBUF)
		enlargeBuffer(fd, syscall.SO_RCVBUF, syscall.SO_RCVBUFFORCE, minBufferSize)
		require.Equal(t, want, bufferSize(fd, syscall.SO_RCVBUF))

		// Larger than what this process may ask for.
		const size = 1 << 28
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, size); err != nil {
			skip(t, "the limit cannot be exceeded: ", err)
		}
		want = reportedSize(size)
		require.Less(t, cappedSize(syscall.SO_RCVBUF, 2*size), want, "the limit is lower")
		enlargeBuffer(fd, syscall.SO_RCVBUF, noOption, 2*size)
		require.Equal(t, want, bufferSize(fd, syscall.SO_RCVBUF))
	})
}
