package utp

import (
	"context"
	"errors"
	"net"
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
	reports chan *Conn
	won     atomic.Bool // one of them is established
	refused chan error  // by the system: the SYN cannot be sent
	lost    chan *Conn  // an ICMP message says that its SYN did not arrive
}

// undelivered notes an ICMP message about the SYN of c.
func (d *dialing) undelivered(c *Conn) {
	select {
	case d.lost <- c:
	default: // enough of them
	}
}

func (d *dialing) fail(err error) {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	select {
	case d.refused <- err:
	default:
	}
}

func (d *dialing) report(c *Conn) {
	select {
	case d.reports <- c:
	default: // the dial has ended
	}
}

// Dial connects to route.Remote. Without an answer it gives up after 30 s with
// ETIMEDOUT, or earlier when ctx ends, with the error of ctx; ECONNREFUSED says
// that the peer refused or that its host said, by ICMP, that nobody is there, and
// EADDRNOTAVAIL that every connection id towards it is
// in use; where there is no route, the error is the system's. A connection that is
// established when ctx ends is returned.
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
	// An attempt can report that it is established and that it has ended.
	d := &dialing{reports: make(chan *Conn, 2*len(synIntervals)), refused: make(chan error, 1), lost: make(chan *Conn, 8)}
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
	var lost *Conn
	timer := time.NewTimer(synIntervals[0])
	defer timer.Stop()
	for _, interval := range synIntervals {
		if len(attempts) > 0 && e.config.Dialect == UTPPunch {
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
		if winner, err = e.await(ctx, d, timer.C, &lost); winner != nil || err != nil {
			return winner, err
		}
	}
	return nil, errno("connect", syscall.ETIMEDOUT)
}

// await waits until an attempt is established or the dial has failed. Neither is
// returned when it is time for the next attempt.
//
// An ICMP message that an attempt did not arrive can be forged, or of the moment, as
// can utp-punch's RESET: lost keeps that attempt, and another is made at once. When
// that does not arrive either the dial is refused.
func (e *Endpoint) await(ctx context.Context, d *dialing, next <-chan time.Time, lost **Conn) (*Conn, error) {
	for {
		select {
		case c := <-d.reports:
			if ok, err := c.dialResult(); err != nil {
				return nil, err
			} else if ok {
				return c, nil
			}
		case <-next:
			return nil, nil
		case err := <-d.refused:
			return nil, err
		case c := <-d.lost:
			switch *lost {
			case nil:
				*lost = c
				return nil, nil
			case c:
				if e.config.Dialect != UTPPunch {
					continue // the same once more
				}
				fallthrough
			default:
				return nil, errno("connect", syscall.ECONNREFUSED)
			}
		case <-ctx.Done():
			for len(d.reports) > 0 {
				c := <-d.reports
				if ok, _ := c.dialResult(); ok {
					return c, nil
				}
			}
			return nil, contextError(ctx)
		}
	}
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

// dialResult reports whether an attempt is established, or why its dial cannot
// succeed.
func (c *Conn) dialResult() (ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r := c.engine.Reason(); {
	case c.established:
		return true, nil
	case r == engine.Refused || r == engine.Aborted:
		return false, reasonError("connect", r)
	default:
		return false, nil
	}
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
