package udp

import "syscall"

func softReadErrno(errno syscall.Errno) bool {
	switch errno {
	case syscall.ENETDOWN:
		return true // an interface that is down
	case syscall.EINTR, syscall.ENOBUFS, syscall.ENOMEM:
		return true // it is the system's moment, not the socket's
	}
	return icmpErrno(errno)
}

// pendingErrno takes every error that ICMP may have caused for one of an earlier
// datagram. Some of them may be the datagram's own: then they come back.
func pendingErrno(errno syscall.Errno) bool { return icmpErrno(errno) }

func tooBigErrno(errno syscall.Errno) bool { return errno == syscall.EMSGSIZE }

// icmpErrno reports whether an ICMP message can cause the error: icmp_err_convert
// in net/ipv4/icmp.c, icmpv6_err_convert in net/ipv6/icmp.c.
func icmpErrno(errno syscall.Errno) bool {
	switch errno {
	case syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENOPROTOOPT, syscall.ECONNREFUSED, syscall.EOPNOTSUPP,
		syscall.EHOSTDOWN, syscall.ENONET, syscall.EACCES:
		return true // destination unreachable, or the TTL ran out
	case syscall.EMSGSIZE:
		return true // a smaller MTU on the way
	case syscall.EPROTO:
		return true // parameter problem
	}
	return false
}
