package udp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// listenTTL opens a plain socket that is told the TTL of what it receives.
func listenTTL(t *testing.T, host string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), 0)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		if netip.MustParseAddr(host).Is4() {
			setInt(t, int(fd), syscall.IPPROTO_IP, syscall.IP_RECVTTL, 1)
		} else {
			setInt(t, int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVHOPLIMIT, 1)
		}
	}))
	return c
}

// readTTL reads a datagram and returns its TTL.
func readTTL(t *testing.T, c *net.UDPConn) int {
	t.Helper()
	control := make([]byte, 128)
	_, n, _, _, err := c.ReadMsgUDPAddrPort(make([]byte, 2000), control)
	require.NoError(t, err)
	m, _, ok := nextControl(control[:n])
	require.True(t, ok)
	require.Len(t, m.data, 4)
	return int(binary.NativeEndian.Uint32(m.data))
}

func TestTTL(t *testing.T) {
	for _, test := range []struct{ network, address, host string }{
		{"udp4", "127.0.0.1:0", "127.0.0.1"},
		{"udp4", "0.0.0.0:0", "127.0.0.1"},
		{"udp", "[::]:0", "127.0.0.1"},
		{"udp", "[::]:0", "::1"},
		{"udp6", "[::1]:0", "::1"},
	} {
		t.Run(test.network+","+test.address+","+test.host, func(t *testing.T) {
			if test.network != "udp4" {
				needIPv6(t)
			}
			a, b := listen(t, test.network, test.address), listenTTL(t, test.host)
			remote := b.LocalAddr().(*net.UDPAddr).AddrPort()
			msg := Transmit{Data: []byte("abc"), Segment: 2, Remote: remote, Local: netip.MustParseAddr(test.host)}
			for _, ttl := range []uint8{0, 1, 5, 255, 0} { // it is one call's only
				want := int(ttl)
				if ttl == 0 {
					control(t, a, func(fd int) {
						var err error
						if netip.MustParseAddr(test.host).Is4() {
							want, err = syscall.GetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_TTL)
						} else {
							want, err = syscall.GetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_UNICAST_HOPS)
						}
						require.NoError(t, err)
						require.Greater(t, want, 5)
					})
				}
				msg.TTL = ttl
				write(t, a, msg)
				require.Equal(t, []int{want, want}, []int{readTTL(t, b), readTTL(t, b)}, "TTL %d", ttl)
				_, err := a.TryWrite(&msg)
				require.NoError(t, err)
				require.Equal(t, []int{want, want}, []int{readTTL(t, b), readTTL(t, b)}, "TTL %d", ttl)
			}
		})
	}
}
