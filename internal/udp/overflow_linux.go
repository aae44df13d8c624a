package udp

import (
	"encoding/binary"
	"syscall"
)

// overflow follows the kernel's count of what it dropped because the socket's
// receive buffer was full. It comes with a datagram, as it was when that was
// put into the buffer, and only if it is not zero. The kernel also counts there
// what it dropped for other reasons, such as a wrong checksum.
type overflow struct {
	last uint32 // of the reader
}

// request asks for the count, and reports whether it may come.
func (*overflow) request(raw syscall.RawConn) bool {
	ok := false
	_ = raw.Control(func(fd uintptr) {
		ok = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RXQ_OVFL, 1) == nil
	})
	return ok
}

// news returns how many were dropped since the last time that control messages
// said. The count is of 32 bits, and wraps.
func (o *overflow) news(control []byte) uint64 {
	for {
		m, rest, ok := nextControl(control)
		switch {
		case !ok:
			return 0
		case m.level == syscall.SOL_SOCKET && m.kind == syscall.SO_RXQ_OVFL && len(m.data) >= 4:
			count := binary.NativeEndian.Uint32(m.data)
			// The kernel adds it up over CPUs, and need not get it right.
			if int32(count-o.last) <= 0 {
				return 0
			}
			news := count - o.last
			o.last = count
			return uint64(news)
		}
		control = rest
	}
}
