package udp

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func mtuDiscover(t *testing.T, fd int) (v4, v6 int) {
	t.Helper()
	v4, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER)
	require.NoError(t, err)
	v6, err = syscall.GetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_MTU_DISCOVER)
	require.NoError(t, err)
	return v4, v6
}

func TestFragment(t *testing.T) {
	needIPv6(t)
	sendOneByOne(t)
	for _, write := range []func(*Conn, *Transmit) (int, error){(*Conn).Write, (*Conn).TryWrite} {
		for _, test := range []struct {
			host     string
			fragment bool
			v4, v6   int // while it is sent
		}{
			{"127.0.0.1", false, syscall.IP_PMTUDISC_PROBE, syscall.IPV6_PMTUDISC_PROBE},
			{"127.0.0.1", true, syscall.IP_PMTUDISC_DONT, syscall.IPV6_PMTUDISC_PROBE},
			{"::1", false, syscall.IP_PMTUDISC_PROBE, syscall.IPV6_PMTUDISC_PROBE},
			{"::1", true, syscall.IP_PMTUDISC_PROBE, syscall.IPV6_PMTUDISC_DONT},
		} {
			c := listen(t, "udp", "[::]:0")
			raw, err := c.SyscallConn()
			require.NoError(t, err)
			between := func() {
				t.Helper()
				require.NoError(t, raw.Control(func(fd uintptr) {
					v4, v6 := mtuDiscover(t, int(fd))
					require.Equal(t, syscall.IP_PMTUDISC_PROBE, v4)
					require.Equal(t, syscall.IPV6_PMTUDISC_PROBE, v6)
				}))
			}

			sends := 0
			replaceSendmsg(c, func(real sendmsg) sendmsg {
				return func(fd int, p, control []byte, to syscall.Sockaddr, flags int) (int, error) {
					sends++
					v4, v6 := mtuDiscover(t, fd)
					require.Equal(t, test.v4, v4, "%+v", test)
					require.Equal(t, test.v6, v6, "%+v", test)
					return real(fd, p, control, to, flags)
				}
			})
			between()
			n, err := write(c, &Transmit{Data: []byte("abc"), Segment: 2, Remote: at(c, test.host), Fragment: test.fragment})
			require.NoError(t, err)
			require.Equal(t, 3, n)
			require.Equal(t, 2, sends)
			between()
		}
	}
}

// TestFragmentExcludesOthers tries to send while something is being sent.
func TestFragmentExcludesOthers(t *testing.T) {
	for _, test := range []struct {
		first, second bool
		want          error
	}{
		{false, false, nil},
		{false, true, ErrWouldBlock},
		{true, false, ErrWouldBlock},
		{true, true, ErrWouldBlock},
	} {
		c := listen(t, "udp4", "127.0.0.1:0")
		msg := Transmit{Data: []byte("x"), Remote: at(c, "127.0.0.1"), Fragment: test.first}
		depth := 0
		replaceSendmsg(c, func(real sendmsg) sendmsg {
			return func(fd int, p, control []byte, to syscall.Sockaddr, flags int) (int, error) {
				if depth++; depth == 1 {
					msg.Fragment = test.second
					_, err := c.TryWrite(&msg)
					require.Equal(t, test.want, err, "%+v", test)
				}
				return real(fd, p, control, to, flags)
			}
		})
		_, err := c.Write(&msg)
		require.NoError(t, err)
	}
}
