package utppunch_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch"
	"utppunch/utp"
)

var gib = flag.Bool("gib", false, "move a file of 1 GiB where 32 MiB are the rule")

// site is an HTTP server on one port and a client for it on another.
type site struct {
	*httptest.Server
	port   *utppunch.Transport // the server's
	client *http.Client
}

// newSite returns a site that is still to be started: site.Start or site.StartTLS, then site.connect.
func newSite(t *testing.T, handler http.Handler) *site {
	t.Helper()
	s := &site{Server: httptest.NewUnstartedServer(handler), port: open(t, "utp4", "127.0.0.1:0")}
	require.NoError(t, s.Listener.Close())
	s.Listener = listen(t, s.port)
	t.Cleanup(s.Close)
	return s
}

// serve returns a site that is running.
func serve(t *testing.T, handler http.Handler) *site {
	t.Helper()
	s := newSite(t, handler)
	s.Start()
	return s.connect(t)
}

// connect makes the client, which trusts the certificate of the server.
func (s *site) connect(t *testing.T) *site {
	t.Helper()
	s.client = s.Client()
	s.transport().DialContext = open(t, "utp4", "127.0.0.1:0").DialContext
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

func (s *site) transport() *http.Transport { return s.client.Transport.(*http.Transport) }

// post sends body and returns the body of the answer.
func (s *site) post(t assert.TestingT, path string, body []byte) []byte {
	return finish(t)(s.client.Post(s.URL+path, "application/octet-stream", bytes.NewReader(body)))
}

func (s *site) get(t assert.TestingT, path string) []byte {
	return finish(t)(s.client.Get(s.URL + path))
}

// finish returns a function that reads the answer to a request.
func finish(t assert.TestingT) func(*http.Response, error) []byte {
	return func(res *http.Response, err error) []byte {
		if !assert.NoError(t, err) {
			return nil
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		assert.NoError(t, err)
		return body
	}
}

// echoHandler answers with the protocol that was spoken in a header, and the request's body.
func echoHandler(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Spoken", r.Proto)
	body, err := io.ReadAll(r.Body)
	if err == nil {
		_, err = w.Write(body)
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

// TestHTTPKeepAlive: 20 requests in turn take one connection, over every protocol. http.Server interrupts its own Read
// by a deadline after each of them, and crypto/tls takes most errors for the end.
func TestHTTPKeepAlive(t *testing.T) {
	for _, tc := range []struct {
		name, proto string
		conns       uint64 // at most
		start       func(s *site)
		client      func(tr *http.Transport)
	}{
		{name: "HTTP/1.1", proto: "HTTP/1.1", conns: 1, start: func(s *site) { s.Start() }},
		{name: "HTTPS/1.1", proto: "HTTP/1.1", conns: 1, start: func(s *site) { s.StartTLS() }},
		{name: "HTTPS/2", proto: "HTTP/2.0", conns: 1, start: func(s *site) {
			s.EnableHTTP2 = true
			s.StartTLS()
		}},
		// Here net/http opens another one now and then, over TCP too.
		{name: "HTTP/2 without TLS", proto: "HTTP/2.0", conns: 4, start: func(s *site) {
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			s.Start()
		}, client: func(tr *http.Transport) {
			tr.Protocols = new(http.Protocols)
			tr.Protocols.SetUnencryptedHTTP2(true)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checkGoroutines(t)
			s := newSite(t, http.HandlerFunc(echoHandler))
			tc.start(s)
			s.connect(t)
			if tc.client != nil {
				tc.client(s.transport())
			}
			for i := range 20 {
				body := random(byte(i), 1000*i)
				res, err := s.client.Post(s.URL, "", bytes.NewReader(body))
				require.True(t, string(body) == string(finish(t)(res, err)), "the body came back as it was sent")
				require.Equal(t, tc.proto, res.Header.Get("Spoken"))
			}
			require.LessOrEqual(t, s.port.Stats().Accepted, tc.conns, "connections")
		})
	}
}

// TestHTTP1000Requests at once, over 100 connections.
func TestHTTP1000Requests(t *testing.T) {
	checkGoroutines(t)
	const requests, conns = 1000, 100
	var inFlight atomic.Int32
	all := make(chan struct{}) // closed when each connection is busy
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if inFlight.Add(1) == conns {
			close(all)
		}
		select {
		case <-all:
			echoHandler(w, r)
		case <-r.Context().Done():
		}
	}))
	s.transport().MaxConnsPerHost, s.transport().MaxIdleConnsPerHost = conns, conns
	var wg sync.WaitGroup
	for i := range requests {
		wg.Go(func() {
			body := strconv.Itoa(i) + strings.Repeat("x", i)
			assert.True(t, body == string(s.post(t, "/", []byte(body))), "the body came back as it was sent")
		})
	}
	wg.Wait()
	require.EqualValues(t, conns, s.port.Stats().Accepted, "connections")
}

// TestHTTP2Streams: 100 requests at once share one connection.
func TestHTTP2Streams(t *testing.T) {
	checkGoroutines(t)
	s := newSite(t, http.HandlerFunc(echoHandler))
	s.EnableHTTP2 = true
	s.StartTLS()
	s.connect(t)
	require.Empty(t, s.post(t, "/", nil), "the first one opens the connection")
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			body := random(byte(i), 50_000)
			assert.True(t, string(body) == string(s.post(t, "/", body)), "the body came back as it was sent")
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, s.port.Stats().Accepted, "connections")
}

func TestHTTPRange(t *testing.T) {
	dir := t.TempDir()
	file := random(1, 300_000)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), file, 0o600))
	s := serve(t, http.FileServer(http.Dir(dir)))
	get := func(ranges string) (*http.Response, []byte) {
		req, err := http.NewRequest("GET", s.URL+"/file", nil)
		require.NoError(t, err)
		req.Header.Set("Range", "bytes="+ranges)
		res, err := s.client.Do(req)
		return res, finish(t)(res, err)
	}
	for ranges, want := range map[string][]byte{
		"0-0":           file[:1],
		"100-199":       file[100:200],
		"100000-299999": file[100_000:],
		"-5":            file[len(file)-5:],
	} {
		res, body := get(ranges)
		require.Equal(t, http.StatusPartialContent, res.StatusCode)
		require.True(t, string(want) == string(body), "bytes %s", ranges)
	}

	res, body := get("0-9,150000-159999")
	require.Equal(t, http.StatusPartialContent, res.StatusCode)
	_, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	require.NoError(t, err)
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for _, want := range [][]byte{file[:10], file[150_000:160_000]} {
		part, err := parts.NextPart()
		require.NoError(t, err)
		got, err := io.ReadAll(part)
		require.NoError(t, err)
		require.True(t, string(want) == string(got))
	}

	res, _ = get("300000-")
	require.Equal(t, http.StatusRequestedRangeNotSatisfiable, res.StatusCode)
}

// TestHTTPLargeFile: what arrives has the same checksum.
func TestHTTPLargeFile(t *testing.T) {
	size := int64(32 << 20)
	if *gib {
		size = 1 << 30
	}
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "file"))
	require.NoError(t, err)
	sent, arrived := sha256.New(), sha256.New()
	for i := range size >> 20 {
		_, err := io.MultiWriter(file, sent).Write(random(byte(i), 1<<20))
		require.NoError(t, err)
	}
	require.NoError(t, file.Close())

	s := serve(t, http.FileServer(http.Dir(dir)))
	start := time.Now()
	res, err := s.client.Get(s.URL + "/file")
	require.NoError(t, err)
	defer res.Body.Close()
	n, err := io.Copy(arrived, res.Body)
	require.NoError(t, err)
	require.Equal(t, size, n)
	require.Equal(t, sent.Sum(nil), arrived.Sum(nil))
	t.Logf("%d MiB in %v", size>>20, time.Since(start))
}

// TestHTTPHijack: who hijacks gets the connection itself, without a deadline, and what was read ahead.
func TestHTTPHijack(t *testing.T) {
	checkGoroutines(t)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		assert.IsType(t, (*utp.Conn)(nil), c)
		line, err := rw.ReadString('\n')
		assert.NoError(t, err)
		fmt.Fprintf(c, "you sent %s", line)
		io.Copy(c, rw)
		c.Close()
	}))
	c := dial(t, open(t, "utp4", "127.0.0.1:0"), s.Listener.Addr().String())
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\nearly\n")
	require.NoError(t, err)
	answer := bufio.NewReader(c)
	line, err := answer.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "you sent early\n", line)
	_, err = io.WriteString(c, "late")
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	rest, err := io.ReadAll(answer)
	require.NoError(t, err)
	require.Equal(t, "late", string(rest))
	require.NoError(t, c.Close())
}

// TestHTTPCancelledRequest: the server hears of it, whether or not it has begun to answer.
func TestHTTPCancelledRequest(t *testing.T) {
	for _, begun := range []bool{false, true} {
		t.Run(fmt.Sprintf("answer begun %v", begun), func(t *testing.T) {
			checkGoroutines(t)
			serving, cancelled := make(chan struct{}), make(chan struct{})
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/slow" {
					echoHandler(w, r)
					return
				}
				if begun {
					w.(http.Flusher).Flush()
				}
				close(serving)
				<-r.Context().Done()
				close(cancelled)
			}))
			ctx, cancel := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/slow", nil)
			require.NoError(t, err)
			go func() {
				<-serving
				if !begun {
					cancel()
				}
			}()
			res, err := s.client.Do(req)
			if begun {
				require.NoError(t, err)
				cancel()
				_, err = res.Body.Read(make([]byte, 1))
				res.Body.Close()
			}
			require.ErrorIs(t, err, context.Canceled)
			select {
			case <-cancelled:
			case <-time.After(patience):
				t.Fatal("the handler was not told")
			}
			require.Equal(t, "next", string(s.post(t, "/", []byte("next"))))
		})
	}
}

// TestHTTPServerShutdown: it closes the Listener, and the request in flight is answered.
func TestHTTPServerShutdown(t *testing.T) {
	checkGoroutines(t)
	serving, answer := make(chan struct{}), make(chan struct{})
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(serving)
		<-answer
		w.Write(random(1, 1<<20))
	}))
	got := make(chan []byte, 1)
	go func() { got <- s.get(t, "/") }()
	<-serving
	down := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { down <- s.Config.Shutdown(ctx) }()
	other := open(t, "utp4", "127.0.0.1:0")
	waitFor(t, "nobody listens any more", func() bool {
		c, err := other.DialContext(ctx, "utp", s.Listener.Addr().String())
		if err == nil {
			c.Close()
			return false
		}
		return assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	})
	require.Empty(t, down, "Shutdown waits for the request")
	close(answer)
	require.True(t, string(random(1, 1<<20)) == string(<-got), "the answer arrived as it was sent")
	require.NoError(t, <-down)
	require.NoError(t, s.port.Shutdown(ctx))
}

// TestHTTPIdleTimeout: the server closes connections that nobody uses; the client finds out and opens others.
func TestHTTPIdleTimeout(t *testing.T) {
	checkGoroutines(t)
	s := newSite(t, http.HandlerFunc(echoHandler))
	s.Config.IdleTimeout = 10 * time.Millisecond
	s.Start()
	s.connect(t)
	for i := range 5 {
		require.Equal(t, "hello", string(s.post(t, "/", []byte("hello"))))
		require.EqualValues(t, i+1, s.port.Stats().Accepted)
		waitIdle(t, s.port)
	}
}
