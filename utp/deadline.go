package utp

import (
	"sync"
	"time"
)

// deadline is the read or write deadline of a connection. Nil is none: most
// connections never have one. Conn.mu guards it.
type deadline struct {
	at      time.Time
	timer   *time.Timer // made when first needed, then reused
	expired bool
}

// set moves the deadline and returns it; w is woken when it has passed. The zero
// time means none. A timer that was about to fire for an earlier deadline finds
// out that it is too early.
func (d *deadline) set(mu *sync.Mutex, w *waiters, at time.Time) *deadline {
	d.stop()
	if at.IsZero() {
		return d
	}
	if d == nil {
		d = new(deadline)
	}
	// What is left counts by the monotonic clock, whatever at is made of: the
	// wall clock may be set meanwhile.
	now := time.Now()
	left := at.Sub(now)
	d.at = now.Add(left)
	switch {
	case left <= 0:
		d.expired = true
		w.wake()
	case d.timer != nil:
		d.timer.Reset(left)
	default:
		d.timer = time.AfterFunc(left, func() {
			mu.Lock()
			defer mu.Unlock()
			if !d.at.IsZero() && !time.Now().Before(d.at) {
				d.expired = true
				w.wake()
			}
		})
	}
	return d
}

// passed reports whether the deadline has passed, also if its timer is late.
func (d *deadline) passed() bool {
	return d != nil && (d.expired || !d.at.IsZero() && !time.Now().Before(d.at))
}

// stop ends the deadline; nothing keeps its memory then.
func (d *deadline) stop() {
	if d == nil {
		return
	}
	if d.timer != nil {
		d.timer.Stop()
	}
	d.at, d.expired = time.Time{}, false
}
