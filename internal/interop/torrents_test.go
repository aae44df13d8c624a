//go:build interop

package interop

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"utppunch/utp"
)

// eachTorrent runs a test with libtorrent in both roles, one after the other unless t is a parallel test.
func eachTorrent(t *testing.T, what string, test func(t *testing.T, s *torrents)) {
	for _, r := range []role{weDial, weListen} {
		t.Run(r.String(), func(t *testing.T) {
			test(t, &torrents{line: newLine(t, "libtorrent", r, what)})
		})
	}
}

// torrents is one test with libtorrent in one role.
type torrents struct {
	line
}

// start starts what the test has not.
func (s *torrents) start() {
	s.t.Helper()
	if s.child == nil {
		// Debian's package is for Debian's Python, whatever else is in the path.
		s.child = startChild(s.t, "/usr/bin/python3", "torrents.py")
	}
	s.open(func() int {
		s.child.send("listen")
		return number(s.t, s.child.await("listening"))
	})
}

// add gives libtorrent a torrent: what it is to do is "seed" or "fetch".
func (s *torrents) add(what string, f *torrent) {
	s.t.Helper()
	s.start()
	s.child.send("%s %s %s", what, f.file, f.dir)
	s.child.await("added", f.String())
}

// theirs makes a torrent for them to give to us, ours one for us to give to them.
func (s *torrents) theirs(n int64, seed uint64) *torrent {
	s.t.Helper()
	f := newTorrent(s.t, n, seed, true)
	s.add("seed", f)
	return f
}

func (s *torrents) ours(n int64, seed uint64) *torrent {
	s.t.Helper()
	f := newTorrent(s.t, n, seed, false)
	s.add("fetch", f)
	return f
}

// connect opens a connection about a torrent, and has exchanged handshakes.
func (s *torrents) connect(f *torrent) (*utp.Conn, *btPeer) {
	s.t.Helper()
	s.request(f)
	c, p, err := s.meet(f)
	require.NoError(s.t, err)
	return c, p
}

// meet is connect without the request. When libtorrent dials, it may do so for a torrent that it had before.
func (s *torrents) meet(f *torrent) (*utp.Conn, *btPeer, error) {
	s.t.Helper()
	for {
		c := s.establish()
		p, err := shake(c, f)
		if errors.Is(err, errOtherTorrent) {
			require.NoError(s.t, c.Close())
			continue
		}
		return c, p, err
	}
}

// remove has libtorrent forget a torrent and its connections.
func (s *torrents) remove(f *torrent) {
	s.t.Helper()
	s.child.send("remove %v", f)
	s.child.await("removed", f.String())
}

// request has libtorrent dial, if it is to.
func (s *torrents) request(f *torrent) {
	s.t.Helper()
	if s.role == weListen {
		s.child.send("dial %v %d", f, s.port)
	}
}
