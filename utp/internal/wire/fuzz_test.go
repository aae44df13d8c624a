package wire

import (
	"bytes"
	"testing"
)

// seedPackets are one valid packet of each kind, and the ways to break one.
func seedPackets() [][]byte {
	head := func(first, ext byte) []byte {
		return append([]byte{first, ext}, "\x12\x34\x00\x00\x00\x01\x00\x00\x00\x02\x00\x01\x00\x00\xff\xfe\x00\x01"...)
	}
	with := func(first, ext byte, tail string) []byte { return append(head(first, ext), tail...) }
	return [][]byte{
		nil,
		{0x01},
		head(0x01, 0)[:19],
		head(0x01, 0),
		head(0x11, 0),
		head(0x21, 0),
		head(0x31, 0),
		head(0x41, 0),
		head(0x51, 0),
		head(0x02, 0),
		with(0x01, 0, "payload"),
		with(0x21, 1, "\x00\x04\x01\x00\x00\x80"),
		with(0x21, 1, "\x00\x00"),
		with(0x21, 1, "\x01\x01\xff\x00\x01\xff"),
		with(0x41, 2, "\x00\x08uTP!\x01\x00\x00\x00"),
		with(0x41, 2, "\x00\x07uTP!\x01\x00\x00"),
		with(0x01, 3, "\x01\x04\x00\x00\x00\x0f\x00\x04abcdpayload"),
		with(0x21, 1, "\x00\xff"+string(bytes.Repeat([]byte{0xff}, 255))),
		with(0x21, 1, "\x00\xff"+string(bytes.Repeat([]byte{0xff}, 254))),
		with(0x21, 1, string(bytes.Repeat([]byte{1, 0}, 40))),
		with(0x21, 1, string(bytes.Repeat([]byte{1, 0}, 31))+"\x00\x00"),
		with(0x21, 1, string(bytes.Repeat([]byte{1, 0}, 32))+"\x00\x00"),
	}
}

// FuzzPacket parses anything. What is accepted must be the datagram and nothing
// but the datagram: written again from what was parsed, it is the same.
func FuzzPacket(f *testing.F) {
	for _, b := range seedPackets() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var p Packet
		ok := p.Parse(b)
		if !bytes.Equal(b, before) {
			t.Fatal("Parse changed the datagram")
		}
		if !ok {
			return
		}
		if len(b) < HeaderSize || p.Type > Syn {
			t.Fatalf("accepted %d bytes of type %d", len(b), p.Type)
		}
		if p.Extensions.None() != (b[1] == 0) {
			t.Fatal("None is wrong")
		}

		type content struct {
			typ byte
			b   []byte
		}
		var all []content
		for typ, b := range p.Extensions.All() {
			all = append(all, content{typ, b})
			if typ == 0 || len(b) > 255 || len(all) > maxExtensions {
				t.Fatalf("element %d: type %d, %d bytes", len(all), typ, len(b))
			}
		}
		again := bytes.Repeat([]byte{0xa5}, HeaderSize)
		typeOf := func(i int) byte {
			if i < len(all) {
				return all[i].typ
			}
			return 0
		}
		p.Put(again, typeOf(0))
		for i, e := range all {
			element := make([]byte, 2+len(e.b))
			if n := PutExtension(element, typeOf(i+1), e.b); n != len(element) {
				t.Fatalf("element of %d bytes written as %d", len(element), n)
			}
			again = append(again, element...)
		}
		if again = append(again, p.Payload...); !bytes.Equal(again, b) {
			t.Fatalf("got  %x\nwant %x", again, b)
		}

		if h, ok := p.Extensions.Hello(); ok {
			if h.Version == 0 || h.Capabilities>>24 != 0 {
				t.Fatalf("Hello %+v", h)
			}
			var want [HelloSize]byte
			h.Put(want[:])
			found := false
			for _, e := range all {
				found = found || e.typ == ExtBits && bytes.Equal(e.b, want[:])
			}
			if !found {
				t.Fatalf("Hello %+v is not in the packet", h)
			}
		}
	})
}
