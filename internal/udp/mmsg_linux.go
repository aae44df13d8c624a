package udp

import (
	"encoding/binary"
	"syscall"
	"unsafe"
)

// mmsghdr is struct mmsghdr, padding included: what recvmmsg and sendmmsg take
// several of.
type mmsghdr struct {
	header syscall.Msghdr
	n      uint32 // bytes that were received or sent
}

// set makes the header say that a message's data is in iov and that it has
// control messages, if any. The name, a socket address, is for the caller to set.
func (h *mmsghdr) set(iov *syscall.Iovec, control []byte) {
	h.header = syscall.Msghdr{Iov: iov}
	h.header.Iovlen = 1
	if len(control) > 0 {
		h.header.Control = &control[0]
		h.header.SetControllen(len(control))
	}
}

// recvmmsg receives messages without waiting, and returns how many.
func recvmmsg(fd uintptr, headers []mmsghdr) (n int, err error) {
	return mmsg(syscall.SYS_RECVMMSG, fd, headers)
}

// sendmmsg sends messages without waiting, and returns how many. An error is the
// first message's.
func sendmmsg(fd uintptr, headers []mmsghdr) (n int, err error) {
	return mmsg(sysSendmmsg, fd, headers)
}

func mmsg(call, fd uintptr, headers []mmsghdr) (int, error) {
	n, _, errno := syscall.Syscall6(call, fd, uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)),
		syscall.MSG_DONTWAIT, 0, 0) // no timeout
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// networkOrder turns a port into what a raw socket address has, and back.
func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}
