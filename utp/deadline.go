package utp

import (
	"sync"
	"time"
)

// deadline is the read or write deadline of a connection. Conn.mu guards it.
type deadline struct {
	at      time.Time
	timer   *time.Timer // made when first needed, then reused
	expired bool
}

// set moves the deadline; cond is broadcast when it has passed. The zero time
// means none. A timer that was about to fire for an earlier deadline finds out
// that it is too early.
func (d *deadline) set(mu *sync.Mutex, cond *sync.Cond, at time.Time) {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.at, d.expired = time.Time{}, false
	if at.IsZero() {
		return
	}
	// What is left counts by the monotonic clock, whatever at is made of: the
	// wall clock may be set meanwhile.
	now := time.Now()
	left := at.Sub(now)
	d.at = now.Add(left)
	switch {
	case left <= 0:
		d.expired = true
		cond.Broadcast()
	case d.timer != nil:
		d.timer.Reset(left)
	default:
		d.timer = time.AfterFunc(left, func() {
			mu.Lock()
			defer mu.Unlock()
			if !d.at.IsZero() && !time.Now().Before(d.at) {
				d.expired = true
				cond.Broadcast()
			}
		})
	}
}

// passed reports whether the deadline has passed, also if its timer is late.
func (d *deadline) passed() bool {
	return d.expired || !d.at.IsZero() && !time.Now().Before(d.at)
}

// stop releases the timer for good.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.at = time.Time{}
}
