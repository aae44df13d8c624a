package main

import (
	"context"
	"fmt"
	"io"
	"net"
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
	var mu sync.Mutex
	var conns []net.Conn // so that they are in use
	echoed := m.counter()
	for {
		c, err := l.Accept()
		if err != nil {
			m.fail(err)
			return
		}
		mu.Lock()
		conns = append(conns, c)
		mu.Unlock()
		go func() {
			b := make([]byte, idleMessage)
			_, err := io.ReadFull(c, b)
			if err == nil {
				_, err = c.Write(b)
			}
			if err != nil {
				m.fail(err)
			}
			echoed.Add(1)
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
	before, err := c.control.ask(askMemory)
	if err != nil {
		return err
	}
	conns, err := openAll(ctx, c, dialers)
	if err != nil {
		return err
	}
	// What is not collected with the connections of the handshake has ended.
	after, err := c.control.ask(askMemory)
	if err != nil {
		return err
	}
	if err := c.measure(ctx); err != nil {
		return err
	}
	n := float64(len(conns))
	c.result.Ops = int64(len(conns))
	c.result.Value = (float64(after.Memory.Bytes) - float64(before.Memory.Bytes)) / n
	c.result.More[figureConns] = n
	c.result.More[figureGoroutines] = float64(after.Memory.Goroutines)
	c.result.More[figureIdleCPU] = 100 * c.server.cpu() / c.server.seconds()
	return nil
}

// openAll opens the connections and uses each once.
func openAll(ctx context.Context, c *client, dialers []dialer) ([]net.Conn, error) {
	conns := make([]net.Conn, c.spec.Idle)
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
	return conns, c.meter.failure()
}
