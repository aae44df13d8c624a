//go:build interop

package interop

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch"
	"utppunch/utp"
)

// role is who opens the connection.
type role int

const (
	weDial role = iota
	weListen
)

func (r role) String() string { return [...]string{"we dial", "we listen"}[r] }

// line is what a test with one peer in one role has: a Transport of ours, a process of theirs, and perhaps a relay
// between. A test sets config and path before it is opened.
type line struct {
	t    *testing.T
	role role
	cell *cell // of the table

	config      utp.Config
	path        *path         // nil: no relay
	acceptLimit time.Duration // if that is more than patience

	child     *child
	transport *utppunch.Transport
	listener  *utppunch.Listener
	relay     *relay
	port      int // where the initiator finds the acceptor
}

func newLine(t *testing.T, peer string, r role, what string) line {
	return line{t: t, role: r, cell: record(t, peer, r, what)}
}

// open opens our port, if that is still to be done, and has the acceptor listen; theirListen is how the peer does.
func (l *line) open(theirListen func() int) {
	l.t.Helper()
	if l.transport == nil {
		var err error
		l.transport, err = utppunch.Open("utp4", "127.0.0.1:0", &utppunch.Config{UTP: l.config})
		require.NoError(l.t, err)
		l.t.Cleanup(func() { l.transport.Close() })
	}
	if l.port != 0 {
		return
	}
	if l.role == weDial {
		l.port = theirListen()
	} else {
		var err error
		l.listener, err = l.transport.Listen()
		require.NoError(l.t, err)
		l.port = portOf(l.transport.Addr())
	}
	if l.path != nil {
		l.relay = newRelay(l.t, *seed, l.port, *l.path)
		l.port = l.relay.port()
	}
}

// establish dials or accepts. The connection ends with the test.
func (l *line) establish() *utp.Conn {
	l.t.Helper()
	var c *utp.Conn
	if l.role == weDial {
		conn, err := l.transport.DialContext(l.t.Context(), "utp", local(l.port).String())
		require.NoError(l.t, err)
		c = conn.(*utp.Conn)
	} else {
		stop := time.AfterFunc(max(l.acceptLimit, patience), func() { l.listener.Close() })
		conn, err := l.listener.Accept()
		require.NoError(l.t, err)
		require.True(l.t, stop.Stop())
		c = conn.(*utp.Conn)
	}
	l.t.Cleanup(func() { c.Close() })
	require.NoError(l.t, c.SetDeadline(time.Now().Add(2*patience)), "so that nothing hangs")
	return c
}

// finish waits for the end of the Transport, whose connections the test has closed: everything must be delivered.
func (l *line) finish() {
	l.t.Helper()
	ctx, cancel := timeLimit(l.t, patience)
	defer cancel()
	require.NoError(l.t, l.transport.Shutdown(ctx))
}
