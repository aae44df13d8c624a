package wire

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// parseChain parses a STATE whose first extension is of type first and whose
// chain and payload are tail.
func parseChain(first byte, tail ...byte) (Packet, bool) {
	b := make([]byte, HeaderSize, HeaderSize+len(tail))
	(&Header{Type: State}).Put(b, first)
	var p Packet
	ok := p.Parse(append(b, tail...))
	return p, ok
}

func TestChainOverrun(t *testing.T) {
	for _, tt := range []struct {
		name string
		tail string
	}{
		{"nothing where the element should be", ""},
		{"half an element header", "\x00"},
		{"content one byte short", "\x00\x04abc"},
		{"longest content, none of it there", "\x00\xff"},
		{"second element missing", "\x01\x01a"},
		{"second element cut in its header", "\x01\x01a\x00"},
		{"second element one byte short", "\x01\x01a\x00\x02b"},
	} {
		_, ok := parseChain(ExtSelectiveAck, []byte(tt.tail)...)
		require.False(t, ok, tt.name)
	}
}

// TestChainCannotLoop: every element is at least two bytes, so the worst chain
// runs into the end of the datagram; and it is cut long before.
func TestChainCannotLoop(t *testing.T) {
	for size := range 2000 {
		_, ok := parseChain(1, bytes.Repeat([]byte{1, 0}, size)...)
		require.False(t, ok, "%d elements without an end", size)
	}
}

func TestChainCap(t *testing.T) {
	chain := func(n int) []byte {
		tail := bytes.Repeat([]byte{7, 1, 'x'}, n)
		tail[3*(n-1)] = 0
		return append(tail, "payload"...)
	}
	for n := 1; n <= maxExtensions; n++ {
		p, ok := parseChain(7, chain(n)...)
		require.True(t, ok, "%d elements", n)
		require.Len(t, elements(p.Extensions), n)
		require.Equal(t, "payload", string(p.Payload))
	}
	for _, n := range []int{maxExtensions + 1, maxExtensions + 2, 400} {
		_, ok := parseChain(7, chain(n)...)
		require.False(t, ok, "%d elements", n)
	}
	// We must be able to say all that we say ourselves: half of the sequence
	// space, in full elements.
	require.LessOrEqual(t, (1<<15+SackPackets-1)/SackPackets, maxExtensions)
}

// TestUnknownTypesAreSkipped: whatever stands around it, what we know is found.
func TestUnknownTypesAreSkipped(t *testing.T) {
	var hello [HelloSize]byte
	Hello{Version: 3, Capabilities: 0x010203}.Put(hello[:])
	want := []element{
		{3, "\x00\x00\x01\x00"}, // libtorrent's close reason, first
		{4, ""},
		{ExtSelectiveAck, "mask"},
		{255, strings.Repeat("z", 255)},
		{ExtBits, string(hello[:])},
		{ExtSelectiveAck, "more"},
	}
	p, ok := parseChain(0)
	require.True(t, ok)
	require.Empty(t, elements(p.Extensions))

	b := put(t, Header{Type: Syn}, want, "")
	require.True(t, p.Parse(b))
	require.Equal(t, want, elements(p.Extensions))
	got, ok := p.Extensions.Hello()
	require.True(t, ok)
	require.Equal(t, Hello{Version: 3, Capabilities: 0x010203}, got)
}

func TestFirstExtensionMayBeOfAnyType(t *testing.T) {
	for typ := 1; typ < 256; typ++ {
		p, ok := parseChain(byte(typ), 0, 1, 'a', 'b')
		require.True(t, ok, "type %d", typ)
		require.Equal(t, []element{{byte(typ), "a"}}, elements(p.Extensions))
		require.Equal(t, "b", string(p.Payload))
	}
}

// TestSackOfAnyLength: libtorrent's masks are not a multiple of 4, and nothing
// forbids an empty one.
func TestSackOfAnyLength(t *testing.T) {
	for n := range 256 {
		mask := strings.Repeat("\x55", n)
		p, ok := parseChain(ExtSelectiveAck, append([]byte{0, byte(n)}, mask+"!"...)...)
		require.True(t, ok, "%d bytes", n)
		require.Equal(t, []element{{ExtSelectiveAck, mask}}, elements(p.Extensions))
		require.Equal(t, "!", string(p.Payload))
	}
}

func TestAllStopsWhenToldTo(t *testing.T) {
	p, ok := parseChain(1, 2, 1, 'a', 3, 1, 'b', 0, 1, 'c')
	require.True(t, ok)
	var seen []byte
	for typ := range p.Extensions.All() {
		seen = append(seen, typ)
		if typ == 2 {
			break
		}
	}
	require.Equal(t, []byte{1, 2}, seen)
}

func TestHelloBothWays(t *testing.T) {
	for _, tt := range []struct {
		hello Hello
		hex   string
	}{
		{Hello{Version: 1}, "75545021 01 000000"},
		{Hello{Version: 1, Capabilities: 1}, "75545021 01 000001"},
		{Hello{Version: 255, Capabilities: 0xabcdef}, "75545021 ff abcdef"},
	} {
		buf := bytes.Repeat([]byte{0xa5}, 12)
		tt.hello.Put(buf)
		require.Equal(t, append(unhex(t, tt.hex), 0xa5, 0xa5, 0xa5, 0xa5), buf)
		p, ok := parseChain(ExtBits, append([]byte{0, HelloSize}, buf[:HelloSize]...)...)
		require.True(t, ok)
		got, ok := p.Extensions.Hello()
		require.True(t, ok)
		require.Equal(t, tt.hello, got)
	}
}

func TestHelloCapabilitiesAreCut(t *testing.T) {
	buf := make([]byte, HelloSize)
	Hello{Version: 1, Capabilities: 0xff_123456}.Put(buf)
	require.Equal(t, unhex(t, "75545021 01 123456"), buf)
}

// TestNoHello lists what is in the place of a Hello and is none; the packet
// itself is fine in every case.
func TestNoHello(t *testing.T) {
	for _, tt := range []struct {
		name  string
		first byte
		tail  string
	}{
		{"no extension", 0, ""},
		{"transmission's zeros", ExtBits, "\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"version 0", ExtBits, "\x00\x08uTP!\x00\x00\x00\x01"},
		{"another magic", ExtBits, "\x00\x08uTP?\x01\x00\x00\x00"},
		{"empty", ExtBits, "\x00\x00"},
		{"too short", ExtBits, "\x00\x07uTP!\x01\x00\x00"},
		{"too long", ExtBits, "\x00\x09uTP!\x01\x00\x00\x00\x00"},
		{"in another extension", 3, "\x00\x08uTP!\x01\x00\x00\x00"},
		{"in a selective acknowledgement", ExtSelectiveAck, "\x00\x08uTP!\x01\x00\x00\x00"},
	} {
		p, ok := parseChain(tt.first, []byte(tt.tail)...)
		require.True(t, ok, tt.name)
		_, ok = p.Extensions.Hello()
		require.False(t, ok, tt.name)
	}
	// One that is none does not hide one that is.
	p, ok := parseChain(ExtBits, []byte("\x02\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08uTP!\x02\x00\x00\x07")...)
	require.True(t, ok)
	got, ok := p.Extensions.Hello()
	require.True(t, ok)
	require.Equal(t, Hello{Version: 2, Capabilities: 7}, got)
}

// TestSackElementBounds keeps the constants true to what they say.
func TestSackElementBounds(t *testing.T) {
	require.Zero(t, MaxSackBytes%4, "BEP 29: a multiple of 4")
	require.LessOrEqual(t, MaxSackBytes, 255, "a length byte says it")
	require.Greater(t, MaxSackBytes+4, 255, "and no longer one")
	require.Equal(t, 2016, SackPackets)
}
