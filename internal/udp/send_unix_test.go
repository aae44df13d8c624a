//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package udp

import (
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// sendmsg is what the kernel does for a send.
type sendmsg = func(fd int, p, control []byte, to syscall.Sockaddr, flags int) (int, error)

// replaceSendmsg puts fake between c and the kernel, which is real. It must be
// called before anything is sent.
func replaceSendmsg(c *Conn, fake func(real sendmsg) sendmsg) {
	s := &c.port.(*socket).sender
	s.sendmsg = fake(s.sendmsg)
}

// sendOneByOne has the ports that the test opens from now on send one datagram a
// call.
func sendOneByOne(t *testing.T) {
	t.Setenv(disableGSO, "1")
	t.Setenv(disableMMSG, "1")
}

// failSends makes the sends of c fail, in turn, where errs is not nil.
func failSends(c *Conn, errs ...error) {
	replaceSendmsg(c, func(real sendmsg) sendmsg {
		return func(fd int, p, control []byte, to syscall.Sockaddr, flags int) (int, error) {
			if len(errs) > 0 {
				err := errs[0]
				errs = errs[1:]
				if err != nil {
					return 0, err
				}
			}
			return real(fd, p, control, to, flags)
		}
	})
}

func TestTryWrite(t *testing.T) {
	a, b := listen(t, "udp4", "127.0.0.1:0"), listen(t, "udp4", "127.0.0.1:0")
	n, err := a.TryWrite(&Transmit{Data: []byte("abcde"), Segment: 2, Remote: at(b, "127.0.0.1")})
	require.NoError(t, err)
	require.Equal(t, 5, n)
	for _, want := range []string{"ab", "cd", "e"} {
		require.Equal(t, want, string(readOne(t, b).Data))
	}
}

func TestTryWriteStopsWhereThereIsNoRoom(t *testing.T) {
	sendOneByOne(t)
	a, b := listen(t, "udp4", "127.0.0.1:0"), listen(t, "udp4", "127.0.0.1:0")
	failSends(a, nil, nil, syscall.EAGAIN)
	msg := Transmit{Data: []byte("aabbccd"), Segment: 2, Remote: at(b, "127.0.0.1")}
	n, err := a.TryWrite(&msg)
	require.Equal(t, ErrWouldBlock, err)
	require.Equal(t, 4, n, "in whole datagrams")
	require.Zero(t, a.Stats())

	msg.Data = msg.Data[n:]
	n, err = a.TryWrite(&msg)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	for _, want := range []string{"aa", "bb", "cc", "d"} {
		require.Equal(t, want, string(readOne(t, b).Data))
	}
}

func TestWriteGoesOnWhereItStopped(t *testing.T) {
	sendOneByOne(t)
	a, b := listen(t, "udp4", "127.0.0.1:0"), listen(t, "udp4", "127.0.0.1:0")
	failSends(a, nil, syscall.EAGAIN, syscall.EINTR)
	write(t, a, Transmit{Data: []byte("aabb"), Segment: 2, Remote: at(b, "127.0.0.1")})
	for _, want := range []string{"aa", "bb"} {
		require.Equal(t, want, string(readOne(t, b).Data))
	}
}

// waitingWrite starts a Write that finds no room, as often as it looks, and
// returns when it has looked. Only data "wait" finds none.
func waitingWrite(t *testing.T, a, b *Conn) (done <-chan error) {
	t.Helper()
	looked, result := make(chan struct{}, 1), make(chan error, 1)
	replaceSendmsg(a, func(real sendmsg) sendmsg {
		return func(fd int, p, control []byte, to syscall.Sockaddr, flags int) (int, error) {
			if string(p) != "wait" {
				return real(fd, p, control, to, flags)
			}
			select {
			case looked <- struct{}{}:
			default:
			}
			return 0, syscall.EAGAIN
		}
	})
	go func() {
		_, err := a.Write(&Transmit{Data: []byte("wait"), Remote: at(b, "127.0.0.1")})
		result <- err
	}()
	<-looked
	return result
}

func TestCloseEndsWrite(t *testing.T) {
	a := listen(t, "udp4", "127.0.0.1:0")
	done := waitingWrite(t, a, a)
	require.NoError(t, a.Close())
	require.ErrorIs(t, <-done, net.ErrClosed)
}

func TestTryWriteDoesNotWaitForWrite(t *testing.T) {
	a, b := listen(t, "udp4", "127.0.0.1:0"), listen(t, "udp4", "127.0.0.1:0")
	done := waitingWrite(t, a, b)
	// The waiting Write may be looking at this very moment, but it does so with
	// DF, which excludes nobody but a Fragment.
	n, err := a.TryWrite(&Transmit{Data: []byte("x"), Remote: at(b, "127.0.0.1")})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, "x", string(readOne(t, b).Data))
	require.NoError(t, a.Close())
	require.Error(t, <-done)
}

func TestSendErrors(t *testing.T) {
	sendOneByOne(t)
	again := func(err error, n int) []error { return slices.Repeat([]error{err}, n) }
	always := func(err error) []error { return again(err, 1+pendingRetries) }
	for _, test := range []struct {
		name  string
		fails []error
		want  error
		n     int
		stats Stats
	}{
		{"a pending error is not this datagram's", []error{syscall.ECONNREFUSED}, nil, 4, Stats{WriteRetries: 1}},
		{"nor the next one's", []error{syscall.ECONNREFUSED, nil, syscall.ECONNREFUSED}, nil, 4, Stats{WriteRetries: 2}},
		{"nor are several", again(syscall.ECONNREFUSED, pendingRetries), nil, 4, Stats{WriteRetries: 1}},
		{"in the end it may be", always(syscall.ECONNREFUSED), syscall.ECONNREFUSED, 0, Stats{WriteErrors: 1}},
		{"no memory", []error{nil, syscall.ENOBUFS}, syscall.ENOBUFS, 2, Stats{WriteErrors: 1}},
		{"no route", always(syscall.ENETUNREACH), syscall.ENETUNREACH, 0, Stats{WriteErrors: 1}},
		{"packet filter", []error{syscall.EPERM}, syscall.EPERM, 0, Stats{WriteErrors: 1}},
		{"too big", always(syscall.EMSGSIZE), ErrTooBig, 0, Stats{WriteErrors: 1}},
		{"too big, to the system", always(syscall.EMSGSIZE), syscall.EMSGSIZE, 0, Stats{WriteErrors: 1}},
		{"the second is too big", append([]error{nil}, always(syscall.EMSGSIZE)...), ErrTooBig, 2, Stats{WriteErrors: 1}},
		{"interrupted", []error{syscall.EINTR}, nil, 4, Stats{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, write := range []func(*Conn, *Transmit) (int, error){(*Conn).Write, (*Conn).TryWrite} {
				a := listen(t, "udp4", "127.0.0.1:0")
				failSends(a, test.fails...)
				n, err := write(a, &Transmit{Data: []byte("aabb"), Segment: 2, Remote: at(a, "127.0.0.1")})
				require.ErrorIs(t, err, test.want)
				require.Equal(t, test.n, n)
				require.Equal(t, test.stats, a.Stats())
				for range n / 2 {
					readOne(t, a)
				}
			}
		})
	}
}

func TestSourceOfAnotherFamily(t *testing.T) {
	a := listen(t, "udp4", "0.0.0.0:0")
	_, err := a.Write(&Transmit{Data: []byte("x"), Remote: at(a, "127.0.0.1"), Local: netip.MustParseAddr("::1")})
	require.ErrorAs(t, err, new(*net.AddrError))
}
