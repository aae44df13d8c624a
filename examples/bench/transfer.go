package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync/atomic"
)

// transfer has the client send over so many connections, and the server too if
// both is set, as much as goes. What arrives is counted.
type transfer struct {
	conns int
	both  bool
}

// chunk is what is written and read at once, in bytes: two full runs of raw UDP.
const chunk = 2 * runLength * 1472

func (t transfer) serve(l net.Listener, m *meter) {
	for {
		c, err := l.Accept()
		if err != nil {
			m.fail(err)
			return
		}
		counter := m.counter()
		go func() { m.fail(receive(c, counter)) }()
		if t.both {
			go func() { m.fail(send(c)) }()
		}
	}
}

func (t transfer) run(ctx context.Context, c *client) error {
	for range t.conns {
		conn, err := c.dialer.dial(ctx, c.address)
		if err != nil {
			return err
		}
		c.attend(ctx, conn)
		go func() { c.meter.fail(send(conn)) }()
		if t.both {
			counter := c.meter.counter()
			go func() { c.meter.fail(receive(conn, counter)) }()
		}
	}
	if err := c.measure(ctx); err != nil {
		return err
	}
	up, down := c.server.counts(), c.client.counts()
	if len(up) != t.conns {
		return fmt.Errorf("%d of %d connections have arrived", len(up), t.conns)
	}
	for _, n := range append(up, down...) {
		if n == 0 {
			return errors.New("a connection stood still")
		}
	}
	rate := c.server.rate()
	c.result.Bytes = c.server.total()
	if t.both {
		rate += c.client.rate()
		c.result.Bytes += c.client.total()
	}
	c.result.Value = rate * 8 / 1e9
	c.result.Cost = c.cpu() / float64(c.result.Bytes) * 1e9
	if t.conns > 1 {
		c.result.More[figureSpread] = 100 * furthest(up)
	}
	return nil
}

// furthest returns how far from the mean the furthest is, as a part of the mean.
func furthest(counts []int64) float64 {
	var sum int64
	for _, n := range counts {
		sum += n
	}
	mean := float64(sum) / float64(len(counts))
	far := 0.0
	for _, n := range counts {
		far = max(far, math.Abs(float64(n)-mean)/mean)
	}
	return far
}

// send writes until that fails.
func send(c net.Conn) error {
	b := make([]byte, chunk)
	for {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

// receive reads and counts until that fails.
func receive(c net.Conn, counter *atomic.Int64) error {
	b := make([]byte, chunk)
	for {
		n, err := c.Read(b)
		counter.Add(int64(n))
		if err != nil {
			return err
		}
	}
}
