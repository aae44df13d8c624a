package utp

import (
	"crypto/rand"
	"encoding/binary"

	"utppunch/utp/internal/wire"
)

// randomSource draws sequence numbers and connection ids. They are all that
// keeps an attacker who does not see the packets from forging them, so they are
// not predictable. Endpoint.mu guards it.
type randomSource struct {
	buf  [128]byte
	used int
}

func newRandomSource() *randomSource {
	r := new(randomSource)
	r.used = len(r.buf)
	return r
}

func (r *randomSource) uint16() uint16 {
	if r.used == len(r.buf) {
		rand.Read(r.buf[:]) // never fails (package crypto/rand)
		r.used = 0
	}
	v := binary.NativeEndian.Uint16(r.buf[r.used:])
	r.used += 2
	return v
}

func (r *randomSource) seqNr() wire.SeqNr { return wire.SeqNr(r.uint16()) }
