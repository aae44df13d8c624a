//go:build interop

package interop

import (
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTorrentHundredAtOnce: one torrent a connection, because libtorrent dials an address once for each.
func TestTorrentHundredAtOnce(t *testing.T) {
	const conns, size = 100, 200 << 10
	eachTorrent(t, "100 connections at once, 200 KiB fetched by each", func(t *testing.T, s *torrents) {
		byHash := make(map[string]*torrent)
		for i := range conns {
			f := s.theirs(size, uint64(i))
			byHash[f.String()] = f
		}
		var all []*torrent
		for _, f := range byHash {
			s.request(f)
			all = append(all, f)
		}
		var mu sync.Mutex
		var busy sync.WaitGroup
		for range conns {
			busy.Go(func() {
				var c io.ReadWriter = s.establish()
				mu.Lock()
				mine := all[0]
				all = all[1:]
				mu.Unlock()
				if s.role == weListen {
					// Only its handshake says what it is about.
					hash, again, err := peekHash(c)
					if !assert.NoError(t, err) {
						return
					}
					mine, c = byHash[hash], again
				}
				p, err := shake(c, mine)
				if assert.NoError(t, err) {
					assert.NoError(t, p.fetch())
				}
			})
		}
		busy.Wait()
	})
}

// TestTorrentManyInARow: libtorrent dials once a second at most; as long as they are dialled by us there may be more.
func TestTorrentManyInARow(t *testing.T) {
	t.Parallel()
	for r, conns := range map[role]int{weDial: 1000, weListen: 20} {
		t.Run(r.String(), func(t *testing.T) {
			t.Parallel()
			s := &torrents{line: newLine(t, "libtorrent", r, "1,000 connections, one after the other")}
			if conns < 1000 {
				s.cell.note("%d", conns)
			}
			f := s.theirs(10<<10, 1)
			start := time.Now()
			for i := range conns {
				c, p := s.connect(f)
				require.NoError(t, p.fetch(), "connection %d", i)
				require.NoError(t, c.Close())
				s.disconnected(f) // it wants no second connection from one port at a time
				if r == weListen {
					s.remove(f)
					f = s.theirs(10<<10, uint64(2+i))
				}
			}
			t.Log(time.Since(start))
			s.finish()
		})
	}
}
