//go:build interop

package interop

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch"
	"utppunch/utp"
)

// streamPeer is an implementation whose connections are byte streams, driven by streams.js.
type streamPeer struct {
	library string // its argument
	name    string // in the table
	// halfClose says that the peer may go on writing when we have ended our stream, and the other way round.
	halfClose bool
	keepAlive bool // it sends keepalives, within half a minute
}

// streamPeers is whom the tests with streams are run with. utp-punch, whose dialect differs, is to be the next.
var streamPeers = []streamPeer{
	{library: "utp-native", name: "libutp", halfClose: true, keepAlive: true},
}

// role is who opens the connection.
type role int

const (
	weDial role = iota
	weListen
)

func (r role) String() string { return [...]string{"we dial", "we listen"}[r] }

// eachStream runs a test with every peer with streams, in both roles, one after the other unless t is a parallel test.
func eachStream(t *testing.T, what string, test func(t *testing.T, s *streams)) {
	for _, peer := range streamPeers {
		for _, r := range []role{weDial, weListen} {
			t.Run(peer.library+"/"+r.String(), func(t *testing.T) {
				s := &streams{t: t, streamPeer: peer, role: r}
				s.cell = record(t, peer.name, r, what)
				test(t, s)
			})
		}
	}
}

// streams is one test with one peer in one role: a Transport of ours, a process of theirs, and perhaps a relay between.
// The first connect starts what the test has not.
type streams struct {
	t *testing.T
	streamPeer
	role role
	cell *cell

	config      utp.Config
	acceptLimit time.Duration // if that is more than patience
	path        *path         // nil: no relay
	quiet       bool          // no greeting: see streams.js
	child       *child
	transport   *utppunch.Transport
	listener    *utppunch.Listener
	relay       *relay
	port        int // where the initiator finds the acceptor
	dialed      int
	accepted    int
}

// start does what the test has not done itself.
func (s *streams) start(behaviour string) {
	s.t.Helper()
	if s.child == nil {
		s.child = startChild(s.t, "node", "streams.js", s.library)
	}
	if s.transport == nil {
		var err error
		s.transport, err = utppunch.Open("utp4", "127.0.0.1:0", &utppunch.Config{UTP: s.config})
		require.NoError(s.t, err)
		s.t.Cleanup(func() { s.transport.Close() })
	}
	s.child.send("accept %s", s.behave(behaviour))
	if s.port != 0 {
		return
	}
	if s.role == weDial {
		s.child.send("listen")
		s.port = number(s.t, s.child.await("listening"))
	} else {
		var err error
		s.listener, err = s.transport.Listen()
		require.NoError(s.t, err)
		s.port = portOf(s.transport.Addr())
	}
	if s.path != nil {
		s.relay = newRelay(s.t, 1, s.port, *s.path)
		s.port = s.relay.port()
	}
}

func (s *streams) behave(behaviour string) string {
	if s.quiet {
		return "quiet " + behaviour
	}
	return behaviour
}

func number(t *testing.T, words []string) int {
	t.Helper()
	require.Len(t, words, 1)
	n, err := strconv.Atoi(words[0])
	require.NoError(t, err)
	return n
}

// connect opens a connection and returns our end of it, and its name for the peer. It has been greeted.
func (s *streams) connect(behaviour string) (*utp.Conn, string) {
	s.t.Helper()
	s.start(behaviour)
	id := s.request(behaviour)
	c := s.establish()
	s.greet(c)
	return c, id
}

// request has the peer dial, if it is to, and returns what it calls the connection.
func (s *streams) request(behaviour string) string {
	s.t.Helper()
	if s.role == weDial {
		s.accepted++ // it is the next that it will accept
		return fmt.Sprint("a", s.accepted)
	}
	s.dialed++
	id := fmt.Sprint("d", s.dialed)
	s.child.send("dial %s %d %s", id, s.port, s.behave(behaviour))
	return id
}

// establish dials or accepts. The connection ends with the test.
func (s *streams) establish() *utp.Conn {
	s.t.Helper()
	var c *utp.Conn
	if s.role == weDial {
		conn, err := s.transport.DialContext(s.t.Context(), "utp", local(s.port).String())
		require.NoError(s.t, err)
		c = conn.(*utp.Conn)
	} else {
		stop := time.AfterFunc(max(s.acceptLimit, patience), func() { s.listener.Close() })
		conn, err := s.listener.Accept()
		require.NoError(s.t, err)
		require.True(s.t, stop.Stop())
		c = conn.(*utp.Conn)
	}
	s.t.Cleanup(func() { c.Close() })
	require.NoError(s.t, c.SetDeadline(time.Now().Add(2*patience)), "so that nothing hangs")
	return c
}

// greet is the initiator's first byte: see streams.js.
func (s *streams) greet(c *utp.Conn) {
	s.t.Helper()
	if s.quiet {
		return
	}
	if s.role == weDial {
		_, err := c.Write([]byte("!"))
		require.NoError(s.t, err)
		return
	}
	hello := make([]byte, 1)
	_, err := io.ReadFull(c, hello)
	require.NoError(s.t, err)
	require.Equal(s.t, "!", string(hello))
}

// finish closes our end of the last connection and checks that the Transport ends, with everything delivered.
func (s *streams) finish() {
	s.t.Helper()
	ctx, cancel := timeLimit(s.t, patience)
	defer cancel()
	require.NoError(s.t, s.transport.Shutdown(ctx))
}

// exchange writes n bytes of seed 1 and ends our stream; it reads until the peer ends its own, and compares that with
// n bytes of seed 2, or, with an echo, of seed 1.
func exchange(t *testing.T, c *utp.Conn, n int64, want string) {
	t.Helper()
	wrote := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, randomReader(n, 1))
		if err == nil {
			err = c.CloseWrite()
		}
		wrote <- err
	}()
	got := newDigest()
	_, err := io.Copy(got, c)
	assert.NoError(t, err, "reading, after %d bytes", got.n)
	assert.NoError(t, <-wrote, "writing")
	assert.Equal(t, want, got.String(), "what the peer sent has arrived")
}

// ended checks what the peer reports that it has read.
func (s *streams) ended(id, want string) {
	s.t.Helper()
	assert.Equal(s.t, want, strings.Join(s.child.await("end", id), " "), "what we sent has arrived")
}
