package simnet

import (
	"net"
	"sync"
	"time"
)

// SetDeadline sets the deadlines of both reading and writing.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, true, true) }

// SetReadDeadline sets when ReadFrom gives up, one that is already waiting included. The zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, true, false) }

// SetWriteDeadline sets after when WriteTo fails. The zero time means never.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

func (c *Conn) setDeadlines(t time.Time, read, write bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.opError("set", nil, net.ErrClosed)
	}
	if read {
		c.readDeadline.set(t, &c.readable)
	}
	if write {
		c.writeDeadline = t // WriteTo never waits, so it needs no timer
	}
	return nil
}

// deadline turns a point in time into a condition. It is guarded by the lock of the condition variable given to set.
type deadline struct {
	passed bool
	timer  *time.Timer
	nr     uint64 // counts calls of set, so that a timer that was stopped too late knows that it was
}

// set makes passed true at t, if t is not zero, and then wakes all that wait on c.
func (d *deadline) set(t time.Time, c *sync.Cond) {
	d.stop()
	d.nr++
	d.passed = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		c.Broadcast()
		return
	}
	nr := d.nr
	d.timer = time.AfterFunc(wait, func() {
		c.L.Lock()
		defer c.L.Unlock()
		if d.nr == nr {
			d.passed = true
			c.Broadcast()
		}
	})
}

// stop leaves no timer behind.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
