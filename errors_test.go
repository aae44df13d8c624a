package utppunch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestErrorTable asks TCP and uTP the same questions and compares the answers in everything that callers branch on.
// The table is printed: go test -run TestErrorTable -v . See errorRows for its rows, and for where uTP answers
// otherwise on purpose.
func TestErrorTable(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the answers of TCP are those of Linux")
	}
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "point\t| call\t| tcp\t| utp")
	type pair struct{ point, tcp, utp, differs string }
	var pairs []pair
	for _, row := range errorRows {
		tcp, utp := row.ask(t, tcpStack{}), row.ask(t, utpStack{})
		require.Len(t, utp, len(tcp), row.point)
		for i := range tcp {
			p := pair{row.point + ": " + tcp[i].name, tcp[i].String(), utp[i].String(), tcp[i].differs}
			pairs = append(pairs, p)
			point := ""
			if i == 0 {
				point = row.point
			}
			fmt.Fprintf(w, "%s\t| %s\t| %s\t| %s\n", point, tcp[i].name, p.tcp, p.utp)
		}
	}
	require.NoError(t, w.Flush())
	t.Logf("E:x matches x by errors.Is, T is Timeout, Tmp is Temporary\n%s", text.String())
	for _, p := range pairs {
		if p.differs == "" {
			assert.Equal(t, p.tcp, p.utp, p.point)
		} else {
			assert.NotEqual(t, p.tcp, p.utp, "%s: it is meant to differ: %s", p.point, p.differs)
		}
	}
}

// errorRow is one situation. ask brings it about and returns what each call in it said.
type errorRow struct {
	point string
	ask   func(t *testing.T, s errorStack) []call
}

// call is what one call returned.
type call struct {
	name    string
	n, of   int // bytes moved, and asked for; of is 0 if the call moves none
	err     error
	differs string // why uTP is meant to differ; empty: it is not
}

func (c call) but(differs string) call {
	c.differs = differs
	return c
}

var errorSentinels = []struct {
	name string
	err  error
}{
	{"EOF", io.EOF},
	{"os.ErrDeadlineExceeded", os.ErrDeadlineExceeded},
	{"net.ErrClosed", net.ErrClosed},
	{"ECONNRESET", syscall.ECONNRESET},
	{"ECONNREFUSED", syscall.ECONNREFUSED},
	{"EPIPE", syscall.EPIPE},
	{"ETIMEDOUT", syscall.ETIMEDOUT},
	{"EADDRINUSE", syscall.EADDRINUSE},
	{"context.Canceled", context.Canceled},
	{"context.DeadlineExceeded", context.DeadlineExceeded},
}

// String is all that callers can tell one error from another by: how much was done, the type, Op, the text but for
// addresses and the network's name, the sentinels, Timeout and Temporary.
func (c call) String() string {
	var b strings.Builder
	switch {
	case c.of == 0 || c.n == c.of && c.err == nil:
	case c.n == 0:
		b.WriteString("none, ")
	case c.n < c.of:
		b.WriteString("some, ")
	}
	switch {
	case c.err == nil:
		return b.String() + "ok"
	case c.err == io.EOF:
		return b.String() + "bare io.EOF"
	}
	op, ok := c.err.(*net.OpError)
	if !ok {
		return fmt.Sprintf("%sa %T: %v", b.String(), c.err, c.err)
	}
	fmt.Fprintf(&b, "%s: %v", op.Op, op.Err)
	for _, s := range errorSentinels {
		if errors.Is(c.err, s.err) {
			b.WriteString(" E:" + s.name)
		}
	}
	// By a type assertion, as crypto/tls and net/http do.
	if e, ok := c.err.(net.Error); ok && e.Timeout() {
		b.WriteString(" T")
	}
	if e, ok := c.err.(interface{ Temporary() bool }); ok && e.Temporary() {
		b.WriteString(" Tmp")
	}
	return b.String()
}

// What the text of an OpError begins with is uTP's own; it has to name the network and the addresses.
func TestErrorsNameAddresses(t *testing.T) {
	server, client := openPair(t)
	c, peer := mustConnect(t, server, client)
	route := c.LocalAddr().String() + "->" + c.RemoteAddr().String()
	require.NoError(t, peer.SetLinger(0))
	require.NoError(t, peer.Close())
	_, err := c.Read(make([]byte, 1))
	require.EqualError(t, err, "read utp "+route+": read: connection reset by peer")
	_, err = c.Write(make([]byte, 1))
	require.EqualError(t, err, "write utp "+route+": write: broken pipe")

	_, err = client.DialContext(t.Context(), "tcp", server.Addr().String())
	require.EqualError(t, err, "dial utp "+server.Addr().String()+": connect: connection refused")

	l := listen(t, server)
	require.NoError(t, l.Close())
	_, err = l.Accept()
	require.EqualError(t, err, "accept utp "+server.Addr().String()+": use of closed network connection")
}
