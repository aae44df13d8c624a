package udp

import (
	"encoding/binary"
	"syscall"
)

// requestRuns asks for generic receive offload (Linux 5.0): the kernel joins
// datagrams of equal size from one sender, of which the last may be shorter, and
// says their size in a control message. It reports whether that may come.
func requestRuns(raw syscall.RawConn) bool {
	ok := false
	if !disabled(disableGRO) {
		_ = raw.Control(func(fd uintptr) {
			ok = syscall.SetsockoptInt(int(fd), solUDP, udpGRO, 1) == nil
		})
	}
	return ok
}

// segmentSize returns the size of the datagrams that were joined, zero if none
// were.
func segmentSize(control []byte) int {
	for {
		m, rest, ok := nextControl(control)
		switch {
		case !ok:
			return 0
		case m.level == solUDP && m.kind == udpGRO && len(m.data) >= 4:
			return int(int32(binary.NativeEndian.Uint32(m.data)))
		}
		control = rest
	}
}
