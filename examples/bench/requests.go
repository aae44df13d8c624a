package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

// requests has net/http fetch bodies of a size, so many at once.
type requests struct{ size, atOnce int }

func (r requests) serve(l net.Listener, m *meter) {
	body := make([]byte, r.size)
	m.fail(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) // the client notices what is missing
	})))
}

func (r requests) run(ctx context.Context, c *client) error {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return c.dialer.dial(ctx, address)
		},
		MaxIdleConnsPerHost: r.atOnce,
		DisableCompression:  true,
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range r.atOnce {
		counter := c.meter.counter()
		go func() {
			for {
				if err := r.fetch(ctx, transport, c.address); err != nil {
					c.meter.fail(err)
					return
				}
				counter.Add(1)
			}
		}()
	}
	if err := c.measure(ctx, r.atOnce); err != nil {
		return err
	}
	c.countOps(c.client.total())
	c.result.Value = c.client.rate()
	return nil
}

func (r requests) fetch(ctx context.Context, transport http.RoundTripper, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if err == nil && (resp.StatusCode != http.StatusOK || n != int64(r.size)) {
		err = fmt.Errorf("%s with %d bytes instead of %d", resp.Status, n, r.size)
	}
	return err
}
