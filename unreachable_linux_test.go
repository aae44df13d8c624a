package utppunch_test

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDialOfClosedPort: the host says by ICMP that nobody is there. Other systems
// do not tell, and the dial lasts until its context or 30 s have passed.
func TestDialOfClosedPort(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		pc, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		require.NoError(t, err)
		address := pc.LocalAddr().String()
		require.NoError(t, pc.Close())
		client := open(t, "utp", ":0")
		start := time.Now()
		_, err = client.DialContext(t.Context(), "utp", address)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Less(t, time.Since(start), 10*time.Second, "it was told, and did not wait")

		// The port and what else is on it are as good as before.
		server := open(t, "utp", ":0")
		c, peer := mustConnect(t, server, client)
		requireEcho2(t, c, peer)
	}
}

// requireEcho2 sends a few bytes each way.
func requireEcho2(t *testing.T, c, peer net.Conn) {
	t.Helper()
	b := make([]byte, 5)
	for range 2 {
		_, err := c.Write([]byte("hello"))
		require.NoError(t, err)
		n, err := peer.Read(b)
		require.NoError(t, err)
		require.Equal(t, "hello", string(b[:n]))
		c, peer = peer, c
	}
}
