package utp

import "sync"

// readyList is the connections that have something to send and leave it to the
// sender, in turn, and the answers that belong to no connection. Its mutex is a
// leaf: it is taken under any other and takes none.
type readyList struct {
	mu      sync.Mutex
	wake    sync.Cond // the sender waits here
	drained sync.Cond // Shutdown and Close wait here
	// guarded by mu
	head, tail *Conn // linked by Conn.readyNext
	control    []control
	busy       bool // the sender is at work
	closed     bool
}

// control is an answer that belongs to no connection.
type control struct {
	route   Route
	segment uint8
	len     uint8
	data    [2 * 20]byte
}

// maxControl bounds the answers that wait; further ones are dropped, as the
// network might.
const maxControl = 256

func (r *readyList) init() {
	r.wake.L, r.drained.L = &r.mu, &r.mu
}

// push adds a connection, once.
func (r *readyList) push(c *Conn) {
	r.mu.Lock()
	if !c.ready && !r.closed {
		c.ready = true
		if r.tail == nil {
			r.head = c
		} else {
			r.tail.readyNext = c
		}
		r.tail = c
		r.wake.Signal()
	}
	r.mu.Unlock()
}

// pushControl adds an answer and reports whether there was room.
func (r *readyList) pushControl(a control) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.control) >= maxControl || r.closed {
		return false
	}
	r.control = append(r.control, a)
	r.wake.Signal()
	return true
}

// next waits for work: answers first, appended to buf, else a connection. It
// reports false when the list was closed.
func (r *readyList) next(buf []control) (_ []control, c *Conn, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy = false
	for r.head == nil && len(r.control) == 0 && !r.closed {
		r.drained.Broadcast()
		r.wake.Wait()
	}
	if r.closed {
		r.drained.Broadcast()
		return nil, nil, false
	}
	r.busy = true
	if len(r.control) > 0 {
		buf = append(buf, r.control...)
		r.control = r.control[:0]
		return buf, nil, true
	}
	c = r.head
	if r.head = c.readyNext; r.head == nil {
		r.tail = nil
	}
	c.readyNext, c.ready = nil, false
	return buf, c, true
}

// drain waits until there is nothing left to send, as long as wait is true; wake
// drained to have it asked again. It reports whether there is nothing left.
func (r *readyList) drain(wait func() bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.idleLocked() && wait() {
		r.drained.Wait()
	}
	return r.idleLocked()
}

// poke has drain ask again.
func (r *readyList) poke() {
	r.mu.Lock()
	r.drained.Broadcast()
	r.mu.Unlock()
}

func (r *readyList) idleLocked() bool {
	return r.closed || r.head == nil && len(r.control) == 0 && !r.busy
}

// close ends the sender; what is on the list is not sent.
func (r *readyList) close() {
	r.mu.Lock()
	r.closed = true
	r.wake.Broadcast()
	r.drained.Broadcast()
	r.mu.Unlock()
}
