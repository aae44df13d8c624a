package consumers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHTTPSlowBody sends a request body piece by piece, each when the one before
// has come back: nothing may be held up until there is more.
func TestHTTPSlowBody(t *testing.T) {
	for _, v := range httpVersions(t) {
		t.Run(v.name, func(t *testing.T) {
			s := v.serve(t, func(w http.ResponseWriter, r *http.Request) {
				control := http.NewResponseController(w)
				if r.ProtoMajor == 1 {
					control.EnableFullDuplex()
				}
				w.WriteHeader(http.StatusOK)
				control.Flush()
				buf := make([]byte, 64<<10)
				for {
					n, err := r.Body.Read(buf)
					w.Write(buf[:n])
					control.Flush()
					if err != nil {
						return
					}
				}
			})
			body, pieces := io.Pipe()
			resp, err := v.client(t).Post(s.url, "application/octet-stream", body)
			require.NoError(t, err)
			defer resp.Body.Close()
			for i := range 100 {
				piece := pattern(1+i*i, uint64(i))
				written := start(func() error {
					_, err := pieces.Write(piece)
					return err
				})
				got := make([]byte, len(piece))
				_, err = io.ReadFull(resp.Body, got)
				require.NoError(t, err)
				require.NoError(t, <-written)
				require.True(t, bytes.Equal(piece, got), "piece %d", i)
			}
			require.NoError(t, pieces.Close())
			rest, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Empty(t, rest)
		})
	}
}

// onRead is a body that tells when it is read first.
type onRead struct {
	io.Reader
	first func()
}

func (b *onRead) Read(p []byte) (int, error) {
	if b.first != nil {
		b.first()
		b.first = nil
	}
	return b.Reader.Read(p)
}

// TestHTTPExpectContinue has the server ask for a body, or refuse it.
func TestHTTPExpectContinue(t *testing.T) {
	content := pattern(1<<20, 4)
	s := serveHTTP(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			http.Error(w, "no", http.StatusExpectationFailed)
			return
		}
		echo(w, r)
	})})
	client := newClient(t, func(tr *http.Transport) { tr.ExpectContinueTimeout = limit })
	post := func(path string) (resp *http.Response, events []string) {
		t.Helper()
		events = []string{}
		body := &onRead{bytes.NewReader(content), func() { events = append(events, "body") }}
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got100Continue: func() { events = append(events, "continue") },
		})
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, body)
		require.NoError(t, err)
		req.Header.Set("Expect", "100-continue")
		resp, err = client.Do(req)
		require.NoError(t, err)
		t.Cleanup(func() { resp.Body.Close() })
		return resp, events
	}

	resp, events := post("/take")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, got))
	require.Equal(t, []string{"continue", "body"}, events)

	resp, events = post("/refuse")
	require.Equal(t, http.StatusExpectationFailed, resp.StatusCode)
	require.Empty(t, events)
}

// TestHTTPTrailers sends checksums behind chunked bodies, both ways.
func TestHTTPTrailers(t *testing.T) {
	const name = "Checksum"
	checksum := func(b []byte) string { return strconv.Itoa(int(crc32.ChecksumIEEE(b))) }
	for _, v := range httpVersions(t) {
		t.Run(v.name, func(t *testing.T) {
			s := v.serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || r.ContentLength >= 0 || r.Trailer.Get(name) != checksum(body) {
					http.Error(w, fmt.Sprint(err, r.Trailer), http.StatusBadRequest)
					return
				}
				w.Header().Set("Trailer", name)
				for chunk := range slices.Chunk(body, 10_000) {
					w.Write(chunk)
					http.NewResponseController(w).Flush()
				}
				w.Header().Set(name, checksum(body))
			})
			content := pattern(500_000, 5)
			req, err := http.NewRequest(http.MethodPost, s.url, nil)
			require.NoError(t, err)
			req.Trailer = http.Header{name: nil}
			req.Body = io.NopCloser(io.MultiReader(bytes.NewReader(content), &onRead{
				Reader: eof{},
				first:  func() { req.Trailer.Set(name, checksum(content)) },
			}))
			resp, err := v.client(t).Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, resp.StatusCode, "%.1000s", got)
			require.True(t, bytes.Equal(content, got))
			require.Equal(t, checksum(content), resp.Trailer.Get(name))
		})
	}
}

// eof is a reader that is at its end.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// TestHTTPCancel cancels requests: the server has to be told, whether it waits or
// is sending.
func TestHTTPCancel(t *testing.T) {
	for _, v := range httpVersions(t) {
		t.Run(v.name, func(t *testing.T) {
			arrived := make(chan struct{})
			noticed := make(chan error)
			s := v.serve(t, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/wait":
					arrived <- struct{}{}
				case "/send":
					w.Write(pattern(1000, 6))
					http.NewResponseController(w).Flush()
					arrived <- struct{}{}
					for buf := make([]byte, 64<<10); ; {
						if _, err := w.Write(buf); err != nil {
							break
						}
					}
				default:
					echo(w, r)
					return
				}
				<-r.Context().Done()
				noticed <- r.Context().Err()
			})
			client := v.client(t)
			for _, path := range []string{"/wait", "/send", "/wait", "/send"} {
				ctx, cancel := context.WithCancel(t.Context())
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
				require.NoError(t, err)
				ended := start(func() error {
					resp, err := client.Do(req)
					if err != nil {
						return err
					}
					defer resp.Body.Close()
					_, err = io.Copy(io.Discard, resp.Body)
					return err
				})
				receive(t, arrived, "the request")
				cancel()
				require.ErrorIs(t, receiveWithin(t, prompt, ended, "the client to notice"), context.Canceled)
				require.ErrorIs(t, receiveWithin(t, prompt, noticed, "the server to notice"), context.Canceled)
			}
			require.NoError(t, checkEcho(client, s.url, pattern(100_000, 7)))
			if v.major == 2 {
				require.EqualValues(t, 1, s.listener.accepted.Load(), "a stream ends, its connection goes on")
			}
		})
	}
}

// TestHTTPHijack takes a connection over from the server. What the client sent
// early must not get lost, and either side can end its stream by itself.
func TestHTTPHijack(t *testing.T) {
	toServer, toClient := pattern(1<<20, 8), pattern(1<<20, 9)
	handled := make(chan error)
	s := serveHTTP(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handled <- func() error {
			c, buffered, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return err
			}
			defer c.Close()
			got, err := io.ReadAll(buffered)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, toServer) {
				return fmt.Errorf("%d bytes that are not what was sent", len(got))
			}
			_, err = c.Write(append([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"), toClient...))
			return errors.Join(err, closeWrite(c))
		}()
	})})
	c := dial(t, s.listener.Addr())
	request := "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n"
	_, err := c.Write(append([]byte(request), toServer...))
	require.NoError(t, err)
	require.NoError(t, closeWrite(c))
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.True(t, bytes.Equal(toClient, got), "%d bytes that are not what was sent", len(got))
	require.NoError(t, receive(t, handled, "the handler"))
}
