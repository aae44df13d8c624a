//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package udp

import (
	"net/netip"
	"syscall"
)

// gso is not there: segments are sent one by one.
type gso struct{}

func (*gso) init(syscall.RawConn)              {}
func (*gso) works(netip.Addr) bool             { return false }
func (*gso) length(_, size int) int            { return size }
func (*gso) appendSize(b []byte, _ int) []byte { return b }
func (*gso) refuse(_ error, _ netip.Addr) bool { return false }
