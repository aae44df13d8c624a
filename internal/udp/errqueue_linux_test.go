package udp

import (
	"bytes"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type unreachable struct {
	remote netip.AddrPort
	quoted string
}

// reportUnreachable returns what c reports, as it comes.
func reportUnreachable(c *Conn) <-chan unreachable {
	reports := make(chan unreachable, 1000)
	c.OnUnreachable(func(remote netip.AddrPort, quoted []byte) {
		reports <- unreachable{remote, string(quoted)}
	})
	return reports
}

// readAll reads c until it is closed, and returns what it has read.
func readAll(c *Conn) <-chan string {
	read := make(chan string, 1000)
	go func() {
		defer close(read)
		d := make([]Datagram, 4)
		for {
			n, err := c.Read(d)
			if err != nil {
				return
			}
			for _, d := range d[:n] {
				read <- string(d.Data)
			}
		}
	}()
	return read
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-c:
		require.True(t, ok)
		return v
	case <-time.After(patience):
		require.Fail(t, "nothing came")
		panic("unreachable")
	}
}

// closedPort is an address of host where nobody listens.
func closedPort(t *testing.T, host string) netip.AddrPort {
	t.Helper()
	c := listen(t, "udp", net.JoinHostPort(host, "0"))
	require.NoError(t, c.Close())
	return at(c, host)
}

func TestOnUnreachable(t *testing.T) {
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
			a, gone := listen(t, test.network, test.address), closedPort(t, test.host)
			reports := reportUnreachable(a)
			read := readAll(a)

			// The reader is told of it, as nobody else sends.
			write(t, a, Transmit{Data: []byte("anybody?"), Remote: gone})
			require.Equal(t, unreachable{gone, "anybody?"}, receive(t, reports))
			write(t, a, Transmit{Remote: gone})
			require.Equal(t, unreachable{gone, ""}, receive(t, reports), "there was nothing to quote")
			write(t, a, Transmit{Data: bytes.Repeat([]byte("0123456789"), 300), Segment: 1000, Remote: gone})
			got := receive(t, reports)
			require.Equal(t, gone, got.remote)
			require.GreaterOrEqual(t, len(got.quoted), 500, "as RFC 1812 has it")
			require.Equal(t, bytes.Repeat([]byte("0123456789"), 200)[:len(got.quoted)], []byte(got.quoted))

			write(t, a, Transmit{Data: []byte("x"), Remote: at(a, test.host)})
			require.Equal(t, "x", receive(t, read))
		})
	}
}

// TestOnUnreachableOfOtherSend has the pending error taken by another send, which
// must not fail, and tells the reader.
func TestOnUnreachableOfOtherSend(t *testing.T) {
	a, gone := listen(t, "udp4", "127.0.0.1:0"), closedPort(t, "127.0.0.1")
	reports := reportUnreachable(a)
	write(t, a, Transmit{Data: []byte("anybody?"), Remote: gone})
	for start := time.Now(); a.Stats().WriteRetries == 0; {
		require.Less(t, time.Since(start), patience)
		write(t, a, Transmit{Data: []byte("x"), Remote: at(a, "127.0.0.1")})
	}
	require.Equal(t, "x", string(readOne(t, a).Data))
	require.Equal(t, unreachable{gone, "anybody?"}, receive(t, reports))
	require.Empty(t, reports)
	require.Equal(t, Stats{WriteRetries: 1}, a.Stats())
}

func TestCloseInOnUnreachable(t *testing.T) {
	a := listen(t, "udp4", "127.0.0.1:0")
	a.OnUnreachable(func(netip.AddrPort, []byte) { require.NoError(t, a.Close()) })
	write(t, a, Transmit{Data: []byte("anybody?"), Remote: closedPort(t, "127.0.0.1")})
	_, err := a.Read(make([]Datagram, 1))
	require.ErrorIs(t, err, net.ErrClosed)
}

// TestErrorQueueIsEmptied fills the queue by what is too big for the way out. It
// takes its room from the receive buffer, and only the reader can empty it.
func TestErrorQueueIsEmptied(t *testing.T) {
	a := listen(t, "udp4", "127.0.0.1:0")
	control(t, a, func(fd int) { setInt(t, fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 20000) })
	reports := reportUnreachable(a)
	read := readAll(a)
	for range 300 {
		_, err := a.Write(&Transmit{Data: make([]byte, 65508), Remote: at(a, "127.0.0.1")})
		require.ErrorIs(t, err, ErrTooBig)
	}
	for start := time.Now(); ; {
		require.Less(t, time.Since(start), patience, "the buffer has no room")
		write(t, a, Transmit{Data: []byte("x"), Remote: at(a, "127.0.0.1")})
		select {
		case data := <-read:
			require.Equal(t, "x", data)
			require.Empty(t, reports, "it was never sent")
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestManyUnreachable has more in the queue than is taken out at once.
func TestManyUnreachable(t *testing.T) {
	a, gone := listen(t, "udp4", "127.0.0.1:0"), closedPort(t, "127.0.0.1")
	reports := reportUnreachable(a)
	const sent = 2*maxDrained + 10
	for range sent {
		write(t, a, Transmit{Data: []byte("anybody?"), Remote: gone})
	}
	readAll(a)
	for range sent {
		require.Equal(t, unreachable{gone, "anybody?"}, receive(t, reports))
	}
}

// TestNoErrorQueue is about a kernel where nothing says that the queue is filled.
func TestNoErrorQueue(t *testing.T) {
	needIPv6(t)
	a := listen(t, "udp", "[::]:0")
	a.OnUnreachable(func(netip.AddrPort, []byte) {})
	want := func(want int) {
		t.Helper()
		control(t, a, func(fd int) {
			v4, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_RECVERR)
			require.NoError(t, err)
			v6, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_RECVERR)
			require.NoError(t, err)
			require.Equal(t, []int{want, want}, []int{v4, v6})
		})
	}
	want(1)
	replaceRecvmmsg(a, func(func(uintptr, []mmsghdr) (int, error)) func(uintptr, []mmsghdr) (int, error) {
		return func(uintptr, []mmsghdr) (int, error) { return 0, syscall.ENOSYS }
	})
	write(t, a, Transmit{Data: []byte("x"), Remote: at(a, "::1")})
	readOne(t, a)
	want(0)
}

func TestIsUnreachable(t *testing.T) {
	message := func(level, kind, size int, origin, icmpType, code byte) []byte {
		b, data := appendControl(nil, level, kind, 32)
		data[4], data[5], data[6] = origin, icmpType, code
		putControlLength(b, syscall.CmsgLen(size))
		return b[:syscall.CmsgSpace(size)]
	}
	v4 := func(origin, icmpType, code byte) []byte {
		return message(syscall.IPPROTO_IP, syscall.IP_RECVERR, 32, origin, icmpType, code)
	}
	v6 := func(origin, icmpType, code byte) []byte {
		return message(syscall.IPPROTO_IPV6, syscall.IPV6_RECVERR, 32, origin, icmpType, code)
	}
	const local = 1
	for _, test := range []struct {
		name    string
		control []byte
		want    bool
	}{
		{"port unreachable", v4(originICMP, 3, 3), true},
		{"host unreachable", v4(originICMP, 3, 1), true},
		{"fragmentation needed", v4(originICMP, 3, 4), false},
		{"TTL exceeded", v4(originICMP, 11, 0), false},
		{"port unreachable, IPv4 on AF_INET6", v6(originICMP, 3, 3), true},
		{"port unreachable, IPv6", v6(originICMP6, 1, 4), true},
		{"no route, IPv6", v6(originICMP6, 1, 0), true},
		{"packet too big", v6(originICMP6, 2, 0), false},
		{"hop limit exceeded", v6(originICMP6, 3, 0), false},
		{"local", v4(local, 3, 3), false},
		{"nothing", nil, false},
		{"another message", message(syscall.IPPROTO_IP, syscall.IP_TTL, 32, originICMP, 3, 3), false},
		{"after another", append(message(syscall.IPPROTO_IP, syscall.IP_TTL, 4, 0, 0, 0), v4(originICMP, 3, 3)...), true},
		{"cut short", message(syscall.IPPROTO_IP, syscall.IP_RECVERR, 15, originICMP, 3, 3), false},
	} {
		require.Equal(t, test.want, isUnreachable(test.control), test.name)
	}
}
