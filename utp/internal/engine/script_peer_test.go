package engine

import (
	"slices"
	"time"

	"utppunch/utp/internal/wire"
)

// This file makes the packets of a script's peer.

// build makes the datagram that p describes.
func (tc *testConn) build(p packet) []byte {
	seq, ack := tc.peerNext, tc.peerAck
	if p.typ == wire.Syn {
		seq = 0
	}
	if n, ok := p.seq.(int); ok {
		seq = n
	}
	if n, ok := p.ack.(int); ok {
		ack = n
	}
	h := wire.Header{
		Type:          p.typ,
		ConnID:        tc.connID,
		Timestamp:     tc.now.Add(tc.peerClock).timestamp(),
		TimestampDiff: uint32(tc.peerClock/time.Microsecond) + 5000,
		Window:        uint32(tc.peerWindow),
		SeqNr:         tc.peerBase + wire.SeqNr(seq),
		AckNr:         tc.base + wire.SeqNr(ack),
	}
	if p.typ != wire.Syn && tc.acceptor != tc.utpPunch {
		h.ConnID++
	}
	if tc.utpPunch {
		h.TimestampDiff, h.Window = 0, punchWindow
	}
	if p.typ == wire.Syn {
		h.AckNr, h.TimestampDiff = 0, 0
	}
	set := func(field *uint32, v any) {
		if n, ok := v.(int); ok {
			*field = uint32(n)
		}
	}
	set(&h.TimestampDiff, p.diff)
	set(&h.Window, p.window)
	set((*uint32)(&h.Timestamp), p.timestamp)
	if n, ok := p.id.(int); ok {
		h.ConnID = uint16(n)
	}
	payload := tc.payload(p, seq)
	if p.typ == wire.Data || p.typ == wire.Fin || p.typ == wire.Syn {
		tc.peerNext = max(tc.peerNext, seq+1)
	}
	return putPacket(&h, tc.chain(p, ack), payload)
}

// unknown is how utp-punch answers a packet of a connection that it does not know.
func (tc *testConn) unknown(id uint16) packet {
	return packet{typ: wire.Reset, id: int(id), seq: -int(tc.peerBase), ack: -int(tc.base)}
}

// payload returns what packet seq of the peer carries, the same every time.
func (tc *testConn) payload(p packet, seq int) []byte {
	b, known := tc.peerPayload[seq]
	switch v := p.payload.(type) {
	case string:
		b = []byte(v)
	case int:
		b = make([]byte, v)
		fill(b, byte(seq), 0)
	default:
		if p.typ == wire.Data && !known {
			b = make([]byte, 100)
			fill(b, byte(seq), 0)
		}
	}
	if p.typ == wire.Data || p.typ == wire.Fin {
		tc.peerPayload[seq] = b
		for next, ok := tc.peerPayload[tc.peerOrdered+1]; ok; next, ok = tc.peerPayload[tc.peerOrdered+1] {
			tc.peerOrdered++
			tc.peerStream = append(tc.peerStream, next...)
		}
	}
	return b
}

// chain returns the extensions of a packet.
func (tc *testConn) chain(p packet, ack int) []extension {
	switch {
	case p.ext != nil:
		return p.ext
	case p.hello == true:
		b := make([]byte, wire.HelloSize)
		wire.Hello{Version: helloVersion}.Put(b)
		return []extension{{wire.ExtBits, b}}
	case len(p.sack) > 0:
		mask := make([]byte, (slices.Max(p.sack)-ack-2)/32*4+4)
		for _, n := range p.sack {
			mask[(n-ack-2)/8] |= 1 << ((n - ack - 2) % 8)
		}
		return []extension{{wire.ExtSelectiveAck, mask}}
	default:
		return nil
	}
}

// putPacket returns a datagram.
func putPacket(h *wire.Header, chain []extension, payload []byte) []byte {
	b := make([]byte, wire.HeaderSize)
	first := byte(0)
	for i, e := range chain {
		next := byte(0)
		if i == 0 {
			first = e.typ
		}
		if i+1 < len(chain) {
			next = chain[i+1].typ
		}
		b = append(append(b, next, byte(len(e.content))), e.content...)
	}
	h.Put(b, first)
	return append(b, payload...)
}
