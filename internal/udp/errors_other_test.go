//go:build !windows

package udp

import "syscall"

const (
	softError    = syscall.EHOSTUNREACH
	pendingError = syscall.ECONNREFUSED
	tooBigError  = syscall.EMSGSIZE
)
