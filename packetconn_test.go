package utppunch_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/internal/simnet"
)

// stunCookie is the magic cookie of RFC 8489.
const stunCookie = 0x2112A442

// stunRequest is a Binding request with an attribute.
func stunRequest() []byte {
	b := binary.BigEndian.AppendUint16(nil, 0x0001) // Binding request
	b = binary.BigEndian.AppendUint16(b, 8)
	b = binary.BigEndian.AppendUint32(b, stunCookie)
	b = append(b, "transaction1"...)
	b = binary.BigEndian.AppendUint16(b, 0x8022) // SOFTWARE
	b = binary.BigEndian.AppendUint16(b, 4)
	return append(b, "test"...)
}

// stunResponse is a Binding response with the address of who asked, and attributes after it.
func stunResponse(more ...byte) []byte {
	return stunSuccess(0x0020, more) // XOR-MAPPED-ADDRESS
}

// stunSuccess is a Binding success response that begins with an address, in an attribute of that type.
func stunSuccess(typ uint16, more []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0x0101)
	b = binary.BigEndian.AppendUint16(b, uint16(12+len(more)))
	b = binary.BigEndian.AppendUint32(b, stunCookie)
	b = append(b, "transaction1"...)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, 8)
	b = append(b, 0, 1, 0x12, 0x34, 1, 2, 3, 4)
	return append(b, more...)
}

// dnsQuery asks for example.com A.
func dnsQuery() []byte {
	b := []byte{0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0}
	b = append(b, "\x07example\x03com\x00"...)
	return append(b, 0, 1, 0, 1)
}

// forgedTimestamp tells packets made by utpHeader from those that a Transport sends.
const forgedTimestamp = 1

// utpHeader is the header of a uTP packet, of which type, version and first extension make the first two bytes.
func utpHeader(first, extension byte, connID, seq, ack uint16) []byte {
	b := []byte{first, extension}
	b = binary.BigEndian.AppendUint16(b, connID)
	b = binary.BigEndian.AppendUint32(b, forgedTimestamp)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, 1<<20)
	b = binary.BigEndian.AppendUint16(b, seq)
	return binary.BigEndian.AppendUint16(b, ack)
}

// TestPacketConnPasses all that is not uTP, and nothing that is.
func TestPacketConnPasses(t *testing.T) {
	tr := open(t, "utp4", "127.0.0.1:0")
	pc := tr.PacketConn()
	require.True(t, pc == tr.PacketConn(), "there is one")
	outsider, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer outsider.Close()

	for name, text := range map[string][]byte{
		"nothing":       {},
		"a byte":        {1},
		"text":          []byte("hello"),
		"STUN request":  stunRequest(),
		"STUN response": stunResponse(),
		// These two are valid uTP, too.
		"STUN response, MAPPED-ADDRESS": stunSuccess(0x0001, nil),
		"STUN response, long":           stunResponse(append([]byte{0x80, 0x22, 0, 60}, make([]byte, 60)...)...),
		"DNS":                           dnsQuery(),
		"as large as it gets":           random(1, 65507),
		"uTP, cut short":                utpHeader(0x01, 0, 1, 1, 1)[:19],
		"uTP version 0":                 utpHeader(0x00, 0, 1, 1, 1),
		"uTP version 2":                 utpHeader(0x02, 0, 1, 1, 1),
		"uTP type 5":                    utpHeader(0x51, 0, 1, 1, 1),
		"uTP, extension missing":        utpHeader(0x21, 1, 1, 1, 1),
		"uTP, extension too long":       append(utpHeader(0x21, 1, 1, 1, 1), 0, 4, 1, 2, 3),
		"uTP, second one missing":       append(utpHeader(0x21, 1, 1, 1, 1), 2, 4, 1, 2, 3, 4),
		"uTP, chain that never ends":    append(utpHeader(0x21, 1, 1, 1, 1), make66Extensions()...),
	} {
		_, err := outsider.WriteTo(text, pc.LocalAddr())
		require.NoError(t, err, name)
		b := make([]byte, 64<<10)
		require.NoError(t, pc.SetReadDeadline(time.Now().Add(patience)))
		n, from, err := pc.ReadFrom(b)
		require.NoError(t, err, name)
		require.True(t, string(b[:n]) == string(text), name)
		require.Equal(t, outsider.LocalAddr().String(), from.String(), name)
		require.IsType(t, (*net.UDPAddr)(nil), from, name)
	}

	before := tr.Stats()
	lookAlikes := [][]byte{
		utpHeader(0x01, 0, 1, 1, 1),
		append(utpHeader(0x01, 0, 1, 1, 1), "data"...),
		append(utpHeader(0x21, 1, 1, 1, 1), 0, 4, 1, 2, 3, 4),
		append(utpHeader(0x21, 77, 1, 1, 1), 0, 0),
	}
	for _, b := range lookAlikes {
		_, err := outsider.WriteTo(b, pc.LocalAddr())
		require.NoError(t, err)
	}
	waitFor(t, "they are taken for uTP", func() bool {
		return tr.Stats().Unroutable == before.Unroutable+uint64(len(lookAlikes))
	})
	require.Equal(t, before.Foreign, tr.Stats().Foreign)
}

// make66Extensions is a well-formed chain, but one that no honest peer sends.
func make66Extensions() []byte {
	var b []byte
	for range 65 {
		b = append(b, 1, 0)
	}
	return append(b, 0, 0)
}

func TestPacketConnWriteTo(t *testing.T) {
	tr := open(t, "utp", ":0")
	pc := tr.PacketConn()
	go echoDatagrams(pc)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		outsider, err := net.ListenPacket("udp", address)
		if address == "[::1]:0" && err != nil {
			continue
		}
		require.NoError(t, err)
		defer outsider.Close()
		to := outsider.LocalAddr().(*net.UDPAddr)
		for _, addr := range []net.Addr{to, addrPortOnly{to.AddrPort()}} {
			_, err := pc.WriteTo([]byte("hello"), addr)
			require.NoError(t, err)
			b := make([]byte, 10)
			require.NoError(t, outsider.SetReadDeadline(time.Now().Add(patience)))
			n, _, err := outsider.ReadFrom(b)
			require.NoError(t, err)
			require.Equal(t, "hello", string(b[:n]))
		}
	}
	_, err := pc.WriteTo([]byte("x"), &net.UnixAddr{Name: "/tmp/x", Net: "unixgram"})
	require.ErrorContains(t, err, "/tmp/x")
	_, err = pc.WriteTo(make([]byte, 70_000), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
	require.ErrorContains(t, err, "127.0.0.1:9")
	for _, addr := range []net.Addr{nil, (*net.UDPAddr)(nil)} {
		_, err = pc.WriteTo([]byte("x"), addr)
		require.ErrorContains(t, err, "address")
	}
}

// addrPortOnly is an address as others may write it.
type addrPortOnly struct{ ap netip.AddrPort }

func (a addrPortOnly) Network() string          { return "udp" }
func (a addrPortOnly) String() string           { return a.ap.String() }
func (a addrPortOnly) AddrPort() netip.AddrPort { return a.ap }

// TestPacketConnIsBounded: what nobody reads does not pile up, and what nobody asked for is not kept at all.
func TestPacketConnIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, sender, _ := simulated(t, 1, simnet.Link{}, nil)
		send := func(n int) {
			for range n {
				_, err := sender.PacketConn().WriteTo([]byte("hello"), tr.Addr())
				require.NoError(t, err)
				synctest.Wait()
			}
		}
		send(10)
		require.EqualValues(t, 0, tr.Stats().Foreign)
		require.EqualValues(t, 10, tr.Stats().ForeignDropped, "nobody has called PacketConn")

		pc := tr.PacketConn()
		send(1000)
		require.EqualValues(t, 256, tr.Stats().Foreign)
		require.EqualValues(t, 10+1000-256, tr.Stats().ForeignDropped)
		for range 256 {
			_, _, err := pc.ReadFrom(make([]byte, 10))
			require.NoError(t, err)
		}
		send(1)
		n, _, err := pc.ReadFrom(make([]byte, 2))
		require.NoError(t, err)
		require.Equal(t, 2, n, "what does not fit is cut off")
	})
}

func TestPacketConnDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, sender, _ := simulated(t, 1, simnet.Link{}, nil)
		pc := tr.PacketConn()
		readFrom := func() error {
			_, _, err := pc.ReadFrom(make([]byte, 10))
			return err
		}
		timedOut := func(after time.Duration, why string) {
			t.Helper()
			start := time.Now()
			err := readFrom()
			require.ErrorIs(t, err, os.ErrDeadlineExceeded, why)
			require.True(t, err.(net.Error).Timeout(), why)
			require.Equal(t, after, time.Since(start), why)
		}
		require.NoError(t, pc.SetReadDeadline(time.Now().Add(time.Second)))
		timedOut(time.Second, "at the deadline")
		timedOut(0, "again")

		_, err := sender.PacketConn().WriteTo([]byte("hello"), tr.Addr())
		require.NoError(t, err)
		synctest.Wait()
		timedOut(0, "even though a datagram is there")
		require.NoError(t, pc.SetReadDeadline(time.Time{}))
		require.NoError(t, readFrom(), "it was kept")

		require.NoError(t, pc.SetDeadline(time.Now().Add(-time.Hour)))
		timedOut(0, "in the past")
		require.NoError(t, pc.SetDeadline(time.Now().Add(time.Hour)))
		time.AfterFunc(time.Second, func() { pc.SetReadDeadline(time.Now().Add(time.Second)) })
		timedOut(2*time.Second, "moved to earlier while ReadFrom waits")
		require.NoError(t, pc.SetReadDeadline(time.Now().Add(time.Second)))
		time.AfterFunc(time.Second/2, func() { pc.SetReadDeadline(time.Now().Add(time.Minute)) })
		timedOut(time.Minute+time.Second/2, "moved to later while ReadFrom waits")

		require.NoError(t, pc.SetWriteDeadline(time.Time{}))
		require.ErrorIs(t, pc.SetWriteDeadline(time.Now()), os.ErrNoDeadline)

		require.NoError(t, pc.SetReadDeadline(time.Time{}))
		time.AfterFunc(time.Second, func() { pc.Close() })
		require.ErrorIs(t, readFrom(), net.ErrClosed)
		require.ErrorIs(t, pc.Close(), net.ErrClosed)
		_, err = pc.WriteTo([]byte("x"), sender.Addr())
		require.ErrorIs(t, err, net.ErrClosed)

		_, accepted := mustConnect(t, tr, sender)
		require.NoError(t, accepted.Close(), "the port belongs to the Transport")
	})
}

// TestPacketConnDeadlineRace: a deadline that passes just as it is moved.
func TestPacketConnDeadlineRace(t *testing.T) {
	pc := open(t, "utp4", "127.0.0.1:0").PacketConn()
	for i := range 5_000 {
		at := time.Now().Add(5 * time.Microsecond)
		require.NoError(t, pc.SetReadDeadline(at))
		for late := time.Duration(i%40) * time.Microsecond; time.Since(at) < late; {
			runtime.Gosched()
		}
	}
	require.NoError(t, pc.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, _, err := pc.ReadFrom(make([]byte, 10))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}
