package main

import (
	"context"
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
	moving := t.conns
	if t.both {
		moving *= 2
	}
	if err := c.measure(ctx, moving); err != nil {
		return err
	}
	rate := c.server.rate() + c.client.rate() // of which the client's is zero, unless both
	c.result.Bytes = c.server.total() + c.client.total()
	c.result.Value = rate * 8 / 1e9
	c.result.Cost = c.cpu() / float64(c.result.Bytes) * 1e9
	if t.conns > 1 {
		c.result.More[figureSpread] = 100 * furthest(c.server.counts())
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
