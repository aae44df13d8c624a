package main

import (
	"context"
	"net"
)

// dials opens connections one after the other, has one byte echoed over each, and
// closes it.
type dials struct{}

func (dials) serve(l net.Listener, m *meter) {
	for {
		c, err := l.Accept()
		if err != nil {
			m.fail(err)
			return
		}
		go func() {
			_ = echo(c, 1) // until the client closes
			_ = c.Close()
		}()
	}
}

func (dials) run(ctx context.Context, c *client) error {
	b := make([]byte, 1)
	latencies, err := c.repeat(ctx, func() error {
		conn, err := c.dialer.dial(ctx, c.address)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		defer stop()
		if err := exchange(conn, b); err != nil {
			_ = conn.Close()
			return err
		}
		return conn.Close()
	})
	if err != nil {
		return err
	}
	c.result.Value = c.client.rate()
	c.result.More[figureP50] = micros(percentile(latencies, 50))
	c.result.More[figureP99] = micros(percentile(latencies, 99))
	c.result.More[figureMax] = micros(percentile(latencies, 100))
	return nil
}
