//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package udp

import (
	"net/netip"
	"syscall"
)

// gso is not there: segments are sent one by one.
type gso struct{}

func (*gso) init(syscall.RawConn) {}

func (*gso) run(data []byte, size int, _ netip.Addr) int {
	if size <= 0 || size >= len(data) {
		return len(data)
	}
	return size
}

func (*gso) control(b []byte, _ int) []byte         { return b }
func (*gso) refuse(error, netip.Addr) (single bool) { return false }
