package udp

import "syscall"

const (
	softError    = wsaeHostUnreach
	pendingError = syscall.WSAECONNRESET
	tooBigError  = wsaeMsgSize
)
