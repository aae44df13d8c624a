//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package udp

import "syscall"

// fragmentation leaves DF as the system has it.
type fragmentation struct{}

func (*fragmentation) init(syscall.RawConn, bool)    {}
func (*fragmentation) begin(int, bool, bool)         {}
func (*fragmentation) tryBegin(int, bool, bool) bool { return true }
func (*fragmentation) end(int, bool, bool)           {}
