package utppunch_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// shrinkBacklog lets no more than one connection wait for Accept.
func shrinkBacklog(t *testing.T, l *net.TCPListener) {
	t.Helper()
	control(t, l, func(fd int) error { return syscall.Listen(fd, 0) })
}

// cutTCP has nothing that is sent to peer arrive there, and c give up soon.
func cutTCP(t *testing.T, c, peer *net.TCPConn) {
	t.Helper()
	const tcpUserTimeout = 18 // TCP_USER_TIMEOUT (RFC 5482), milliseconds
	control(t, peer, func(fd int) error {
		//lint:ignore SA1019 golang.org/x/net/bpf has no way to attach a filter to a TCP socket
		return syscall.AttachLsf(fd, []syscall.SockFilter{{Code: syscall.BPF_RET | syscall.BPF_K, K: 0}})
	})
	control(t, c, func(fd int) error {
		return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpUserTimeout, int(dyingTimeout.Milliseconds()))
	})
}

func control(t *testing.T, c syscall.Conn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = f(int(fd)) }))
	require.NoError(t, err)
}
