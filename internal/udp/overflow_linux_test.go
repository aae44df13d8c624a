package udp

import (
	"encoding/binary"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOverflows(t *testing.T) {
	a := listen(t, "udp4", "127.0.0.1:0")
	control(t, a, func(fd int) { setInt(t, fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 20000) })

	sent, received := uint64(0), uint64(0)
	send := func() {
		write(t, a, Transmit{Data: []byte("x"), Remote: at(a, "127.0.0.1")})
		sent++
	}
	d := make([]Datagram, 1)
	for range 2 {
		for range 300 {
			send()
		}
		require.NoError(t, a.PacketConn().SetReadDeadline(time.Now().Add(20*time.Millisecond)))
		for _, err := a.Read(d); err == nil; _, err = a.Read(d) {
			received++
		}
		require.Less(t, received, sent)

		require.NoError(t, a.PacketConn().SetReadDeadline(time.Now().Add(patience)))
		send() // brings the count
		readOne(t, a)
		received++
		require.Equal(t, sent-received, a.Stats().Overflows)
	}
}

func TestOverflowCountWraps(t *testing.T) {
	count := func(n uint32) []byte {
		b, data := appendControl(nil, syscall.SOL_SOCKET, syscall.SO_RXQ_OVFL, 4)
		binary.NativeEndian.PutUint32(data, n)
		return b
	}
	var o overflow
	for _, test := range []struct {
		count uint32
		want  uint64
	}{
		{5, 5}, {5, 0}, {1 << 31, 1<<31 - 5}, {1<<32 - 16, 1<<31 - 16}, {4, 20}, {3, 0}, {4, 0}, {6, 2},
	} {
		require.Equal(t, test.want, o.news(count(test.count)), "%+v", test)
	}
	require.Zero(t, o.news(nil))
	short, _ := appendControl(nil, syscall.SOL_SOCKET, syscall.SO_RXQ_OVFL, 3)
	require.Zero(t, o.news(short))
}
