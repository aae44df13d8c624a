package utp

import "encoding/binary"

// isSTUN reports whether a datagram is a STUN message (RFC 8489, 5): two zero bits,
// the length of what follows the header, a multiple of 4, and the magic cookie.
//
// A Binding success response can also be read as DATA with a selective
// acknowledgement, of which the length is the connection_id and the cookie the
// timestamp.
func isSTUN(b []byte) bool {
	const headerSize, magicCookie = 20, 0x2112A442
	return len(b) >= headerSize && b[0]>>6 == 0 && len(b)%4 == 0 &&
		int(binary.BigEndian.Uint16(b[2:])) == len(b)-headerSize &&
		binary.BigEndian.Uint32(b[4:]) == magicCookie
}
