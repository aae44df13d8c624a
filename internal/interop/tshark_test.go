//go:build interop

package interop

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch"
	"utppunch/utp"
)

// The ports that captures show, whatever the real ones were.
const (
	dialPort   = 50001
	listenPort = 50002
)

// writePcap writes packets as they would look on a wire: in IPv4 and UDP, from 192.0.2.1 and 192.0.2.2.
func writePcap(t *testing.T, packets []captured) string {
	t.Helper()
	le := binary.LittleEndian
	// A header of version 2.4 with snapshots of any length, of raw IP packets.
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint32(le.AppendUint32(b, 1<<16), 101)
	for _, p := range packets {
		packet := ipv4(p)
		b = le.AppendUint32(b, uint32(p.at.Unix()))
		b = le.AppendUint32(b, uint32(p.at.Nanosecond()/1000))
		b = le.AppendUint32(b, uint32(len(packet)))
		b = le.AppendUint32(b, uint32(len(packet)))
		b = append(b, packet...)
	}
	name := filepath.Join(t.TempDir(), "capture.pcap")
	require.NoError(t, os.WriteFile(name, b, 0o600))
	return name
}

func ipv4(p captured) []byte {
	from, to, fromPort, toPort := byte(1), byte(2), uint16(dialPort), uint16(listenPort)
	if p.d == toClient {
		from, to, fromPort, toPort = to, from, toPort, fromPort
	}
	be := binary.BigEndian
	b := []byte{0x45, 0}
	b = be.AppendUint16(b, uint16(28+len(p.data)))
	b = append(b, 0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, from, 192, 0, 2, to)
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(be.Uint16(b[i:]))
	}
	be.PutUint16(b[10:], ^uint16(sum+sum>>16))
	b = be.AppendUint16(be.AppendUint16(b, fromPort), toPort)
	b = be.AppendUint16(b, uint16(8+len(p.data)))
	b = append(b, 0, 0) // no checksum
	return append(b, p.data...)
}

// dissect has Wireshark read a capture, and returns the fields of each packet. Nothing in it may be malformed, and
// nothing may be remarked on.
func dissect(t *testing.T, file string, fields ...string) [][]string {
	t.Helper()
	run := func(args ...string) string {
		cmd := exec.Command("tshark", append([]string{"-r", file, "-d", fmt.Sprintf("udp.port==%d,bt-utp", listenPort)}, args...)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, "%s; internal/interop/install.sh installs tshark", &stderr)
		return string(out)
	}
	assert.Empty(t, run("-Y", "_ws.malformed || _ws.expert || !bt-utp"), "what Wireshark does not like")
	args := []string{"-T", "fields"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	var rows [][]string
	for line := range strings.Lines(run(args...)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows
}

// TestWireshark has all kinds of our packets dissected: SYN, DATA, STATE with selective acknowledgements, FIN, RESET.
func TestWireshark(t *testing.T) {
	for dialect, kinds := range map[utp.Dialect][]string{
		utp.AutoDialect: {"SYN with extension 2", "STATE with extension 2", "DATA", "STATE", "STATE with extension 1", "FIN", "RESET"},
		utp.UTPPunch:    {"SYN", "DATA", "STATE", "FIN", "RESET"},
	} {
		t.Run(dialect.String(), func(t *testing.T) { dissected(t, conversation(t, dialect), kinds) })
	}
}

// dissected compares what Wireshark says of packets with what they are. Among them are those kinds.
func dissected(t *testing.T, packets []captured, kinds []string) {
	t.Helper()
	rows := dissect(t, writePcap(t, packets), "bt-utp.type", "bt-utp.ver", "bt-utp.connection_id", "bt-utp.seq_nr",
		"bt-utp.ack_nr", "bt-utp.wnd_size", "bt-utp.timestamp_us", "bt-utp.timestamp_diff_us", "bt-utp.next_extension_type",
		"bt-utp.extension_len")
	require.Len(t, rows, len(packets))
	seen := make(map[string]int)
	for i, row := range rows {
		h, ok := parseHeader(packets[i].data)
		require.True(t, ok)
		want := []string{number16(h.typ), "1", number16(h.id), number16(h.seq), number16(h.ack), number32(h.window),
			number32(h.timestamp), number32(h.diff)}
		require.Equal(t, want, row[:len(want)], "packet %d", i)
		seen[h.typ.String()]++
		if h.ext != 0 {
			length := strconv.Itoa(int(packets[i].data[21]))
			require.Equal(t, []string{fmt.Sprint(h.ext, ",0"), length}, row[len(want):], "packet %d", i)
			seen[h.typ.String()+" with extension "+strconv.Itoa(int(h.ext))]++
		}
	}
	t.Log(seen)
	for _, kind := range kinds {
		assert.NotZero(t, seen[kind], kind)
	}
}

func number16[T ~uint8 | ~uint16](n T) string { return strconv.Itoa(int(n)) }
func number32(n uint32) string                { return strconv.FormatUint(uint64(n), 10) }

// conversation is a transfer between two Transports, with losses, and a connection that is reset.
func conversation(t *testing.T, dialect utp.Dialect) []captured {
	t.Helper()
	open := func() *utppunch.Transport {
		tr, err := utppunch.Open("utp4", "127.0.0.1:0", &utppunch.Config{UTP: utp.Config{Dialect: dialect}})
		require.NoError(t, err)
		t.Cleanup(func() { tr.Close() })
		return tr
	}
	server, client := open(), open()
	l, err := server.Listen()
	require.NoError(t, err)
	r := newRelay(t, *seed, portOf(server.Addr()), path{delay: 5 * time.Millisecond, loss: 0.05})
	r.capture.whole = true
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	dial := func() *utp.Conn {
		c, err := client.DialContext(t.Context(), "utp", local(r.port()).String())
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		return c.(*utp.Conn)
	}
	c := dial()
	size := int64(300 << 10)
	if dialect == utp.UTPPunch {
		size = 50 << 10 // without selective acknowledgements it takes long
	}
	exchange(t, c, size, randomDigest(size, 1))
	require.NoError(t, c.Close())
	c = dial()
	require.NoError(t, c.SetLinger(0))
	require.NoError(t, c.Close())
	ctx, cancel := timeLimit(t, patience)
	defer cancel()
	require.NoError(t, client.Shutdown(ctx))
	waitFor(t, "the RESET has passed", func() bool {
		return slices.ContainsFunc(r.capture.all(), func(p captured) bool { h, _ := parseHeader(p.data); return h.typ == typReset })
	})
	require.NoError(t, server.Close())
	return r.capture.all()
}
