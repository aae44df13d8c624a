package main

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// roundTrips sends messages of so many bytes over one connection, each when the
// one before has come back.
type roundTrips struct{ size int }

func (r roundTrips) serve(l net.Listener, m *meter) {
	for {
		c, err := l.Accept()
		if err != nil {
			m.fail(err)
			return
		}
		go func() { m.fail(echo(c, r.size)) }()
	}
}

// echo sends back what comes, in pieces of size bytes, until that fails.
func echo(c net.Conn, size int) error {
	b := make([]byte, size)
	for {
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

// exchange has the other end echo b.
func exchange(c net.Conn, b []byte) error {
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b)
	return err
}

func (r roundTrips) run(ctx context.Context, c *client) error {
	conn, err := c.dialer.dial(ctx, c.address)
	if err != nil {
		return err
	}
	c.attend(ctx, conn)
	b := make([]byte, r.size)
	latencies, err := c.repeat(ctx, func() error { return exchange(conn, b) })
	if err != nil {
		return err
	}
	c.result.Value = micros(percentile(latencies, 50))
	c.result.More[figureP99] = micros(percentile(latencies, 99))
	c.result.More[figureMax] = micros(percentile(latencies, 100))
	c.result.More[figureRate] = c.client.rate()
	return nil
}

// repeat measures how often, and how fast, some things can be done, all at the
// same time. It returns how long it took each time within the interval that was
// measured, sorted.
func (c *client) repeat(ctx context.Context, things ...func() error) ([]time.Duration, error) {
	var mu sync.Mutex
	latencies := make([][]time.Duration, len(things))
	first := len(c.client.to.Counts) // of the counters that are new
	for i, do := range things {
		counter := c.meter.counter()
		go func() {
			for {
				start := time.Now()
				if err := do(); err != nil {
					c.failIn(ctx, err)
					return
				}
				took := time.Since(start)
				mu.Lock()
				latencies[i] = append(latencies[i], took)
				mu.Unlock()
				counter.Add(1)
			}
		}()
	}
	if err := c.measure(ctx, c.moved()+len(things)); err != nil {
		return nil, err
	}
	c.countOps(c.client.total())
	mu.Lock()
	defer mu.Unlock()
	var sorted []time.Duration
	for i := range things {
		from, to := c.client.from.Counts[first+i], c.client.to.Counts[first+i]
		sorted = append(sorted, latencies[i][from:to]...)
	}
	slices.Sort(sorted)
	return sorted, nil
}

// percentile returns the p-th percentile of what is sorted.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }
