package main

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgress(t *testing.T) {
	var terminal bytes.Buffer
	p := newProgress(&terminal, 4_000_000, true)
	write := func(n int) {
		p.last = time.Time{} // it is some time ago
		m, err := p.Write(make([]byte, n))
		require.NoError(t, err)
		require.Equal(t, n, m)
	}
	write(1_000_000)
	require.Contains(t, terminal.String(), "\r 25 % of 4.0 MB, 1.0 MB in ")
	write(3_000_000)
	require.Contains(t, terminal.String(), "\r100 % of 4.0 MB, 4.0 MB in ")
	p.end()
	require.Regexp(t, `\r\x1b\[K$`, terminal.String())

	terminal.Reset()
	p = newProgress(&terminal, -1, true)
	write(1)
	require.Regexp(t, `^\r1 B in `, terminal.String(), "the size is unknown")

	terminal.Reset()
	p = newProgress(&terminal, 1, false)
	write(1)
	p.end()
	require.Empty(t, terminal.String())
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1_500_000: "1.5 MB", 2_000_000_000: "2.00 GB"} {
		require.Equal(t, want, inBytes(n))
	}
	require.Equal(t, "2.0 MB in 0.500 s, 4.0 MB/s", rate(2_000_000, 500*time.Millisecond))
}

// TestReachable checks that the URLs that serve prints can be dialled.
func TestReachable(t *testing.T) {
	addr := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	require.Equal(t, []string{"192.0.2.1:80"}, reachable(addr("192.0.2.1:80")))
	require.Equal(t, []string{"[2001:db8::1]:80"}, reachable(addr("[2001:db8::1]:80")))
	for _, all := range []string{"0.0.0.0:80", "[::]:80"} {
		found := reachable(addr(all))
		require.NotEmpty(t, found)
		for _, a := range found {
			ap, err := netip.ParseAddrPort(a)
			require.NoError(t, err)
			require.EqualValues(t, 80, ap.Port())
			require.False(t, ap.Addr().IsUnspecified())
			require.True(t, ap.Addr().Is4() || all == "[::]:80", a)
		}
	}
}

func TestPin(t *testing.T) {
	cert, err := selfSigned()
	require.NoError(t, err)
	require.Len(t, fingerprint(cert.Leaf), 64)
	for _, bad := range []string{"", "12", "zz" + fingerprint(cert.Leaf)[2:], fingerprint(cert.Leaf) + "00"} {
		_, err := pinned(bad)
		require.ErrorContains(t, err, "not a SHA-256 fingerprint", bad)
	}
}
