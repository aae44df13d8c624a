package engine

// HandleTimeout does what is due at now. It may be late, by as long as the process
// was stopped: what arrived meanwhile waits to be read, so that time does not
// count against the peer.
func (c *Conn) HandleTimeout(now Time) {
	if due := c.timers.next(); due != 0 && due < now {
		late := now.Sub(due)
		c.lastHeard = min(c.lastHeard.Add(late), now)
		c.lastProgress = min(c.lastProgress.Add(late), now)
	}
	for id := range timerCount {
		if c.state == closed {
			return
		}
		if due := c.timers[id]; c.timers.expire(id, now) {
			c.timeout(id, due, now)
		}
	}
}

func (c *Conn) timeout(id timerID, due, now Time) {
	switch id {
	case timerRTO:
		c.rtoTimeout(now)
	case timerReorder:
		// As of then: a late timer must not take packets for lost whose
		// acknowledgement waits to be read.
		c.detectLoss(due)
	case timerAck:
		c.ack.now()
	case timerPace:
		// PollTransmit looks again.
	case timerHold:
		c.holdOver = true
	case timerProbe:
		c.probeTimeout(now)
	case timerUpdate:
		c.updateTimeout(now)
	case timerHandshake:
		c.handshakeTimeout(now)
	case timerEmbryonic:
		c.close(TimedOut)
	case timerKeepAlive:
		c.keepAliveTimeout(now)
	case timerIdle:
		c.idleTimeout(now)
	case timerLinger:
		c.lingerTimeout(now)
	case timerShrink:
		c.shrinkTimeout(now)
	}
}
