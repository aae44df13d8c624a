package utppunch_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReverseProxyUpgrade: a protocol upgrade goes through a proxy, over uTP on both sides of it, and so does the end
// of one direction: the backend answers when it has read all.
func TestReverseProxyUpgrade(t *testing.T) {
	checkGoroutines(t)
	backend := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !assert.Equal(t, "count", r.Header.Get("Upgrade")) {
			return
		}
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "count")
		w.WriteHeader(http.StatusSwitchingProtocols)
		c, rw, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer c.Close()
		n, err := io.Copy(io.Discard, rw)
		assert.NoError(t, err)
		fmt.Fprintf(c, "%d bytes", n)
	}))
	target, err := url.Parse(backend.URL)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: backend.client.Transport,
	}
	front := serve(t, proxy)

	req, err := http.NewRequest("GET", front.URL, nil)
	require.NoError(t, err)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "count")
	res, err := front.client.Do(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	stream := res.Body.(interface {
		io.ReadWriteCloser
		CloseWrite() error
	})
	_, err = stream.Write(random(1, 300_000))
	require.NoError(t, err)
	require.NoError(t, stream.CloseWrite())
	answer, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.Equal(t, "300000 bytes", string(answer))
	require.NoError(t, stream.Close())
	waitIdle(t, backend.port, front.port)
}

// TestReverseProxy passes on requests and answers of all sizes.
func TestReverseProxy(t *testing.T) {
	checkGoroutines(t)
	backend := serve(t, http.HandlerFunc(echoHandler))
	target, err := url.Parse(backend.URL)
	require.NoError(t, err)
	front := serve(t, &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: backend.client.Transport,
	})
	for _, size := range []int{0, 1, 1000, 1 << 20} {
		body := random(1, size)
		require.True(t, string(body) == string(front.post(t, "/", body)), "%d bytes came back as they were sent", size)
	}
	require.EqualValues(t, 1, front.port.Stats().Accepted)
	require.EqualValues(t, 1, backend.port.Stats().Accepted)
}
