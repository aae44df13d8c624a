//go:build !linux && !windows

package udp

import "syscall"

func softReadErrno(errno syscall.Errno) bool {
	switch errno {
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.ENETRESET, syscall.EPROTO:
		return true // what ICMP said about a datagram of ours; an interface that is down
	case syscall.EMSGSIZE:
		return true // a datagram of ours met a smaller MTU
	case syscall.EINTR, syscall.ENOBUFS, syscall.ENOMEM:
		return true // it is the system's moment, not the socket's
	}
	return false
}

func pendingErrno(errno syscall.Errno) bool { return errno == syscall.ECONNREFUSED }

func tooBigErrno(errno syscall.Errno) bool { return errno == syscall.EMSGSIZE }
