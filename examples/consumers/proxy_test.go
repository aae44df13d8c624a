package consumers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxied serves with a handler behind a reverse proxy, and returns the URL of
// the proxy: every hop is uTP.
func proxied(t testing.TB, handler http.HandlerFunc) (proxyURL string) {
	t.Helper()
	backend := serveHTTP(t, &http.Server{Handler: handler})
	target, err := url.Parse(backend.url)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: newClient(t, nil).Transport,
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	return serveHTTP(t, &http.Server{Handler: proxy}).url
}

// TestReverseProxy passes answers on. It sends no bodies: net/http loses such a
// request once in a while when the machine is busy, over TCP, too.
func TestReverseProxy(t *testing.T) {
	content := func(path string) []byte {
		n := len(path) * 10_000
		return pattern(n, uint64(n))
	}
	to := proxied(t, func(w http.ResponseWriter, r *http.Request) { w.Write(content(r.URL.Path)) })
	client := newClient(t, nil)
	await(t, launch(20, func(i int) error {
		for j := range 5 {
			path := "/" + strings.Repeat("x", i+j)
			resp, err := client.Get(to + path)
			if err != nil {
				return err
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && !bytes.Equal(got, content(path)) {
				err = fmt.Errorf("%d bytes that are not what was sent", len(got))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

// TestReverseProxyUpgrade has client and backend speak something else through the
// proxy. Each ends its stream by itself, one before the other.
func TestReverseProxyUpgrade(t *testing.T) {
	const n = 2 << 20
	toBackend, toClient := pattern(n, 30), pattern(n, 31)
	send := func(c io.Writer, data []byte) error {
		_, err := c.Write(data)
		return errors.Join(err, closeWrite(c))
	}
	expect := func(c io.Reader, want []byte) error {
		got, err := io.ReadAll(c)
		if err == nil && !bytes.Equal(got, want) {
			err = fmt.Errorf("%d bytes that are not what was sent", len(got))
		}
		return err
	}
	type conn = io.ReadWriter
	for _, tc := range []struct {
		name            string
		client, backend func(conn) error
	}{
		{
			"the client ends first",
			func(c conn) error { return errors.Join(send(c, toBackend), expect(c, toClient)) },
			func(c conn) error { return errors.Join(expect(c, toBackend), send(c, toClient)) },
		},
		{
			"the backend ends first",
			func(c conn) error { return errors.Join(expect(c, toClient), send(c, toBackend)) },
			func(c conn) error { return errors.Join(send(c, toClient), expect(c, toBackend)) },
		},
		{
			"both at once",
			func(c conn) error {
				sent := start(func() error { return send(c, toBackend) })
				return errors.Join(expect(c, toClient), <-sent)
			},
			func(c conn) error {
				sent := start(func() error { return send(c, toClient) })
				return errors.Join(expect(c, toBackend), <-sent)
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			handled := make(chan error, 1)
			to := proxied(t, func(w http.ResponseWriter, r *http.Request) {
				handled <- func() error {
					c, buffered, err := http.NewResponseController(w).Hijack()
					if err != nil {
						return err
					}
					defer c.Close()
					if _, err := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n"+
						"Connection: Upgrade\r\nUpgrade: test\r\n\r\n"); err != nil {
						return err
					}
					return tc.backend(hijacked{c, buffered})
				}()
			})
			req, err := http.NewRequest(http.MethodGet, to, nil)
			require.NoError(t, err)
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "test")
			client := newClient(t, nil)
			client.Timeout = 0 // with a timeout the body cannot be written to
			resp, err := client.Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
			ended := start(func() error { return tc.client(resp.Body.(conn)) })
			require.NoError(t, receive(t, ended, "the client"))
			require.NoError(t, receive(t, handled, "the backend"))
		})
	}
}

// hijacked reads first what the server has read already.
type hijacked struct {
	net.Conn
	buffered io.Reader
}

func (c hijacked) Read(b []byte) (int, error) { return c.buffered.Read(b) }
func (c hijacked) CloseWrite() error          { return closeWrite(c.Conn) }
