package engine

import "time"

const (
	// keepAliveMisses is how many keepalives our own kind may leave unanswered.
	keepAliveMisses = 3
	// keepAliveRetry divides the interval for those that follow an unanswered one.
	keepAliveRetry = 5
	// Bounds of the interval between zero-window probes.
	minProbe = 500 * time.Millisecond
	maxProbe = 15 * time.Second
	// shrinkAfter is how long a connection is idle before its rings are freed.
	shrinkAfter = time.Second
)

// startLiveness arms the timers that watch an established connection. They are
// armed lazily: a timer that fires early finds out and moves itself.
func (c *Conn) startLiveness(now Time) {
	if d := c.keepAlive(); d > 0 {
		c.timers.set(timerKeepAlive, now.Add(d))
	}
	if d := c.params.IdleTimeout; d > 0 {
		c.timers.set(timerIdle, now.Add(d))
	}
}

// keepAlive is the interval of keepalives, zero for off.
func (c *Conn) keepAlive() time.Duration {
	if c.punch() {
		return min(c.params.KeepAlive, punchKeepAlive)
	}
	return c.params.KeepAlive
}

// keepAliveTimeout sends a keepalive when the path was quiet: a STATE whose
// ack_nr lags by one, libutp's form. Our own kind answers it, which also tells a
// dead peer from an idle one.
func (c *Conn) keepAliveTimeout(now Time) {
	if c.punch() && c.params.Timeout > 0 && now.Sub(c.lastHeard) >= c.params.Timeout {
		c.abort(TimedOut) // it says something every 2 s
		return
	}
	interval := c.keepAlive()
	quiet := c.lastSent
	if c.ownKind {
		quiet = min(c.lastSent, c.lastHeard)
	}
	if c.asked > 0 {
		// Unanswered so far: ask again, sooner.
		if c.asked >= keepAliveMisses {
			c.abort(TimedOut)
			return
		}
		interval /= keepAliveRetry
		quiet = c.lastSent
	}
	if at := quiet.Add(interval); at > now {
		c.timers.set(timerKeepAlive, at)
		return
	}
	c.askDue = true
	if c.ownKind {
		c.asked++
		interval = c.keepAlive() / keepAliveRetry
	}
	c.timers.set(timerKeepAlive, now.Add(interval))
}

// idleTimeout ends a connection of which nothing was heard for IdleTimeout.
func (c *Conn) idleTimeout(now Time) {
	if at := c.lastHeard.Add(c.params.IdleTimeout); at > now {
		c.timers.set(timerIdle, at)
		return
	}
	c.abort(TimedOut)
}

// awaitWindow is called when the peer's window is closed and data waits.
func (c *Conn) awaitWindow(now Time) {
	if c.out.count() == 0 && !c.timers.running(timerProbe) {
		c.timers.set(timerProbe, now.Add(c.probeInterval()))
	}
}

func (c *Conn) probeInterval() time.Duration {
	return min(max(c.rtt.rto(c.rtoFloor()), minProbe)<<min(c.probes, 5), maxProbe)
}

// probeTimeout asks whether a closed window has opened: our own kind with a
// keepalive, which it answers; others with one packet beyond the window.
func (c *Conn) probeTimeout(now Time) {
	if c.peerWindow > 0 || c.unsent == c.buf.end {
		return
	}
	if limit := c.giveUpAt(); limit != 0 && now >= limit {
		c.abort(TimedOut)
		return
	}
	if c.probes < 255 {
		c.probes++
	}
	if c.ownKind {
		c.askDue = true
		c.timers.set(timerProbe, now.Add(c.probeInterval()))
		return
	}
	c.windowProbe = true
}

// windowOpened is called when a window has opened into which packets were sent
// again and again: the peer had no room for them. They go at once; the timeouts
// said nothing about the path.
func (c *Conn) windowOpened(now Time) {
	c.out.loseAll()
	c.rtt.progress()
	c.armRTO(now)
}

// keepMemory sees to it that what is allocated now is freed when the connection
// has become idle.
func (c *Conn) keepMemory(now Time) {
	if !c.timers.running(timerShrink) {
		c.timers.set(timerShrink, now.Add(shrinkAfter))
	}
}

// shrinkTimeout frees the rings of an idle connection.
func (c *Conn) shrinkTimeout(now Time) {
	if at := max(c.lastSent, c.lastHeard).Add(shrinkAfter); at > now {
		c.timers.set(timerShrink, at)
		return
	}
	if c.out.count() == 0 {
		c.out.ring = nil
	}
	if c.ahead.count == 0 {
		c.ahead = reorder{}
	}
}
