package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
)

// idle opens many connections from so many ports, uses each once, and leaves them
// alone.
type idle struct{ ports int }

const (
	// idleMessage is what is echoed over each connection, in bytes.
	idleMessage = 1024
	// idleDials is how many connections are opened at once.
	idleDials = 32
)

func (idle) serve(l net.Listener, m *meter) {
	var conns []net.Conn // so that they stay in use
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			m.fail(err)
			return
		}
		conns = append(conns, c)
		go func() {
			b := make([]byte, idleMessage)
			_, err := io.ReadFull(c, b)
			if err == nil {
				_, err = c.Write(b)
			}
			if err != nil {
				m.fail(err)
			}
		}()
	}
}

func (i idle) run(ctx context.Context, c *client) error {
	dialers := []dialer{c.dialer}
	for len(dialers) < i.ports {
		d, err := c.contestant.open(c.host)
		if err != nil {
			return err
		}
		defer d.Close()
		dialers = append(dialers, d)
	}
	// What the first connections take is for the port as a whole.
	first := make([]net.Conn, i.ports)
	if err := openAll(ctx, c, dialers, first); err != nil {
		return err
	}
	before, err := c.control.ask(askMemory)
	if err != nil {
		return err
	}
	conns := make([]net.Conn, c.spec.Idle)
	if err := openAll(ctx, c, dialers, conns); err != nil {
		return err
	}
	after, err := c.control.ask(askMemory)
	if err != nil {
		return err
	}
	if err := c.measure(ctx, 0); err != nil {
		return err
	}
	n := float64(len(conns))
	c.result.Ops = int64(len(conns))
	c.result.Value = (float64(after.Memory.Bytes) - float64(before.Memory.Bytes)) / n
	c.result.More[figureConns] = n
	c.result.More[figureGoroutines] = float64(after.Memory.Goroutines)
	c.result.More[figureIdleCPU] = 100 * c.server.cpu() / c.server.seconds()
	runtime.KeepAlive(first)
	runtime.KeepAlive(conns)
	return nil
}

// openAll fills conns with connections of all dialers and uses each once.
func openAll(ctx context.Context, c *client, dialers []dialer, conns []net.Conn) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range idleDials {
		wg.Go(func() {
			b := make([]byte, idleMessage)
			for c.meter.failure() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(conns) {
					return
				}
				conn, err := dialers[i%len(dialers)].dial(ctx, c.address)
				if err == nil {
					conns[i] = conn
					stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
					err = exchange(conn, b)
					stop()
				}
				if err != nil {
					c.meter.fail(fmt.Errorf("connection %d: %w", i, err))
				}
			}
		})
	}
	wg.Wait()
	return c.meter.failure()
}
