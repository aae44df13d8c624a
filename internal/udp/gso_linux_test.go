package udp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// sendCall is one call of sendmsg: so many bytes, as a run of datagrams of that
// size or, with 0, as one datagram.
type sendCall struct{ bytes, segment int }

// recordSends returns what c has the kernel send, as it comes. Fail may make a
// call fail, and a call that does not is not made either.
func recordSends(c *Conn, fail func(call sendCall, to syscall.Sockaddr) error) *[]sendCall {
	calls := new([]sendCall)
	replaceSendmsg(c, func(sendmsg) sendmsg {
		return func(_ int, p, control []byte, to syscall.Sockaddr, _ int) (int, error) {
			call := sendCall{len(p), sentSegment(control)}
			*calls = append(*calls, call)
			if fail != nil {
				if err := fail(call, to); err != nil {
					return 0, err
				}
			}
			return len(p), nil
		}
	})
	return calls
}

func sentSegment(control []byte) int {
	for {
		m, rest, ok := nextControl(control)
		switch {
		case !ok:
			return 0
		case m.level == solUDP && m.kind == udpSegment:
			return int(binary.NativeEndian.Uint16(m.data))
		}
		control = rest
	}
}

// withGSO turns offload on, whatever the environment says, and has everything
// else go by sendmsg too.
func withGSO(t *testing.T) {
	t.Setenv(disableGSO, "")
	t.Setenv(disableMMSG, "1")
}

// peer is nobody: RFC 5737 has its address for documentation.
var peer = netip.MustParseAddrPort("192.0.2.1:5")

func TestRuns(t *testing.T) {
	withGSO(t)
	for _, test := range []struct {
		bytes, segment int
		fragment       bool
		want           []sendCall
	}{
		{bytes: 100, want: []sendCall{{100, 0}}},
		{bytes: 100, segment: 100, want: []sendCall{{100, 0}}},
		{bytes: 100, segment: 101, want: []sendCall{{100, 0}}},
		{bytes: 100, segment: -1, want: []sendCall{{100, 0}}},
		{bytes: 0, segment: 10, want: []sendCall{{0, 0}}},
		{bytes: 101, segment: 100, want: []sendCall{{101, 100}}},
		{bytes: 200, segment: 100, want: []sendCall{{200, 100}}},
		{bytes: 299, segment: 100, want: []sendCall{{299, 100}}},

		// 64 segments are the most
		{bytes: 64, segment: 1, want: []sendCall{{64, 1}}},
		{bytes: 65, segment: 1, want: []sendCall{{64, 1}, {1, 0}}},
		{bytes: 129, segment: 1, want: []sendCall{{64, 1}, {64, 1}, {1, 0}}},
		{bytes: 6401, segment: 100, want: []sendCall{{6400, 100}, {1, 0}}},

		// as are 65507 bytes
		{bytes: 65507, segment: 1448, want: []sendCall{{45 * 1448, 1448}, {347, 0}}},
		{bytes: 100 * 1448, segment: 1448, want: []sendCall{{45 * 1448, 1448}, {45 * 1448, 1448}, {10 * 1448, 1448}}},
		{bytes: 2 * 32753, segment: 32753, want: []sendCall{{2 * 32753, 32753}}},
		{bytes: 2 * 32754, segment: 32754, want: []sendCall{{32754, 0}, {32754, 0}}},
		{bytes: 65508, segment: 65507, want: []sendCall{{65507, 0}, {1, 0}}},
		{bytes: 1 << 18, segment: 1 << 17, want: []sendCall{{1 << 17, 0}, {1 << 17, 0}}},

		// and the kernel does not fragment what is in one
		{bytes: 250, segment: 100, fragment: true, want: []sendCall{{100, 0}, {100, 0}, {50, 0}}},
	} {
		a := listen(t, "udp4", "127.0.0.1:0")
		calls := recordSends(a, nil)
		write(t, a, Transmit{Data: make([]byte, test.bytes), Segment: test.segment, Remote: peer, Fragment: test.fragment})
		require.Equal(t, test.want, *calls, "%+v", test)
	}
}

func TestRunsThatAreRefused(t *testing.T) {
	withGSO(t)
	whole, parts := []sendCall{{250, 100}}, []sendCall{{100, 0}, {100, 0}, {50, 0}}
	both := append(whole, parts...)
	for _, test := range []struct {
		err   error
		again []sendCall // the next time
	}{
		{syscall.EIO, parts},
		{syscall.EINVAL, both},
		{syscall.EMSGSIZE, both},
	} {
		for _, try := range []func(*Conn, *Transmit) (int, error){(*Conn).Write, (*Conn).TryWrite} {
			a := listen(t, "udp4", "127.0.0.1:0")
			calls := recordSends(a, func(call sendCall, to syscall.Sockaddr) error {
				if call.segment > 0 && to.(*syscall.SockaddrInet4).Addr == peer.Addr().As4() {
					return test.err
				}
				return nil
			})
			send := func(to netip.AddrPort) []sendCall {
				*calls = nil
				n, err := try(a, &Transmit{Data: make([]byte, 250), Segment: 100, Remote: to})
				require.NoError(t, err)
				require.Equal(t, 250, n)
				return *calls
			}
			require.Equal(t, both, send(peer), test.err)
			require.Equal(t, test.again, send(peer), test.err)
			require.Equal(t, test.again, send(netip.AddrPortFrom(peer.Addr(), 6)), "another port, the same way")
			require.Equal(t, whole, send(netip.MustParseAddrPort("192.0.2.2:5")), "another address")
			require.Zero(t, a.Stats())
		}
	}
}

// TestRefusalGoesOnWhereItStopped refuses the second run of a call.
func TestRefusalGoesOnWhereItStopped(t *testing.T) {
	withGSO(t)
	a := listen(t, "udp4", "127.0.0.1:0")
	runs := 0
	calls := recordSends(a, func(call sendCall, _ syscall.Sockaddr) error {
		if call.segment > 0 {
			if runs++; runs == 2 {
				return syscall.EIO
			}
		}
		return nil
	})
	write(t, a, Transmit{Data: make([]byte, 667), Segment: 10, Remote: peer})
	require.Equal(t, []sendCall{{640, 10}, {27, 10}, {10, 0}, {10, 0}, {7, 0}}, *calls)
}

func TestOtherErrorsOfRuns(t *testing.T) {
	withGSO(t)
	for _, want := range []error{syscall.ENOBUFS, syscall.EPERM} {
		a := listen(t, "udp4", "127.0.0.1:0")
		calls := recordSends(a, func(sendCall, syscall.Sockaddr) error { return want })
		n, err := a.Write(&Transmit{Data: make([]byte, 250), Segment: 100, Remote: peer})
		require.ErrorIs(t, err, want)
		require.Zero(t, n)
		require.Equal(t, []sendCall{{250, 100}}, *calls)
	}
}

func TestTooManyRefusals(t *testing.T) {
	withGSO(t)
	var g gso
	for i := range maxRefused + 1 {
		require.True(t, g.works(peer.Addr()), "%d refusals", i)
		require.True(t, g.refuse(syscall.EIO, netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})))
	}
	require.False(t, g.works(peer.Addr()))
	require.Empty(t, g.refused)
}

// TestTooBigSegment has the path's MTU fall between two calls.
func TestTooBigSegment(t *testing.T) {
	withGSO(t)
	a := listen(t, "udp4", "127.0.0.1:0")
	const mtu = 120
	recordSends(a, func(call sendCall, _ syscall.Sockaddr) error {
		switch {
		case call.segment > mtu:
			return syscall.EINVAL
		case call.segment == 0 && call.bytes > mtu:
			return syscall.EMSGSIZE
		}
		return nil
	})
	n, err := a.Write(&Transmit{Data: make([]byte, 350), Segment: 150, Remote: peer})
	require.ErrorIs(t, err, ErrTooBig)
	require.Zero(t, n)
	write(t, a, Transmit{Data: make([]byte, 350), Segment: 120, Remote: peer})
}

// TestRunsArrive sends runs by the real kernel, and reads them.
func TestRunsArrive(t *testing.T) {
	needIPv6(t)
	for i := range 8 {
		gso, gro, mmsg := i&1 != 0, i&2 != 0, i&4 != 0
		for _, test := range []struct{ network, address, host string }{
			{"udp4", "127.0.0.1:0", "127.0.0.1"},
			{"udp4", "0.0.0.0:0", "127.0.0.1"},
			{"udp", "[::]:0", "127.0.0.1"},
			{"udp", "[::]:0", "::1"},
			{"udp6", "[::1]:0", "::1"},
		} {
			name := fmt.Sprintf("gso=%v,gro=%v,mmsg=%v,%s,%s,%s", gso, gro, mmsg, test.network, test.address, test.host)
			t.Run(name, func(t *testing.T) {
				turn(t, disableGSO, gso)
				turn(t, disableGRO, gro)
				turn(t, disableMMSG, mmsg)
				a := listen(t, test.network, test.address)
				b := listen(t, "udp", net.JoinHostPort(test.host, "0"))
				testRunsArrive(t, a, b, test.host, gso, gro)
			})
		}
	}
}

// turn turns on or off what an environment variable disables.
func turn(t *testing.T, disable string, on bool) {
	if on {
		t.Setenv(disable, "")
	} else {
		t.Setenv(disable, "1")
	}
}

func testRunsArrive(t *testing.T, a, b *Conn, host string, gso, gro bool) {
	const segments, size = 100, 1000
	var data []byte
	for i := range segments {
		data = append(data, bytes.Repeat([]byte{byte(i)}, size)...)
	}
	data = data[:len(data)-1]
	write(t, a, Transmit{Data: data, Segment: size, Remote: at(b, host), Local: netip.MustParseAddr(host)})

	joined := 0
	for d := make([]Datagram, 7); len(data) > 0; {
		n, err := b.Read(d)
		require.NoError(t, err)
		for _, d := range d[:n] {
			require.Equal(t, at(a, host), d.Remote)
			require.Equal(t, netip.MustParseAddr(host), d.Local)
			require.Equal(t, data[:len(d.Data)], d.Data)
			if d.Segment == 0 {
				require.Len(t, d.Data, min(size, len(data)))
			} else {
				require.Equal(t, size, d.Segment)
				require.Greater(t, len(d.Data), size, "a run is more than one datagram")
				joined++
			}
			data = data[len(d.Data):]
		}
	}
	switch {
	case !gro:
		require.Zero(t, joined)
	case gso: // what is sent one by one may be joined, or not
		require.NotZero(t, joined)
	}
}
