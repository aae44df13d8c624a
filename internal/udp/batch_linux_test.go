package udp

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// withBatches has segments go out in batches, whatever the environment says.
func withBatches(t *testing.T) {
	turn(t, disableGSO, false)
	turn(t, disableMMSG, true)
}

// replaceSendmmsg puts fake between c and the kernel, which is real. It must be
// called before anything is sent.
func replaceSendmmsg(c *Conn, fake func(real func(uintptr, []mmsghdr) (int, error)) func(uintptr, []mmsghdr) (int, error)) {
	b := &c.port.(*socket).sender.batches
	b.sendmmsg = fake(b.sendmmsg)
}

// readTexts reads as many datagrams.
func readTexts(t *testing.T, c *Conn, n int) (texts []string) {
	t.Helper()
	for range n {
		texts = append(texts, string(readOne(t, c).Data))
	}
	return texts
}

func TestBatches(t *testing.T) {
	withBatches(t)
	for _, test := range []struct {
		bytes, segment int
		want           []int // datagrams in a batch
	}{
		{100, 0, nil},
		{100, 100, nil},
		{0, 10, nil},
		{101, 100, []int{2}},
		{64, 1, []int{64}},
		{65, 1, []int{64}}, // and the last alone
		{66, 1, []int{64, 2}},
		{299, 3, []int{64, 36}},
	} {
		for _, fragment := range []bool{false, true} {
			a := listen(t, "udp4", "127.0.0.1:0")
			var got []int
			replaceSendmmsg(a, func(real func(uintptr, []mmsghdr) (int, error)) func(uintptr, []mmsghdr) (int, error) {
				return func(fd uintptr, headers []mmsghdr) (int, error) {
					got = append(got, len(headers))
					return real(fd, headers)
				}
			})
			data := make([]byte, test.bytes)
			for i := range data {
				data[i] = byte(i)
			}
			write(t, a, Transmit{Data: data, Segment: test.segment, Remote: at(a, "127.0.0.1"), Fragment: fragment})
			require.Equal(t, test.want, got, "%+v", test)
			for len(data) > 0 {
				want := segment(data, test.segment, 0)
				require.Equal(t, want, readOne(t, a).Data, "%+v", test)
				data = data[len(want):]
			}
		}
	}
}

// TestBatchErrors has sendmmsg send only some of a batch, or fail, in turn.
func TestBatchErrors(t *testing.T) {
	withBatches(t)
	type result struct {
		n   int
		err error
	}
	always := func(err error) (results []result) {
		for range 1 + pendingRetries {
			results = append(results, result{0, err})
		}
		return results
	}
	for _, test := range []struct {
		name    string
		results []result
		want    error
		n       int // bytes
		stats   Stats
		calls   int // of sendmmsg, by this write
		again   int // and by the next
	}{
		{"all", nil, nil, 9, Stats{}, 1, 1},
		{"some", []result{{1, nil}, {2, nil}}, nil, 9, Stats{}, 3, 1},
		{"some, and the last", []result{{4, nil}}, nil, 9, Stats{}, 1, 1},
		{"interrupted", []result{{0, syscall.EINTR}}, nil, 9, Stats{}, 2, 1},
		{"no room", []result{{2, nil}, {0, syscall.EAGAIN}}, ErrWouldBlock, 4, Stats{}, 2, 1},
		{"pending error", []result{{2, nil}, {0, syscall.ECONNREFUSED}}, nil, 9, Stats{WriteRetries: 1}, 3, 1},
		{"too big", always(syscall.EMSGSIZE), ErrTooBig, 0, Stats{WriteErrors: 1}, 1 + pendingRetries, 1},
		{"no memory", []result{{3, nil}, {0, syscall.ENOBUFS}}, syscall.ENOBUFS, 6, Stats{WriteErrors: 1}, 2, 1},
		{"no such call", []result{{0, syscall.ENOSYS}}, nil, 9, Stats{}, 1, 0},
		{"forbidden", []result{{0, syscall.EPERM}}, nil, 9, Stats{}, 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := listen(t, "udp4", "127.0.0.1:0")
			calls, results := 0, test.results
			replaceSendmmsg(a, func(real func(uintptr, []mmsghdr) (int, error)) func(uintptr, []mmsghdr) (int, error) {
				return func(fd uintptr, headers []mmsghdr) (int, error) {
					calls++
					if len(results) == 0 {
						return real(fd, headers)
					}
					r := results[0]
					results = results[1:]
					if r.n == 0 {
						return 0, r.err
					}
					return real(fd, headers[:r.n])
				}
			})
			msg := Transmit{Data: []byte("aabbccdde"), Segment: 2, Remote: at(a, "127.0.0.1")}
			n, err := a.TryWrite(&msg)
			require.ErrorIs(t, err, test.want)
			require.Equal(t, test.n, n)
			require.Equal(t, test.stats, a.Stats())
			require.Equal(t, test.calls, calls)
			want := []string{"aa", "bb", "cc", "dd", "e"}
			require.Equal(t, want[:(n+1)/2], append([]string{}, readTexts(t, a, (n+1)/2)...))

			calls = 0
			write(t, a, msg)
			require.Equal(t, test.again, calls)
			require.Equal(t, want, readTexts(t, a, len(want)))
		})
	}
}

func TestBatchesAreNotKept(t *testing.T) {
	withBatches(t)
	a := listen(t, "udp4", "127.0.0.1:0")
	var headers []mmsghdr
	replaceSendmmsg(a, func(func(uintptr, []mmsghdr) (int, error)) func(uintptr, []mmsghdr) (int, error) {
		return func(_ uintptr, h []mmsghdr) (int, error) {
			headers = h
			return len(h), nil
		}
	})
	write(t, a, Transmit{Data: make([]byte, 50), Segment: 1, Remote: peer})
	require.Len(t, headers, 50)
	for _, h := range headers {
		require.Nil(t, h.header.Iov.Base, "the pool keeps the caller's memory")
	}
}
