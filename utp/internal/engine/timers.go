package engine

// timerID names one deadline of a connection.
type timerID uint8

const (
	timerRTO       timerID = iota // RFC 6298: the oldest packet has been out for too long
	timerReorder                  // RFC 8985: a packet may now be taken for lost
	timerAck                      // a delayed acknowledgement is due
	timerPace                     // the pacer lets the next run go
	timerHold                     // a short packet has been held back for long enough
	timerProbe                    // zero window: ask whether it has opened
	timerUpdate                   // repeat a window update, or the news of a gap, that may be lost
	timerHandshake                // repeat the SYN-ACK, or the STATE that answers it
	timerEmbryonic                // an inbound connection that nobody confirmed
	timerKeepAlive                // nothing was said for too long
	timerIdle                     // nothing was heard for too long (IdleTimeout)
	timerLinger                   // after Close: how long to go on flushing, or to await the peer's FIN
	timerShrink                   // give the memory of an idle connection back
	timerCount
)

// timers is the table of deadlines. A deadline of zero is off.
type timers [timerCount]Time

func (t *timers) set(id timerID, at Time) { t[id] = at }
func (t *timers) stop(id timerID)         { t[id] = 0 }
func (t *timers) running(id timerID) bool { return t[id] != 0 }

// next returns the earliest deadline, zero if none is set.
func (t *timers) next() Time {
	var first Time
	for _, at := range t {
		if at != 0 && (first == 0 || at < first) {
			first = at
		}
	}
	return first
}

// expire stops the timer and reports true if it is due.
func (t *timers) expire(id timerID, now Time) bool {
	if t[id] == 0 || t[id] > now {
		return false
	}
	t[id] = 0
	return true
}
