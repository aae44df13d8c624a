package udp

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// replaceRecvmmsg puts fake between c and the kernel, which is real. It must be
// called before anything is read.
func replaceRecvmmsg(c *Conn, fake func(real func(uintptr, []mmsghdr) (int, error)) func(uintptr, []mmsghdr) (int, error)) {
	r := &c.port.(*socket).receiver
	r.recvmmsg = fake(r.recvmmsg)
}

func TestReadFromSeveral(t *testing.T) {
	needIPv6(t)
	turn(t, disableMMSG, true)
	a := listen(t, "udp", "[::]:0")
	want := make(map[netip.AddrPort]string)
	for i := range 40 {
		host := []string{"127.0.0.1", "::1"}[i%2]
		p := listen(t, "udp", net.JoinHostPort(host, "0"))
		want[at(p, host)] = string(make([]byte, 2*i))
		write(t, p, Transmit{Data: []byte(want[at(p, host)]), Segment: i, Remote: at(a, host)})
	}

	got := make(map[netip.AddrPort]string)
	d, most := make([]Datagram, 9), 0
	complete := func() bool {
		for remote, data := range want {
			if text, ok := got[remote]; !ok || len(text) < len(data) {
				return false
			}
		}
		return true
	}
	for !complete() {
		n, err := a.Read(d)
		require.NoError(t, err)
		for _, d := range d[:n] {
			require.Contains(t, want, d.Remote)
			require.Equal(t, d.Remote.Addr(), d.Local)
			if d.Segment > 0 {
				require.Greater(t, len(d.Data), d.Segment)
			}
			got[d.Remote] += string(d.Data)
		}
		most = max(most, n)
	}
	require.Equal(t, want, got)
	require.Equal(t, len(d), most)
}

func TestReadOneByOne(t *testing.T) {
	turn(t, disableMMSG, false)
	a := listen(t, "udp4", "127.0.0.1:0")
	for range 20 {
		write(t, a, Transmit{Data: []byte("x"), Remote: at(a, "127.0.0.1")})
	}
	d := make([]Datagram, 9)
	for range 20 {
		n, err := a.Read(d)
		require.NoError(t, err)
		require.Equal(t, 1, n)
	}
	require.Nil(t, d[1].Data, "memory is for slots that are used")
}

// TestNoRecvmmsg is about kernels and sandboxes that refuse the call.
func TestNoRecvmmsg(t *testing.T) {
	for _, errno := range []error{syscall.ENOSYS, syscall.EPERM} {
		a := listen(t, "udp4", "0.0.0.0:0")
		calls := 0
		replaceRecvmmsg(a, func(func(uintptr, []mmsghdr) (int, error)) func(uintptr, []mmsghdr) (int, error) {
			return func(uintptr, []mmsghdr) (int, error) {
				calls++
				return 0, errno
			}
		})
		for range 3 {
			write(t, a, Transmit{Data: []byte("abc"), Segment: 2, Remote: at(a, "127.0.0.1")})
			for _, want := range []string{"ab", "c"} {
				got := readOne(t, a)
				require.Equal(t, want, string(got.Data))
				require.Equal(t, at(a, "127.0.0.1"), got.Remote)
				require.Equal(t, netip.MustParseAddr("127.0.0.1"), got.Local)
			}
		}
		require.Equal(t, 1, calls, "it is not tried again")
		require.Zero(t, a.Stats())
	}
}

func TestRecvmmsgErrors(t *testing.T) {
	a := listen(t, "udp4", "127.0.0.1:0")
	errs := []error{syscall.EINTR, softError, syscall.EAGAIN, syscall.EINTR}
	replaceRecvmmsg(a, func(real func(uintptr, []mmsghdr) (int, error)) func(uintptr, []mmsghdr) (int, error) {
		return func(fd uintptr, headers []mmsghdr) (int, error) {
			if len(errs) == 0 {
				return real(fd, headers)
			}
			err := errs[0]
			errs = errs[1:]
			if err == syscall.EAGAIN { // what arrives after that wakes the reader
				write(t, a, Transmit{Data: []byte("x"), Remote: at(a, "127.0.0.1")})
			}
			return 0, err
		}
	})
	require.Equal(t, "x", string(readOne(t, a).Data))
	require.Equal(t, Stats{ReadErrors: 1}, a.Stats())

	errs = []error{syscall.EBADF}
	_, err := a.Read(make([]Datagram, 1))
	require.ErrorIs(t, err, syscall.EBADF)
	require.ErrorAs(t, err, new(*net.OpError))
}

// TestSlotsAdapt reads what comes at once, in turn, and sees how many slots the
// next call is given.
func TestSlotsAdapt(t *testing.T) {
	r := receiver{slots: 1, limit: maxReceive}
	for _, test := range []struct{ available, size, want int }{
		{1, 100, 2}, {2, 100, 4}, {1, 100, 4}, {4, 100, 8}, {99, 100, 16}, {99, 100, 32}, {99, 100, 64}, {99, 100, 64},
		{5, 65507, 32}, {99, 65507, 16}, {99, 65507, 8}, {99, 65507, 4}, {99, 65507, 2}, {99, 65507, 2}, {1, 65507, 2},
		{99, 1448, 4}, {99, 1448, 8}, {99, 1448, 16}, {99, 1448, 32}, {99, 1448, 64},
	} {
		r.asked = r.slots
		r.n = min(r.asked, test.available)
		r.adapt(r.n * test.size)
		require.Equal(t, test.want, r.slots, "%+v", test)
	}
}
