package consumers

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// site is an HTTP server over uTP.
type site struct {
	*http.Server
	listener *listener
	url      string
	ended    <-chan error // what Serve returned
}

// serveHTTP serves until the test ends, with TLS if the server has a certificate.
func serveHTTP(t testing.TB, server *http.Server) *site {
	t.Helper()
	if server.ErrorLog == nil {
		server.ErrorLog = log.New(io.Discard, "", 0)
	}
	s := &site{Server: server, listener: listen(t)}
	if server.TLSConfig == nil {
		s.url = fmt.Sprintf("http://%s", s.listener.Addr())
		s.ended = start(func() error { return server.Serve(s.listener) })
	} else {
		s.url = fmt.Sprintf("https://%s", s.listener.Addr())
		s.ended = start(func() error { return server.ServeTLS(s.listener, "", "") })
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("the server does not end: %v", err)
			server.Close()
		}
		if err := receive(t, s.ended, "the server to end"); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server has ended with: %v", err)
		}
	})
	return s
}

// newClient returns an HTTP client with a port of its own. configure may be nil.
func newClient(t testing.TB, configure func(*http.Transport)) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: open(t).DialContext}
	if configure != nil {
		configure(transport)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: limit}
}

// echo answers with the body of the request.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Write(body)
}

// checkEcho posts a body and wants it back.
func checkEcho(client *http.Client, url string, body []byte) error {
	resp, err := client.Post(url, "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", resp.Status, got)
	case !bytes.Equal(got, body):
		return fmt.Errorf("sent %d bytes, received %d others", len(body), len(got))
	}
	return nil
}

// get fetches a URL with a header, if it is not nil, and returns the response with
// its body, which was read.
func get(t testing.TB, client *http.Client, url string, header http.Header) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if header != nil {
		req.Header = header
	}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, body
}

// httpVersion is a way to speak HTTP.
type httpVersion struct {
	name                 string
	major                int
	serverTLS, clientTLS *tls.Config
	protocols            *http.Protocols
}

// httpVersions returns all of them.
func httpVersions(t testing.TB) []httpVersion {
	serverTLS, clientTLS := certificate(t)
	version := func(name string, major int, set func(*http.Protocols, bool), tls bool) httpVersion {
		v := httpVersion{name: name, major: major, protocols: new(http.Protocols)}
		set(v.protocols, true)
		if tls {
			v.serverTLS, v.clientTLS = serverTLS, clientTLS
		}
		return v
	}
	return []httpVersion{
		version("HTTP1", 1, (*http.Protocols).SetHTTP1, false),
		version("HTTP1 with TLS", 1, (*http.Protocols).SetHTTP1, true),
		version("HTTP2 with TLS", 2, (*http.Protocols).SetHTTP2, true),
		version("h2c", 2, (*http.Protocols).SetUnencryptedHTTP2, false),
	}
}

// serve serves with a handler until the test ends.
func (v httpVersion) serve(t testing.TB, handler http.HandlerFunc) *site {
	t.Helper()
	server := &http.Server{Handler: handler, Protocols: v.protocols}
	if v.serverTLS != nil {
		server.TLSConfig = v.serverTLS.Clone()
	}
	return serveHTTP(t, server)
}

// client returns a client with a port of its own.
func (v httpVersion) client(t testing.TB) *http.Client {
	t.Helper()
	return newClient(t, func(tr *http.Transport) {
		tr.Protocols = v.protocols
		if v.clientTLS != nil {
			tr.TLSClientConfig = v.clientTLS.Clone()
		}
	})
}
