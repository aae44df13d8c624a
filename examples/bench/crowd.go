package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// crowd measures healthy connections to one port, alone and then beside others,
// most of which behave badly: nobody is to be held up by those. The others come
// from a process and a port of their own.
type crowd struct {
	// disturb makes the others; it runs in the peer's process. It counts what
	// they do and returns when ctx ends, or with an error.
	disturb func(ctx context.Context, p *peer) error
	// moving is how many counters have to move before the others count as there.
	moving int
	// stopped has the peer's process stopped then.
	stopped bool
}

const (
	// crowdOthers is how many connections the others have.
	crowdOthers = 4
	// crowdTrips is how many healthy connections do round trips at once.
	crowdTrips = 2
	// tripSize is what goes to and fro, in bytes.
	tripSize = 64
	// A slow reader takes slowBytes every slowPause.
	slowBytes = 1024
	slowPause = 100 * time.Millisecond
)

// role says what a connection is for. It is the first byte that the client sends
// over it.
type role byte

const (
	roleTrips role = 't' // the server echoes
	roleUp    role = 'u' // the client sends as much as goes
	roleDown  role = 'd' // the server does
	roleSlow  role = 's' // both do, and both read slowly
)

// open opens a connection for a role. Its end throws away what is under way, so
// that nothing of one measurement is left in the next.
func (r role) open(ctx context.Context, d dialer, address string) (net.Conn, error) {
	conn, err := d.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	if l, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		err = l.SetLinger(0)
	}
	if err == nil {
		_, err = conn.Write([]byte{byte(r)})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	return conn, nil
}

// serve does the server's part. Connections end by an error, which it is for the
// client to judge.
func (crowd) serve(l net.Listener, m *meter) {
	for {
		conn, err := l.Accept()
		if err != nil {
			m.fail(err)
			return
		}
		go func() {
			defer conn.Close()
			first := make([]byte, 1)
			if _, err := conn.Read(first); err != nil {
				return
			}
			switch role(first[0]) {
			case roleTrips:
				_ = echo(conn, tripSize)
			case roleUp:
				_ = receive(conn, m.counter())
			case roleDown:
				_ = send(conn)
			case roleSlow:
				go func() { _ = send(conn) }()
				_ = receiveSlowly(conn)
			default:
				m.fail(fmt.Errorf("there is no role %q", first))
			}
		}()
	}
}

// receiveSlowly reads a little now and then until that fails.
func receiveSlowly(c net.Conn) error {
	b := make([]byte, slowBytes)
	for {
		if _, err := c.Read(b); err != nil {
			return err
		}
		time.Sleep(slowPause)
	}
}

func (w crowd) run(ctx context.Context, c *client) error {
	alone, err := takeHealth(ctx, c)
	if err != nil {
		return fmt.Errorf("alone: %w", err)
	}
	others, err := startPeer(ctx, c)
	if err != nil {
		return err
	}
	defer others.end()
	// Time to fill all buffers.
	if err := c.wait(ctx, c.spec.Duration/4); err != nil {
		return err
	}
	if w.stopped {
		if err := stopProcess(others.cmd.Process); err != nil {
			return err
		}
	}
	beside, err := takeHealth(ctx, c)
	if err != nil {
		return fmt.Errorf("beside others: %w", err)
	}
	if others.ended() {
		return errors.New("those who disturb have ended too early")
	}
	c.result.Value, c.result.Bytes = beside.gbits, beside.bytes
	c.result.Cost = c.cpu() / float64(beside.bytes) * 1e9
	for name, value := range map[string]float64{
		figureAlone:    alone.gbits,
		figureRateRel:  beside.gbits / alone.gbits,
		figureP50:      beside.p50,
		figureP50Rel:   beside.p50 / alone.p50,
		figureP99:      beside.p99,
		figureP99Rel:   beside.p99 / alone.p99,
		figureMax:      beside.max,
		figureMaxAlone: alone.max,
	} {
		c.result.More[name] = value
	}
	if c.server.to.Dropped != nil {
		c.result.More[figureDropped] = float64(*c.server.to.Dropped-*c.server.from.Dropped) / c.server.seconds()
	}
	return nil
}

// health is how the healthy connections fare.
type health struct {
	p50, p99, max float64 // of round trips, in µs
	gbits         float64 // a second, of one connection up and one down, in all
	bytes         int64
}

// takeHealth measures round trips, and then bulk transfer.
func takeHealth(ctx context.Context, c *client) (h health, err error) {
	err = inPhase(ctx, func(ctx context.Context) error {
		trips := make([]func() error, crowdTrips)
		for i := range trips {
			conn, err := roleTrips.open(ctx, c.dialer, c.address)
			if err != nil {
				return err
			}
			b := make([]byte, tripSize)
			trips[i] = func() error { return exchange(conn, b) }
		}
		latencies, err := c.repeat(ctx, trips...)
		if err != nil {
			return err
		}
		h.p50 = micros(percentile(latencies, 50))
		h.p99 = micros(percentile(latencies, 99))
		h.max = micros(percentile(latencies, 100))
		return c.allMoved(crowdTrips)
	})
	if err != nil {
		return h, fmt.Errorf("round trips: %w", err)
	}
	err = inPhase(ctx, func(ctx context.Context) error {
		up, err := roleUp.open(ctx, c.dialer, c.address)
		if err != nil {
			return err
		}
		down, err := roleDown.open(ctx, c.dialer, c.address)
		if err != nil {
			return err
		}
		counter := c.meter.counter()
		go func() { c.failIn(ctx, send(up)) }()
		go func() { c.failIn(ctx, receive(down, counter)) }()
		if err := c.measure(ctx, c.moved()+2); err != nil {
			return err
		}
		h.bytes = c.client.total() + c.server.total()
		h.gbits = (c.client.rate() + c.server.rate()) * 8 / 1e9
		return c.allMoved(2)
	})
	if err != nil {
		return h, fmt.Errorf("bulk transfer: %w", err)
	}
	return h, nil
}

// inPhase calls f with a context that ends with it.
func inPhase(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return f(ctx)
}

// standstill is how long a healthy connection may stand still before that counts
// as a failure, rather than a low rate.
const standstill = time.Second

// allMoved returns an error if fewer than n counters moved in the interval: a
// connection has stood still all the time.
func (c *client) allMoved(n int) error {
	moved := c.client.moved() + c.server.moved()
	if moved < n && c.client.seconds() >= standstill.Seconds() {
		return fmt.Errorf("%d of %d connections stood still for %.3g s", n-moved, n, c.client.seconds())
	}
	return nil
}
