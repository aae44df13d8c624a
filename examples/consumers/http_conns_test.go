package consumers

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHTTPThousandAtOnce sends 1,000 requests over 100 connections. The first 100
// are answered when all of them have arrived, so that there are 100 connections.
func TestHTTPThousandAtOnce(t *testing.T) {
	const requests, conns = 1000, 100
	var arrived atomic.Int64
	all := make(chan struct{})
	s := serveHTTP(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if arrived.Add(1) == conns {
			close(all)
		}
		select {
		case <-all:
			echo(w, r)
		case <-r.Context().Done():
		}
	})})
	client := newClient(t, func(tr *http.Transport) {
		tr.MaxConnsPerHost, tr.MaxIdleConnsPerHost = conns, conns
	})
	await(t, launch(requests, func(i int) error {
		return checkEcho(client, s.url, pattern(10_000+i, uint64(i)))
	}))
	require.EqualValues(t, requests, arrived.Load())
	require.EqualValues(t, conns, s.listener.accepted.Load())
}

// TestHTTPKeepAlive sends requests one after the other.
func TestHTTPKeepAlive(t *testing.T) {
	s := serveHTTP(t, &http.Server{Handler: http.HandlerFunc(echo)})
	client := newClient(t, nil)
	for i := range 100 {
		require.NoError(t, checkEcho(client, s.url, pattern(i*100, uint64(i))))
	}
	require.EqualValues(t, 1, s.listener.accepted.Load())
}

// TestHTTPIdleTimeout waits until the server closes an idle connection: the
// client must notice and use another one.
func TestHTTPIdleTimeout(t *testing.T) {
	closed := make(chan struct{}, 10)
	s := serveHTTP(t, &http.Server{
		Handler:     http.HandlerFunc(echo),
		IdleTimeout: 20 * time.Millisecond,
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				closed <- struct{}{}
			}
		},
	})
	client := newClient(t, nil)
	for i := range 5 {
		req, err := http.NewRequest(http.MethodGet, s.url, nil)
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		receive(t, closed, "the server to close an idle connection")
		require.EqualValues(t, i+1, s.listener.accepted.Load())
	}
}

// TestHTTPRetry has the server close idle connections while the client is about
// to use them again. The client sends what hit a closed one a second time.
func TestHTTPRetry(t *testing.T) {
	s := serveHTTP(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.URL.Path)
	})})
	client := newClient(t, nil)
	const rounds = 200
	for i := range rounds {
		path := fmt.Sprintf("/%d", i)
		resp, body := get(t, client, s.url+path, nil)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, path, string(body))
		s.SetKeepAlivesEnabled(false) // closes what is idle
		s.SetKeepAlivesEnabled(true)
	}
	require.Greater(t, s.listener.accepted.Load(), int64(1), "no connection was ever closed")
}

// TestHTTPShutdown shuts a server down while requests are under way: they are
// answered in full, and new connections refused.
func TestHTTPShutdown(t *testing.T) {
	for _, v := range httpVersions(t) {
		t.Run(v.name, func(t *testing.T) {
			const requests = 10
			content := pattern(1<<20, 3)
			arrived, release, begun := make(chan struct{}), make(chan struct{}), make(chan struct{})
			s := v.serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Write(content[:100_000])
				arrived <- struct{}{}
				<-release
				w.Write(content[100_000:])
			})
			s.RegisterOnShutdown(sync.OnceFunc(func() { close(begun) }))
			client := v.client(t)
			answers := launch(requests, func(int) error {
				resp, err := client.Get(s.url)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if resp.ProtoMajor != v.major {
					return fmt.Errorf("the protocol is %s", resp.Proto)
				}
				body, err := io.ReadAll(resp.Body)
				if err == nil && !bytes.Equal(content, body) {
					err = fmt.Errorf("%d bytes that are not what was sent", len(body))
				}
				return err
			})
			for range requests {
				receive(t, arrived, "a request")
			}
			ended := start(func() error { return s.Shutdown(t.Context()) })
			receive(t, begun, "Shutdown to begin")
			_, err := open(t).DialContext(t.Context(), "tcp", s.listener.Addr().String())
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			close(release)
			await(t, answers)
			client.CloseIdleConnections() // HTTP/2 would wait for it
			require.NoError(t, receive(t, ended, "Shutdown to end"))
		})
	}
}

// TestHTTPClose has Server.Close end a server whose requests are under way.
func TestHTTPClose(t *testing.T) {
	for _, v := range httpVersions(t) {
		t.Run(v.name, func(t *testing.T) {
			const requests = 50
			arrived := make(chan struct{})
			handled := make(chan struct{}, requests)
			s := v.serve(t, func(w http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				<-r.Context().Done()
				handled <- struct{}{}
			})
			client := v.client(t)
			failed := make(chan error)
			for range requests {
				go func() {
					resp, err := client.Get(s.url)
					if err == nil {
						resp.Body.Close()
					}
					failed <- err
				}()
			}
			for range requests {
				receive(t, arrived, "a request")
			}
			require.NoError(t, receiveWithin(t, prompt, start(s.Close), "Server.Close"))
			for range requests {
				require.Error(t, receiveWithin(t, prompt, failed, "a client to notice"))
				receiveWithin(t, prompt, handled, "a handler to notice")
			}
		})
	}
}
