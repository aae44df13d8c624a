package wire

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// unhex reads hexadecimal with blanks between the fields.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	require.NoError(t, err)
	return b
}

// element is one extension as All yields it.
type element struct {
	typ     byte
	content string
}

func elements(e Extensions) []element {
	var all []element
	for typ, b := range e.All() {
		all = append(all, element{typ, string(b)})
	}
	return all
}

// put writes a whole packet over a buffer full of what must not remain, and
// returns it. Nothing behind it may be touched.
func put(t *testing.T, h Header, exts []element, payload string) []byte {
	t.Helper()
	buf := bytes.Repeat([]byte{0xa5}, 600)
	typeOf := func(i int) byte {
		if i == len(exts) {
			return 0
		}
		return exts[i].typ
	}
	h.Put(buf, typeOf(0))
	require.Equal(t, bytes.Repeat([]byte{0xa5}, 580), buf[HeaderSize:], "behind the header")
	n := HeaderSize
	for i, e := range exts {
		size := PutExtension(buf[n:], typeOf(i+1), []byte(e.content))
		require.Equal(t, 2+len(e.content), size)
		n += size
		require.Equal(t, bytes.Repeat([]byte{0xa5}, 600-n), buf[n:], "behind an extension")
	}
	return append(buf[:n:n], payload...)
}

func TestPacketBothWays(t *testing.T) {
	for _, tt := range []struct {
		name    string
		header  Header
		exts    []element
		payload string
		hex     string
	}{
		{
			name: "all zero",
			hex:  "01 00 0000 00000000 00000000 00000000 0000 0000",
		},
		{
			name:    "DATA",
			header:  Header{Data, 0x1122, 0x33445566, 0x778899aa, 0xbbccddee, 0xff01, 0x0203},
			payload: "hello",
			hex:     "01 00 1122 33445566 778899aa bbccddee ff01 0203 68656c6c6f",
		},
		{
			name:   "FIN",
			header: Header{Type: Fin, ConnID: 1, Timestamp: 2, TimestampDiff: 3, Window: 4, SeqNr: 5, AckNr: 6},
			hex:    "11 00 0001 00000002 00000003 00000004 0005 0006",
		},
		{
			name:   "STATE with a selective acknowledgement",
			header: Header{Type: State, ConnID: 0x8000, Timestamp: 1 << 31, TimestampDiff: 1 << 31, Window: 1 << 31, SeqNr: 1 << 15, AckNr: 1 << 15},
			exts:   []element{{ExtSelectiveAck, "\x01\x00\x00\x80"}},
			hex:    "21 01 8000 80000000 80000000 80000000 8000 8000 00 04 01000080",
		},
		{
			name:   "RESET, every bit set",
			header: Header{Reset, 0xffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffff, 0xffff},
			hex:    "31 00 ffff ffffffff ffffffff ffffffff ffff ffff",
		},
		{
			name:   "SYN with extension bits",
			header: Header{Type: Syn, ConnID: 0xabcd, Window: 65536, SeqNr: 1},
			exts:   []element{{ExtBits, "\x00\x00\x00\x00\x00\x00\x00\x00"}},
			hex:    "41 02 abcd 00000000 00000000 00010000 0001 0000 00 08 0000000000000000",
		},
		{
			name:    "a chain of three, the last of them empty, and payload",
			header:  Header{Type: Data, SeqNr: 7},
			exts:    []element{{3, "\x00\x00\x00\x0f"}, {ExtSelectiveAck, "\xff"}, {200, ""}},
			payload: "x",
			hex:     "01 03 0000 00000000 00000000 00000000 0007 0000 01 04 0000000f c8 01 ff 00 00 78",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := unhex(t, tt.hex)
			require.Equal(t, want, put(t, tt.header, tt.exts, tt.payload))

			// What was there before must not shine through.
			p := Packet{
				Header:     Header{Syn, 0xa5a5, 0xa5a5a5a5, 0xa5a5a5a5, 0xa5a5a5a5, 0xa5a5, 0xa5a5},
				Extensions: Extensions{first: 9, chain: []byte{0, 0}},
				Payload:    []byte("old"),
			}
			require.True(t, p.Parse(want))
			require.Equal(t, tt.header, p.Header)
			require.Equal(t, tt.exts, elements(p.Extensions))
			require.Equal(t, len(tt.exts) == 0, p.Extensions.None())
			require.Equal(t, tt.payload, string(p.Payload))
		})
	}
}

// TestTruncations cuts a packet anywhere. Within header and chain nothing
// remains of it; behind them the payload is merely shorter.
func TestTruncations(t *testing.T) {
	h := Header{Type: Data, ConnID: 1, Timestamp: 2, TimestampDiff: 3, Window: 4, SeqNr: 5, AckNr: 6}
	exts := []element{{3, "\x00\x00\x00\x0f"}, {77, ""}, {ExtSelectiveAck, strings.Repeat("\x0f", 8)}}
	whole := put(t, h, exts, "payload")
	chainEnd := len(whole) - len("payload")
	require.Equal(t, HeaderSize+6+2+10, chainEnd)
	for n := range len(whole) + 1 {
		var p Packet
		ok := p.Parse(whole[:n:n])
		require.Equal(t, n >= chainEnd, ok, "of %d bytes", n)
		if ok {
			require.Equal(t, h, p.Header)
			require.Equal(t, exts, elements(p.Extensions))
			require.Equal(t, "payload"[:n-chainEnd], string(p.Payload))
		}
	}
}

// TestParseNothing is what no length check saves one from.
func TestParseNothing(t *testing.T) {
	var p Packet
	require.False(t, p.Parse(nil))
	require.False(t, p.Parse([]byte{}))
	require.False(t, p.Parse(make([]byte, HeaderSize)))
}

// TestClassification is who else may be heard on the port, each by its first
// bytes. A uTP packet begins with 0x01, 0x11, 0x21, 0x31 or 0x41.
func TestClassification(t *testing.T) {
	rest := strings.Repeat("00", 80)
	for _, tt := range []struct {
		name, hex string
		want      bool
	}{
		{"BEP 5, DHT query", hex.EncodeToString([]byte("d1:ad2:id20:")) + rest, false},
		{"BEP 15, tracker connect", "00000417 27101980" + rest, false},
		{"DTLS ClientHello", "16fefd 0000" + rest, false},
		{"TLS ClientHello", "160301 0200 01" + rest, false},
		{"HTTP", hex.EncodeToString([]byte("GET / HTTP/1.1\r\n")) + rest, false},
		{"DNS query", "1234 0100 0001" + rest, false},
		{"QUIC, long header", "c3 00000001 08" + rest, false},
		{"QUIC, short header", "40" + rest, false},
		{"RTP", "80 60 0001" + rest, false},
		{"RTCP sender report", "80 c8 0006" + rest, false},
		{"WireGuard response", "02000000" + rest, false},
		{"WireGuard data", "04000000" + rest, false},
		{"utp-punch PUNCH", hex.EncodeToString([]byte("PUNCH")), false},
		{"utp-punch PUNCHED", hex.EncodeToString([]byte("PUNCHED")), false},
		{"STUN binding request", "0001 0000 2112a442" + strings.Repeat("7e", 12), false},

		{"uTP version 0", "00" + rest, false},
		{"uTP version 2", "02" + rest, false},
		{"type 5", "51" + rest, false},
		{"type 15", "f1" + rest, false},

		// These begin like uTP. WireGuard's handshake is ST_DATA by the letter,
		// of connection 0; a STUN response is ST_DATA with a selective
		// acknowledgement, and only its length may give it away. Hence the order
		// of tests: STUN with a transaction of ours first, then uTP.
		{"WireGuard initiation", "01000000" + rest, true},
		{"STUN binding response, short", "0101 000c 2112a442" + strings.Repeat("7e", 12) + "0020 0008 0001 a147 e112a643", false},
		{"STUN binding response, longer", "0101 0024 2112a442" + strings.Repeat("7e", 12) + "0020 0008 0001 a147 e112a643 8022 0014" + strings.Repeat("61", 20), true},
	} {
		var p Packet
		require.Equal(t, tt.want, p.Parse(unhex(t, tt.hex)), tt.name)
	}
}

// TestEveryFirstByte says which of the 256 first bytes are uTP's.
func TestEveryFirstByte(t *testing.T) {
	names := map[byte]string{0x01: "ST_DATA", 0x11: "ST_FIN", 0x21: "ST_STATE", 0x31: "ST_RESET", 0x41: "ST_SYN"}
	b := make([]byte, HeaderSize)
	for first := range 256 {
		var p Packet
		b[0] = byte(first)
		name, want := names[byte(first)]
		require.Equal(t, want, p.Parse(b), "%#x", first)
		if want {
			require.Equal(t, name, p.Type.String())
		}
	}
	require.Equal(t, "ST_INVALID", Type(5).String())
}

func TestPutNeedsRoom(t *testing.T) {
	require.Panics(t, func() { new(Header).Put(make([]byte, HeaderSize-1), 0) })
	require.NotPanics(t, func() { new(Header).Put(make([]byte, HeaderSize), 0) })
}

// TestSlicesPointIntoTheDatagram: nothing is copied, and appending to the
// payload of one datagram is the caller's own fault.
func TestSlicesPointIntoTheDatagram(t *testing.T) {
	b := put(t, Header{}, []element{{ExtSelectiveAck, "abcd"}}, "payload")
	var p Packet
	require.True(t, p.Parse(b))
	b[HeaderSize+2], b[len(b)-1] = 'A', 'D'
	require.Equal(t, []element{{ExtSelectiveAck, "Abcd"}}, elements(p.Extensions))
	require.Equal(t, "payloaD", string(p.Payload))
}

func TestParseAllocatesNothing(t *testing.T) {
	var hello [HelloSize]byte
	Hello{Version: 1}.Put(hello[:])
	b := put(t, Header{Type: State}, []element{{3, "abcd"}, {ExtSelectiveAck, "abcdefgh"}, {ExtBits, string(hello[:])}}, "payload")
	var p Packet
	sum := 0
	allocs := testing.AllocsPerRun(100, func() {
		if !p.Parse(b) {
			panic("valid packet refused")
		}
		for typ, content := range p.Extensions.All() {
			sum += int(typ) + len(content)
		}
		if _, ok := p.Extensions.Hello(); !ok {
			panic("Hello not found")
		}
		p.Put(b[:HeaderSize], 3)
	})
	require.Zero(t, allocs)
	require.NotZero(t, sum)
}

func BenchmarkParse(b *testing.B) {
	d := make([]byte, 1472)
	(&Header{Type: Data}).Put(d, 0)
	var p Packet
	b.ReportAllocs()
	for b.Loop() {
		p.Parse(d)
	}
}
