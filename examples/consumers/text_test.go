package consumers

import (
	"bufio"
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestServerSpeaksFirst has servers greet and hang up at once. The clients never
// say a word.
func TestServerSpeaksFirst(t *testing.T) {
	greeting := pattern(100_000, 40)
	l := serve(t, func(c net.Conn) {
		c.Write(greeting)
		c.Close()
	})
	port := open(t)
	await(t, launch(50, func(int) error {
		c, err := port.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		got, err := io.ReadAll(c)
		if err == nil && !bytes.Equal(greeting, got) {
			err = fmt.Errorf("%d bytes that are not what was sent", len(got))
		}
		return err
	}))
	require.EqualValues(t, 50, l.accepted.Load())
}

// TestLines sends lines and wants each of them back, the last one without an end:
// first one by one, and then as fast as they can be written.
func TestLines(t *testing.T) {
	l := serve(t, func(c net.Conn) {
		defer c.Close()
		lines, w := bufio.NewScanner(c), bufio.NewWriter(c)
		for lines.Scan() {
			fmt.Fprintln(w, strings.ToUpper(lines.Text()))
			w.Flush()
		}
	})
	c := dial(t, l.Addr())
	r := bufio.NewReader(c)
	line := func(i int) string { return fmt.Sprintf("line %d %x", i, pattern(i%100, uint64(i))) }
	next := func(i int) error {
		got, err := r.ReadString('\n')
		if err == nil && got != strings.ToUpper(line(i))+"\n" {
			err = fmt.Errorf("line %d is %q", i, got)
		}
		return err
	}
	for i := range 500 {
		_, err := fmt.Fprintln(c, line(i))
		require.NoError(t, err)
		require.NoError(t, next(i))
	}
	const n = 10_000
	sent := start(func() error {
		w := bufio.NewWriterSize(c, 100) // many small writes
		for i := range n {
			if i > 0 {
				w.WriteByte('\n')
			}
			w.WriteString(line(i))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		return closeWrite(c)
	})
	for i := range n {
		require.NoError(t, next(i))
	}
	require.NoError(t, receive(t, sent, "the lines to be sent"))
	_, err := r.ReadByte()
	require.Equal(t, io.EOF, err)
}

// TestCloseDelivers closes connections right after writing: everything arrives.
func TestCloseDelivers(t *testing.T) {
	received := make(chan []byte)
	l := serve(t, func(c net.Conn) {
		defer c.Close()
		all, err := io.ReadAll(c)
		if err != nil {
			all = []byte(err.Error())
		}
		received <- all
	})
	for i := range 20 {
		data := pattern(i*i*5000, uint64(i))
		c := dial(t, l.Addr())
		_, err := c.Write(data)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		got := receive(t, received, "what was written")
		require.True(t, bytes.Equal(data, got), "sent %d bytes, received %d", len(data), len(got))
	}
}

// gobMessage has a bit of everything that encoding/gob encodes.
type gobMessage struct {
	Number int
	Name   string
	Data   []byte
	Parts  []gobPart
	Counts map[string]int
}

type gobPart struct {
	X, Y float64
	Next *gobPart
}

// TestGob exchanges values, one by one and many on the way.
func TestGob(t *testing.T) {
	message := func(i int) gobMessage {
		return gobMessage{
			Number: i + 1,
			Name:   fmt.Sprint("message ", i),
			Data:   pattern(1+i*10, uint64(i)),
			Parts:  []gobPart{{X: 1.5, Next: &gobPart{Y: float64(i + 1)}}},
			Counts: map[string]int{"a": 1, "b": i + 1},
		}
	}
	l := serve(t, func(c net.Conn) {
		defer c.Close()
		in, out := gob.NewDecoder(c), gob.NewEncoder(c)
		for {
			var m gobMessage
			if in.Decode(&m) != nil || out.Encode(m) != nil {
				return
			}
		}
	})
	c := dial(t, l.Addr())
	in, out := gob.NewDecoder(c), gob.NewEncoder(c)
	expect := func(i int) {
		t.Helper()
		var got gobMessage
		require.NoError(t, in.Decode(&got))
		require.Equal(t, message(i), got)
	}
	for i := range 200 {
		require.NoError(t, out.Encode(message(i)))
		expect(i)
	}
	const n = 1000
	sent := start(func() error {
		for i := range n {
			if err := out.Encode(message(i)); err != nil {
				return err
			}
		}
		return closeWrite(c)
	})
	for i := range n {
		expect(i)
	}
	require.NoError(t, receive(t, sent, "the messages to be sent"))
	require.Equal(t, io.EOF, in.Decode(new(gobMessage)))
}
