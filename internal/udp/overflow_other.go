//go:build !linux

package udp

import "syscall"

// overflow is not known.
type overflow struct{}

func (*overflow) request(syscall.RawConn) bool { return false }
func (*overflow) news([]byte) uint64           { return 0 }
