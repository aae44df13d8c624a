//go:build interop

package interop

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch/utp"
)

// streamPeer is an implementation whose connections are byte streams, driven by streams.js.
type streamPeer struct {
	npm  string // its argument
	name string // in the table
	// halfClose says that the peer may go on writing when we have ended our stream, and the other way round.
	halfClose bool
	keepAlive bool // it sends keepalives, within half a minute
	errors    bool // it tells its application of a RESET; others only end the stream
	bulk      int64
	dialect   utp.Dialect
}

// streamPeers is whom the tests with streams are run with.
var streamPeers = []streamPeer{
	{npm: "utp-native", name: "libutp", halfClose: true, keepAlive: true, errors: true, bulk: 64 << 20, dialect: utp.BEP29},
	{npm: "utp-punch", name: "utp-punch", keepAlive: true, bulk: 8 << 20, dialect: utp.UTPPunch},
}

// eachStream runs a test with every peer with streams, in both roles, one after the other unless t is a parallel test.
func eachStream(t *testing.T, what string, test func(t *testing.T, s *streams)) {
	for _, peer := range streamPeers {
		for _, r := range []role{weDial, weListen} {
			t.Run(peer.npm+"/"+r.String(), func(t *testing.T) {
				s := &streams{line: newLine(t, peer.name, r, what), streamPeer: peer}
				test(t, s)
			})
		}
	}
}

// streams is one test with one peer in one role.
type streams struct {
	line
	streamPeer
	quiet    bool // no greeting: see streams.js
	dialed   int
	accepted int
}

// start starts what the test has not, and says how the peer is to behave.
func (s *streams) start(behaviour string) {
	s.t.Helper()
	if s.child == nil {
		s.child = startChild(s.t, "node", "streams.js", s.npm)
	}
	s.child.send("accept %s", s.behave(behaviour))
	s.open(func() int {
		s.child.send("listen")
		return number(s.t, s.child.await("listening"))
	})
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

// exchangeBoth opens a connection on which both sides write at once, and returns it when both have ended.
//
// Where there is no half-close nobody ends before everything has arrived: utp-punch ends its stream as soon as we have
// ended ours, whatever its application still writes, and is gone 5 s after the end of its own, whatever we do.
func (s *streams) exchangeBoth(ours, theirs int64) *utp.Conn {
	s.t.Helper()
	if s.halfClose {
		c, id := s.connect(fmt.Sprintf("both %d 2", theirs))
		exchange(s.t, c, ours, randomDigest(theirs, 2))
		s.ended(id, randomDigest(ours, 1))
		return c
	}
	c, id := s.connect("hold")
	s.child.send("write %s %d 2", id, theirs)
	wrote := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, randomReader(ours, 1))
		wrote <- err
	}()
	got := newDigest()
	_, err := io.CopyN(got, c, theirs)
	assert.NoError(s.t, err, "reading, after %d bytes", got.n)
	assert.NoError(s.t, <-wrote, "writing")
	assert.Equal(s.t, randomDigest(theirs, 2), got.String(), "what the peer sent has arrived")
	s.child.await("wrote", id)
	waitFor(s.t, "all of ours is acknowledged", func() bool { return c.Stats().SendBuffered == 0 })
	exchange(s.t, c, 0, randomDigest(0, 0))
	s.ended(id, randomDigest(ours, 1))
	return c
}

// ended checks what the peer reports that it has read.
func (s *streams) ended(id, want string) {
	s.t.Helper()
	assert.Equal(s.t, want, strings.Join(s.child.await("end", id), " "), "what we sent has arrived")
}
