//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package udp

import (
	"encoding/binary"
	"syscall"
)

// A control message is a header {length, level, type}, padding, data, padding.
// The length counts header and data; it is a word on Linux, 32 bits on the
// others: what the other two leave of the header.
const controlLengthSize = syscall.SizeofCmsghdr - 8

// controlMessage is one control message. Its data is not copied.
type controlMessage struct {
	level, kind int
	data        []byte
}

// nextControl returns the first control message of b and what follows it. It
// reports false at the end, and at what is not well-formed.
func nextControl(b []byte) (m controlMessage, rest []byte, ok bool) {
	if len(b) < syscall.CmsgLen(0) {
		return m, nil, false
	}
	length := controlLength(b)
	if length < uint64(syscall.CmsgLen(0)) || length > uint64(len(b)) {
		return m, nil, false
	}
	m = controlMessage{
		level: int(int32(binary.NativeEndian.Uint32(b[controlLengthSize:]))),
		kind:  int(int32(binary.NativeEndian.Uint32(b[controlLengthSize+4:]))),
		data:  b[syscall.CmsgLen(0):length],
	}
	// The last one may come without its padding.
	space := syscall.CmsgSpace(len(m.data))
	return m, b[min(space, len(b)):], true
}

// appendControl appends a control message with size bytes of data, all zero,
// and returns them too.
func appendControl(b []byte, level, kind, size int) (_, data []byte) {
	start := len(b)
	b = append(b, make([]byte, syscall.CmsgSpace(size))...)
	h := b[start:]
	putControlLength(h, syscall.CmsgLen(size))
	binary.NativeEndian.PutUint32(h[controlLengthSize:], uint32(level))
	binary.NativeEndian.PutUint32(h[controlLengthSize+4:], uint32(kind))
	return b, h[syscall.CmsgLen(0):syscall.CmsgLen(size)]
}

func controlLength(b []byte) uint64 {
	if controlLengthSize == 8 {
		return binary.NativeEndian.Uint64(b)
	}
	return uint64(binary.NativeEndian.Uint32(b))
}

func putControlLength(b []byte, n int) {
	if controlLengthSize == 8 {
		binary.NativeEndian.PutUint64(b, uint64(n))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(n))
	}
}
