package utp

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"utppunch/utp/internal/engine"
)

// synIntervals are the times between the SYNs of a dial (RFC 6298, 2.1 and 5.5),
// the last one how long the last of them may take: 30 s in all. Each is an
// attempt of its own, with a fresh connection id and sequence number: libutp and
// libtorrent have no second answer for the same SYN when the first was lost. To
// utp-punch, if it is known that the peer is that, the same one is sent again: every
// further id is a further connection there.
var synIntervals = [...]time.Duration{
	1 * time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second,
}

// dialing is where the attempts of one dial report.
type dialing struct {
	won     atomic.Bool   // one of them is established
	news    chan struct{} // of capacity 1: an attempt has changed, or what follows
	repeats bool          // there is one attempt, which repeats its SYN

	mu sync.Mutex // a leaf
	// guarded by mu
	lost   *Conn // the attempt that an ICMP message says has not arrived
	lostAt time.Time
	again  bool  // therefore the next one is to be made at once
	err    error // why the dial cannot succeed
}

func (d *dialing) report() {
	select {
	case d.news <- struct{}{}:
	default: // it is known that there is something
	}
}

// hasten notes that it is said of the SYN of c that nobody takes it, in a way that
// can be forged, or of the moment: another attempt is made at once.
func (d *dialing) hasten(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost == nil {
		d.lost, d.again = c, true
		d.report()
	}
}

// minRefusal is how much later the news of a SYN that was repeated is not that of the
// first.
const minRefusal = 100 * time.Millisecond

// unreachable notes an ICMP message about the SYN of c. When that of another attempt
// does not arrive either the dial is refused.
func (d *dialing) unreachable(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.lost == nil:
		d.lost, d.lostAt, d.again = c, time.Now(), true
	case d.lost == c && (!d.repeats || time.Since(d.lostAt) < minRefusal):
		return // the same once more
	default:
		d.err = errno("connect", syscall.ECONNREFUSED)
	}
	d.report()
}

// fail notes that the system will not send the SYN.
func (d *dialing) fail(err error) {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
	d.report()
}

// Dial connects to route.Remote. Without an answer it gives up after 30 s with
// ETIMEDOUT, or earlier when ctx ends, with the error of ctx; ECONNREFUSED says
// that the peer refused or that its host said, by ICMP, that nobody is there, and
// EADDRNOTAVAIL that every connection id towards it is in use; where there is no
// route, the error is the system's. A connection that is established when ctx ends
// is returned.
func (e *Endpoint) Dial(ctx context.Context, route Route) (*Conn, error) {
	c, err := e.connect(ctx, route)
	if err != nil {
		return nil, opError("dial", nil, NewAddr(route.Remote), err)
	}
	e.dialed.Add(1)
	return c, nil
}

func (e *Endpoint) connect(ctx context.Context, route Route) (*Conn, error) {
	if ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	d := &dialing{news: make(chan struct{}, 1), repeats: e.config.Dialect == UTPPunch}
	attempts := make([]*Conn, 0, len(synIntervals))
	var winner *Conn
	defer func() {
		spoken := winner.dialect()
		for _, c := range attempts {
			if c != winner {
				c.giveUp(spoken)
			}
		}
	}()
	timer := e.dialTimers.Get().(*time.Timer)
	defer func() {
		timer.Stop()
		e.dialTimers.Put(timer)
	}()
	for _, interval := range synIntervals {
		if len(attempts) > 0 && d.repeats {
			attempts[0].repeatSyn()
		} else {
			c, err := e.attempt(route, d, len(attempts) == 0)
			if err != nil {
				return nil, err
			}
			attempts = append(attempts, c)
		}
		timer.Reset(interval)
		var err error
		if winner, err = d.await(ctx, timer.C, attempts); winner != nil || err != nil {
			return winner, err
		}
	}
	return nil, errno("connect", syscall.ETIMEDOUT)
}

// await waits until an attempt is established or the dial has failed. Neither is
// returned when it is time for the next attempt.
func (d *dialing) await(ctx context.Context, next <-chan time.Time, attempts []*Conn) (*Conn, error) {
	for {
		if c, err := d.result(attempts); c != nil || err != nil {
			return c, err
		}
		if d.goOn() {
			return nil, nil
		}
		select {
		case <-d.news:
		case <-next:
			return nil, nil
		case <-ctx.Done():
			if c, _ := d.result(attempts); c != nil {
				return c, nil
			}
			return nil, contextError(ctx)
		}
	}
}

// goOn reports, once, whether the next attempt is to be made at once.
func (d *dialing) goOn() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	again := d.again
	d.again = false
	return again
}

// result returns the attempt that is established, or why the dial cannot succeed.
func (d *dialing) result(attempts []*Conn) (*Conn, error) {
	d.mu.Lock()
	err := d.err
	d.mu.Unlock()
	// The errors first: an attempt that finds another one established is aborted.
	for _, c := range attempts {
		if err == nil {
			err = c.dialError()
		}
	}
	for _, c := range attempts {
		if c.dialled() {
			return c, nil
		}
	}
	return nil, err
}

// attempt sends one SYN, the first of a dial or a later one.
func (e *Endpoint) attempt(route Route, d *dialing, first bool) (*Conn, error) {
	c := newConn(e, route)
	c.dial = d
	c.unbound = !route.Local.IsValid()
	e.mu.Lock()
	switch {
	case e.stopping:
		e.mu.Unlock()
		return nil, net.ErrClosed
	case first && e.fullLocked():
		e.mu.Unlock()
		return nil, errno("connect", syscall.EMFILE)
	}
	now := e.now()
	id, ok := e.freeIDLocked(route, now)
	if !ok {
		e.mu.Unlock()
		return nil, errno("connect", syscall.EADDRNOTAVAIL)
	}
	params, ipv6 := e.params(route.Remote.Addr())
	c.clock = now
	c.engine.Connect(now, params, engine.Identity{ConnID: id, SeqNr: e.random.seqNr(), IPv6: ipv6})
	c.started()
	e.table.put(c)
	e.mu.Unlock()
	c.mu.Lock()
	c.flushLocked()
	c.unlock()
	return c, nil
}

// freeIDLocked draws a connection id that is not in use towards route: an even
// one, which leaves the odd ones to what the peer dials, and never 0xFFFF, which
// libutp cannot accept.
func (e *Endpoint) freeIDLocked(route Route, now engine.Time) (uint16, bool) {
	const randomTries = 16
	var id uint16
	for range randomTries {
		id = e.random.uint16() &^ 1
		if e.freePairLocked(route, id, now) {
			return id, true
		}
	}
	for range 1 << 15 {
		id += 2
		if e.freePairLocked(route, id, now) {
			return id, true
		}
	}
	return 0, false
}

// repeatSyn sends the SYN of an attempt again.
func (c *Conn) repeatSyn() {
	c.mu.Lock()
	c.tick()
	c.engine.RepeatSyn()
	c.flushLocked()
	c.unlock()
}

// dialled reports whether an attempt is established.
func (c *Conn) dialled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.established
}

// dialError returns why the dial of an attempt cannot succeed.
func (c *Conn) dialError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.engine.Reason(); r == engine.Refused || r == engine.Aborted {
		return reasonError("connect", r)
	}
	return nil
}

// giveUp ends an attempt that is not wanted any more. The peer is told: libutp
// never forgets a half-open connection by itself. Spoken is the peer's dialect, if
// that is known.
func (c *Conn) giveUp(spoken engine.Dialect) {
	c.mu.Lock()
	c.closed = true
	c.engine.Assume(spoken)
	c.engine.Abort()
	c.flushLocked()
	c.unlock()
}
