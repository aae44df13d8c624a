package consumers

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHTTP2Streams has many streams at once on one connection, with bodies both
// ways. They are answered when all of them have arrived.
func TestHTTP2Streams(t *testing.T) {
	for _, v := range httpVersions(t) {
		if v.major != 2 {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			const streams = 200
			var arrived atomic.Int64
			all := make(chan struct{})
			s := v.serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/many" {
					if arrived.Add(1) == streams {
						close(all)
					}
					select {
					case <-all:
					case <-r.Context().Done():
						return
					}
				}
				if r.ProtoMajor != 2 {
					http.Error(w, r.Proto, http.StatusHTTPVersionNotSupported)
					return
				}
				echo(w, r)
			})
			client := v.client(t)
			require.NoError(t, checkEcho(client, s.url, nil), "the first one opens the connection")
			await(t, launch(streams, func(i int) error {
				return checkEcho(client, s.url+"/many", pattern(i*1000, uint64(i)))
			}))
			require.EqualValues(t, streams, arrived.Load())
			require.EqualValues(t, 1, s.listener.accepted.Load())
		})
	}
}

// TestHTTP2SlowStream checks that a stream that nobody reads holds up itself
// only: small requests pass it on the same connection.
func TestHTTP2SlowStream(t *testing.T) {
	for _, v := range httpVersions(t) {
		if v.major != 2 {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			content := pattern(32<<20, 10) // more than HTTP/2 sends unread
			s := v.serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/large" {
					w.Write(content)
					return
				}
				echo(w, r)
			})
			client := v.client(t)
			large, err := client.Get(s.url + "/large")
			require.NoError(t, err)
			defer large.Body.Close()
			for i := range 100 {
				require.NoError(t, checkEcho(client, s.url, pattern(1000, uint64(i))))
			}
			got, err := io.ReadAll(large.Body)
			require.NoError(t, err)
			require.True(t, bytes.Equal(content, got), fmt.Sprintf("%d bytes that are not what was sent", len(got)))
			require.EqualValues(t, 1, s.listener.accepted.Load())
		})
	}
}
