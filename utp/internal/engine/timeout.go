package engine

// HandleTimeout does what is due at now. Pass the time for which the timer was
// set rather than a later one at which it ran: a late timer must not take
// packets for lost that are merely waiting to be read.
func (c *Conn) HandleTimeout(now Time) {
	for id := range timerCount {
		if c.state == closed {
			return
		}
		if c.timers.expire(id, now) {
			c.timeout(id, now)
		}
	}
}

func (c *Conn) timeout(id timerID, now Time) {
	switch id {
	case timerRTO:
		c.rtoTimeout(now)
	case timerReorder:
		c.detectLoss(now)
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
