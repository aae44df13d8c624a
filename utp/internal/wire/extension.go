package wire

import (
	"encoding/binary"
	"iter"
)

// Extension types.
const (
	ExtSelectiveAck byte = 1 // bit i, lowest first, acknowledges ack_nr + 2 + i
	ExtBits         byte = 2 // 8 bytes on a SYN; we put Hello there
)

const (
	// maxExtensions bounds the work that one datagram can ask for. The longest
	// chain that we send ourselves has 17 elements.
	maxExtensions = 32

	// MaxSackBytes is the longest selective-ACK element that we send: the
	// largest multiple of 4 (BEP 29) that its length byte can say. It covers
	// SackPackets packets.
	MaxSackBytes = 252
	// SackPackets is the number of packets that a full element covers.
	SackPackets = MaxSackBytes * 8
)

// Extensions is the extension chain of a packet, already known to be well formed.
type Extensions struct {
	first byte
	chain []byte
}

// chainLen returns the length of the chain at the start of b whose first
// element has type typ.
func chainLen(typ byte, b []byte) (n int, ok bool) {
	for count := 0; typ != 0; count++ {
		if count == maxExtensions || len(b)-n < 2 {
			return 0, false
		}
		typ, n = b[n], n+2+int(b[n+1])
		if n > len(b) {
			return 0, false
		}
	}
	return n, true
}

// None reports whether there is no extension.
func (e Extensions) None() bool { return e.first == 0 }

// All yields type and content of each element, in order.
func (e Extensions) All() iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		typ, b := e.first, e.chain
		for typ != 0 {
			end := 2 + int(b[1])
			if !yield(typ, b[2:end]) {
				return
			}
			typ, b = b[0], b[end:]
		}
	}
}

// PutExtension writes one element of a chain into b, whose successor has type
// next, and returns its length. The element's own type stands in its
// predecessor.
func PutExtension(b []byte, next byte, content []byte) int {
	b[0], b[1] = next, byte(len(content))
	return 2 + copy(b[2:], content)
}

// Hello is what two transports of our own kind tell each other on SYN and
// SYN-ACK, as an ExtBits element of HelloSize bytes: a magic of 4, a version,
// and 3 of capability bits. libutp, libtorrent, transmission and utp-punch
// accept a SYN with it; transmission sends zeros there, hence the magic.
type Hello struct {
	Version      uint8
	Capabilities uint32 // 24 bits; none is defined in version 1
}

const (
	// HelloSize is the length that libutp demands of this extension.
	HelloSize = 8

	helloMagic = 0x75_54_50_21 // "uTP!"
)

// Put writes the content of the element into b.
func (h Hello) Put(b []byte) {
	_ = b[HelloSize-1]
	binary.BigEndian.PutUint32(b, helloMagic)
	binary.BigEndian.PutUint32(b[4:], uint32(h.Version)<<24|h.Capabilities&0xffffff)
}

// Hello returns the Hello in the chain, if there is one of version 1 or later.
func (e Extensions) Hello() (Hello, bool) {
	for typ, b := range e.All() {
		if typ == ExtBits && len(b) == HelloSize && binary.BigEndian.Uint32(b) == helloMagic && b[4] > 0 {
			v := binary.BigEndian.Uint32(b[4:])
			return Hello{Version: uint8(v >> 24), Capabilities: v & 0xffffff}, true
		}
	}
	return Hello{}, false
}
