package udp

import "syscall"

// Winsock's error numbers that package syscall does not have: its constants of
// these names are numbers that Go invented, and that no system call returns.
const (
	wsaeMsgSize     = syscall.Errno(10040)
	wsaeNetDown     = syscall.Errno(10050)
	wsaeNetUnreach  = syscall.Errno(10051)
	wsaeNetReset    = syscall.Errno(10052)
	wsaeNoBufs      = syscall.Errno(10055)
	wsaeConnRefused = syscall.Errno(10061)
	wsaeHostUnreach = syscall.Errno(10065)

	errorPortUnreachable = syscall.Errno(1234)
)

func softReadErrno(errno syscall.Errno) bool {
	switch errno {
	case syscall.WSAECONNRESET, wsaeConnRefused, errorPortUnreachable, wsaeNetReset,
		wsaeNetDown, wsaeNetUnreach, wsaeHostUnreach:
		return true // what ICMP said about a datagram of ours; an interface that is down
	case wsaeMsgSize, wsaeNoBufs:
		return true // the next datagram is not concerned
	}
	return false
}

func pendingErrno(errno syscall.Errno) bool { return errno == syscall.WSAECONNRESET }

func tooBigErrno(errno syscall.Errno) bool {
	return errno == wsaeMsgSize || errno == syscall.EMSGSIZE
}
