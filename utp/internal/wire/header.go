// Package wire is the packet format of uTP (BEP 29): header, extension chain,
// sequence numbers and timestamps. It only reads and writes bytes; whether a
// packet makes sense in a connection is decided elsewhere.
package wire

import "encoding/binary"

// HeaderSize is the length of the fixed header in bytes.
const HeaderSize = 20

// version is the only protocol version in use.
const version = 1

// Type is the packet type, the upper half of the first byte.
type Type uint8

// Packet types of BEP 29.
const (
	Data  Type = 0 // ST_DATA: payload; consumes a sequence number
	Fin   Type = 1 // ST_FIN: end of the sender's stream; consumes a sequence number
	State Type = 2 // ST_STATE: acknowledgement only; carries the next unsent number
	Reset Type = 3 // ST_RESET: the connection is gone
	Syn   Type = 4 // ST_SYN: opens a connection; consumes a sequence number
)

// String returns the name that BEP 29 uses.
func (t Type) String() string {
	switch t {
	case Data:
		return "ST_DATA"
	case Fin:
		return "ST_FIN"
	case State:
		return "ST_STATE"
	case Reset:
		return "ST_RESET"
	case Syn:
		return "ST_SYN"
	default:
		return "ST_INVALID"
	}
}

// Header is the fixed header.
type Header struct {
	Type          Type
	ConnID        uint16    // connection_id
	Timestamp     Timestamp // timestamp_microseconds
	TimestampDiff uint32    // timestamp_difference_microseconds
	Window        uint32    // wnd_size, bytes
	SeqNr         SeqNr     // seq_nr
	AckNr         SeqNr     // ack_nr
}

// Packet is a parsed datagram. Its slices point into the datagram.
type Packet struct {
	Header
	Extensions Extensions
	Payload    []byte
}

// Parse reads one datagram into p. It reports false, leaving p undefined, for
// everything that is not uTP: a short datagram, another version, an unknown
// type, or an extension chain that is too long or leaves the datagram.
// It keeps no reference to b beyond p's own and allocates nothing.
func (p *Packet) Parse(b []byte) bool {
	if len(b) < HeaderSize || b[0]&0x0f != version || Type(b[0]>>4) > Syn {
		return false
	}
	// type, version
	p.Type = Type(b[0] >> 4)
	// connection_id
	p.ConnID = binary.BigEndian.Uint16(b[2:])
	// timestamp_microseconds
	p.Timestamp = Timestamp(binary.BigEndian.Uint32(b[4:]))
	// timestamp_difference_microseconds
	p.TimestampDiff = binary.BigEndian.Uint32(b[8:])
	// wnd_size
	p.Window = binary.BigEndian.Uint32(b[12:])
	// seq_nr
	p.SeqNr = SeqNr(binary.BigEndian.Uint16(b[16:]))
	// ack_nr
	p.AckNr = SeqNr(binary.BigEndian.Uint16(b[18:]))
	// extension
	if b[1] == 0 {
		p.Extensions = Extensions{}
		p.Payload = b[HeaderSize:]
		return true
	}
	n, ok := chainLen(b[1], b[HeaderSize:])
	if !ok {
		return false
	}
	p.Extensions = Extensions{first: b[1], chain: b[HeaderSize : HeaderSize+n]}
	p.Payload = b[HeaderSize+n:]
	return true
}

// Put writes h into the first HeaderSize bytes of b, with firstExtension as
// the type of the first extension (zero: none).
func (h *Header) Put(b []byte, firstExtension byte) {
	_ = b[HeaderSize-1]
	b[0] = byte(h.Type)<<4 | version
	b[1] = firstExtension
	binary.BigEndian.PutUint16(b[2:], h.ConnID)
	binary.BigEndian.PutUint32(b[4:], uint32(h.Timestamp))
	binary.BigEndian.PutUint32(b[8:], h.TimestampDiff)
	binary.BigEndian.PutUint32(b[12:], h.Window)
	binary.BigEndian.PutUint16(b[16:], uint16(h.SeqNr))
	binary.BigEndian.PutUint16(b[18:], uint16(h.AckNr))
}
