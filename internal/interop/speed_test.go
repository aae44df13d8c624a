//go:build interop

package interop

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch"
)

// TestSpeed measures goodput, one connection at a time, of us with each peer and of each with itself. With -speed only.
func TestSpeed(t *testing.T) {
	for _, way := range []struct {
		name string
		path *path
		size int64
	}{
		{"loopback", nil, 64 << 20},
		// The relay costs something itself: with no delay it is no bottleneck for anyone here but us.
		{"50 ms", &path{delay: 25 * time.Millisecond}, 16 << 20},
	} {
		if !*speed {
			// Without the flag as much as keeps the code right.
			way.size = 1 << 20
		}
		measure := func(row string, transfer func(t *testing.T) time.Duration) {
			t.Run(way.name+"/"+row, func(t *testing.T) {
				took := transfer(t)
				if *speed {
					speeds.at(fmt.Sprintf("%s, %d MiB", way.name, way.size>>20), row).note("%.1f MB/s", float64(way.size)/1e6/took.Seconds())
				}
			})
		}
		measure("we → we", func(t *testing.T) time.Duration { return weToWe(t, way.path, way.size) })
		for _, peer := range streamPeers {
			measure("we → "+peer.name, func(t *testing.T) time.Duration {
				s := &streams{line: line{t: t, path: way.path}, streamPeer: peer}
				c, id := s.connect("sink")
				start := time.Now()
				_, err := io.Copy(c, randomReader(way.size, 1))
				require.NoError(t, err)
				require.NoError(t, c.CloseWrite())
				s.ended(id, randomDigest(way.size, 1))
				return time.Since(start)
			})
			measure(peer.name+" → we", func(t *testing.T) time.Duration {
				s := &streams{line: line{t: t, path: way.path}, streamPeer: peer}
				start := time.Now()
				c, _ := s.connect(fmt.Sprintf("source %d 1", way.size))
				got := newDigest()
				_, err := io.Copy(got, c)
				require.NoError(t, err)
				assert.Equal(t, randomDigest(way.size, 1), got.String())
				return time.Since(start)
			})
			measure(peer.name+" → "+peer.name, func(t *testing.T) time.Duration {
				a, b := startChild(t, "node", "streams.js", peer.npm), startChild(t, "node", "streams.js", peer.npm)
				a.send("accept sink")
				a.send("listen")
				port := through(t, way.path, number(t, a.await("listening")))
				start := time.Now()
				b.send("dial d1 %d source %d 1", port, way.size)
				a.awaitFor(4*patience, "end", "a1")
				return time.Since(start)
			})
		}
		measure("we → libtorrent", func(t *testing.T) time.Duration {
			s := &torrents{line: line{t: t, path: way.path}}
			f := s.ours(way.size, 1)
			_, p := s.connect(f)
			start := time.Now()
			require.NoError(t, p.serve())
			s.child.await("finished", f.String())
			return time.Since(start)
		})
		measure("libtorrent → we", func(t *testing.T) time.Duration {
			s := &torrents{line: line{t: t, path: way.path}}
			_, p := s.connect(s.theirs(way.size, 1))
			start := time.Now()
			require.NoError(t, p.fetch())
			return time.Since(start)
		})
		measure("libtorrent → libtorrent", func(t *testing.T) time.Duration {
			a, b := &torrents{line: line{t: t}}, &torrents{line: line{t: t}}
			f := a.theirs(way.size, 1)
			empty := *f
			empty.dir = t.TempDir()
			b.add("fetch", &empty)
			port := through(t, way.path, a.port)
			b.child.send("dial %v %d", f, port)
			b.child.await("connected", f.String())
			start := time.Now()
			b.child.awaitFor(4*patience, "finished", f.String())
			return time.Since(start)
		})
	}
}

// through is the way to a port: a relay if there is a path.
func through(t *testing.T, p *path, port int) int {
	t.Helper()
	if p == nil {
		return port
	}
	return newRelay(t, *seed, port, *p).port()
}

func weToWe(t *testing.T, p *path, size int64) time.Duration {
	t.Helper()
	server, err := utppunch.Open("utp4", "127.0.0.1:0", nil)
	require.NoError(t, err)
	defer server.Close()
	l, err := server.Listen()
	require.NoError(t, err)
	got := newDigest()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.Copy(got, c)
		}
		done <- err
	}()
	client, err := utppunch.Open("utp4", "127.0.0.1:0", nil)
	require.NoError(t, err)
	defer client.Close()
	start := time.Now()
	c, err := client.DialContext(t.Context(), "utp", local(through(t, p, portOf(server.Addr()))).String())
	require.NoError(t, err)
	_, err = io.Copy(c, randomReader(size, 1))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, <-done)
	assert.Equal(t, randomDigest(size, 1), got.String())
	return time.Since(start)
}
