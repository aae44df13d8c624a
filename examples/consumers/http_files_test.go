package consumers

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch"
)

// gib makes the file of TestHTTPFile 1 GiB:
//
//	go -C examples test -count=1 -v -run 'TestHTTPFile$' ./consumers -gib
var gib = flag.Bool("gib", false, "transfer 1 GiB instead of 64 MiB")

// TestHTTPFile serves a file with http.FileServer and compares checksums.
func TestHTTPFile(t *testing.T) {
	size := int64(64 << 20)
	if *gib {
		size = 1 << 30
	}
	dir := t.TempDir()
	want := sha256.New()
	file, err := os.Create(filepath.Join(dir, "file"))
	require.NoError(t, err)
	_, err = io.CopyN(io.MultiWriter(file, want), randomBytes(1), size)
	require.NoError(t, err)
	require.NoError(t, file.Close())

	s := serveHTTP(t, &http.Server{Handler: http.FileServer(http.Dir(dir))})
	client := newClient(t, nil)
	client.Timeout = 0 // for slow machines, and the race detector
	begin := time.Now()
	resp, err := client.Get(s.url + "/file")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, size, resp.ContentLength)
	got := sha256.New()
	n, err := io.Copy(got, resp.Body)
	require.NoError(t, err)
	took := time.Since(begin)
	require.Equal(t, size, n)
	require.Equal(t, want.Sum(nil), got.Sum(nil))
	require.EqualValues(t, 1, s.listener.accepted.Load())
	t.Logf("%d MiB in %v, %.1f MB/s, SHA-256 %x", size>>20, took, float64(size)/1e6/took.Seconds(), got.Sum(nil))
}

// TestHTTPRange fetches parts of a file.
func TestHTTPRange(t *testing.T) {
	content := pattern(300_000, 2)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), content, 0o600))
	s := serveHTTP(t, &http.Server{Handler: http.FileServer(http.Dir(dir))})
	client := newClient(t, nil)

	for _, tc := range []struct {
		header   string
		from, to int
	}{
		{"bytes=0-0", 0, 1},
		{"bytes=100-99999", 100, 100_000},
		{"bytes=-1000", 299_000, 300_000},
		{"bytes=299999-", 299_999, 300_000},
	} {
		resp, body := get(t, client, s.url+"/file", http.Header{"Range": {tc.header}})
		require.Equal(t, http.StatusPartialContent, resp.StatusCode, tc.header)
		require.Equal(t, fmt.Sprintf("bytes %d-%d/300000", tc.from, tc.to-1), resp.Header.Get("Content-Range"))
		require.Equal(t, sha256.Sum256(content[tc.from:tc.to]), sha256.Sum256(body), tc.header)
	}

	resp, _ := get(t, client, s.url+"/file", http.Header{"Range": {"bytes=300000-"}})
	require.Equal(t, http.StatusRequestedRangeNotSatisfiable, resp.StatusCode)

	req, err := http.NewRequest(http.MethodGet, s.url+"/file", nil)
	require.NoError(t, err)
	req.Header.Set("Range", "bytes=10-19,200000-250000")
	resp, err = client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	require.NoError(t, err)
	parts := multipart.NewReader(resp.Body, params["boundary"])
	for _, want := range [][]byte{content[10:20], content[200_000:250_001]} {
		part, err := parts.NextPart()
		require.NoError(t, err)
		got, err := io.ReadAll(part)
		require.NoError(t, err)
		require.Equal(t, sha256.Sum256(want), sha256.Sum256(got))
	}
	_, err = parts.NextPart()
	require.Equal(t, io.EOF, err)
	require.EqualValues(t, 1, s.listener.accepted.Load())
}

// TestHTTPOneLiners is the shortest program: a listener and a dialler that come
// without a Transport. It is done twice, as Shutdown ends what Dial has opened.
func TestHTTPOneLiners(t *testing.T) {
	for range 2 {
		l, err := utppunch.Listen("utp", "127.0.0.1:0")
		require.NoError(t, err)
		ended := start(func() error {
			return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				host, port, err := net.SplitHostPort(r.RemoteAddr)
				if err != nil || host != "127.0.0.1" || port == "0" {
					http.Error(w, r.RemoteAddr, http.StatusInternalServerError)
				}
				local := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
				fmt.Fprintf(w, "%s %s", local.Network(), local)
			}))
		})
		client := &http.Client{Transport: &http.Transport{DialContext: utppunch.DialContext}, Timeout: limit}
		resp, body := get(t, client, "http://"+l.Addr().String(), nil)
		require.Equal(t, http.StatusOK, resp.StatusCode, "%s", body)
		require.Equal(t, "utp "+l.Addr().String(), string(body))

		client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		require.NoError(t, utppunch.Shutdown(ctx))
		cancel()
		require.NoError(t, l.Close())
		require.ErrorIs(t, receive(t, ended, "http.Serve to return"), net.ErrClosed)
	}
}
