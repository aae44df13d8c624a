//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package udp

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestControlMessages(t *testing.T) {
	var b []byte
	for i, size := range []int{0, 1, 4, 12, 20, 7} {
		var data []byte
		b, data = appendControl(b, i, 100+i, size)
		copy(data, bytes.Repeat([]byte{byte(size)}, size))
	}

	// Package syscall has a parser too, which allocates.
	want, err := syscall.ParseSocketControlMessage(b)
	require.NoError(t, err)
	rest := b
	for _, w := range want {
		var m controlMessage
		var ok bool
		m, rest, ok = nextControl(rest)
		require.True(t, ok)
		require.EqualValues(t, w.Header.Level, m.level)
		require.EqualValues(t, w.Header.Type, m.kind)
		require.Equal(t, hex.EncodeToString(w.Data), hex.EncodeToString(m.data))
	}
	_, _, ok := nextControl(rest)
	require.False(t, ok, "the end")
}

func TestMalformedControlMessages(t *testing.T) {
	b := appendSource(nil, netip.MustParseAddr("2001:db8::1"), true)
	whole := syscall.CmsgLen(in6PktinfoSize)
	for n := range whole {
		require.False(t, packetInfo(b[:n]).IsValid(), "%d bytes", n)
	}
	require.True(t, packetInfo(b[:whole]).IsValid(), "padding is not needed")

	for length := range 2 * len(b) {
		putControlLength(b, length)
		packetInfo(b) // must end, and not panic
	}
	putControlLength(b, -1)
	require.False(t, packetInfo(b).IsValid())
}

func TestPacketInfo(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	info := func(level, kind, size, offset int, a netip.Addr) []byte {
		b, data := appendControl(nil, level, kind, size)
		copy(data[offset:], a.AsSlice())
		return b
	}
	other := info(syscall.SOL_SOCKET, ipv4Pktinfo, 20, 0, v6)
	mapped := netip.AddrFrom16(v4.As16())
	for _, test := range []struct {
		control []byte
		want    netip.Addr
	}{
		{nil, netip.Addr{}},
		{other, netip.Addr{}},
		{info(syscall.IPPROTO_IP, ipv4Pktinfo, ipv4PktinfoSize, ipv4PktinfoDst, v4), v4},
		{info(syscall.IPPROTO_IPV6, ipv6Pktinfo, in6PktinfoSize, 0, v6), v6},
		{info(syscall.IPPROTO_IPV6, ipv6Pktinfo, in6PktinfoSize, 0, mapped), v4},
		{append(other, info(syscall.IPPROTO_IP, ipv4Pktinfo, ipv4PktinfoSize, ipv4PktinfoDst, v4)...), v4},
		{info(syscall.IPPROTO_IP, ipv4Pktinfo, ipv4PktinfoSize-1, 0, netip.Addr{}), netip.Addr{}},
		{info(syscall.IPPROTO_IPV6, ipv6Pktinfo, in6PktinfoSize-1, 0, v6), netip.Addr{}},
	} {
		require.Equal(t, test.want, packetInfo(test.control), "%x", test.control)
	}
}
