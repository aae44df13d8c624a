package engine

import (
	"fmt"
	"time"
)

// judge decides whether the conversation ended as it may.
func (s *scenario) judge() error {
	first, second := s.a, s.b
	if second.closedAt != 0 && (first.closedAt == 0 || second.closedOrder < first.closedOrder || second.closedAt < first.closedAt) {
		first, second = second, first
	}
	for _, a := range [...]*actor{s.a, s.b} {
		if a.x.mem.chunks != 0 || a.x.mem.bytes != 0 || a.x.mem.reserved != 0 {
			return fmt.Errorf("%s: memory left: %d chunks, %d reserved", a.x.name, a.x.mem.chunks, a.x.mem.reserved)
		}
		if c := a.inv.c; c != nil && !s.foreign && c.window.overshotAt != 0 {
			return fmt.Errorf("%s: the peer, of our own kind, sent more than it was allowed", a.x.name)
		}
		if err := s.judgeStream(a, s.other(a)); err != nil {
			return fmt.Errorf("from %s to %s: %w", a.x.name, a.x.other.name, err)
		}
	}
	if err := s.judgeFirst(first); err != nil {
		return fmt.Errorf("%s closed first: %w", first.x.name, err)
	}
	if second.x.conn != nil {
		if err := s.judgeSecond(first, second); err != nil {
			return fmt.Errorf("%s closed second: %w", second.x.name, err)
		}
	}
	return s.judgeEffort()
}

func (s *scenario) other(a *actor) *actor {
	if a == s.a {
		return s.b
	}
	return s.a
}

// reliable reports whether the network is good enough for a connection to
// survive: a packet that is sent again for a minute gets through.
func (s *scenario) reliable() bool { return s.p.a.out.loss < 0.1 && s.p.b.out.loss < 0.1 }

// hasty reports whether a may have given up after Close, though its peer was
// there: it waits for Linger only, and for one that does not read for Timeout.
func (s *scenario) hasty(a *actor) bool {
	return a.inv.c != nil && a.inv.c.closing && (a.x.params.Linger < time.Minute || s.other(a).longPause > 50*time.Second)
}

// judgeStream looks at the bytes that w wrote. That what r read is a prefix of
// them was found out when it read them.
func (s *scenario) judgeStream(w, r *actor) error {
	if !r.discards && r.read < w.acked {
		return fmt.Errorf("%d bytes were acknowledged, %d could be read", w.acked, r.read)
	}
	if r.sawEOF && r.read != w.wrote {
		// Others end with a RESET what they have no more to say to, so from them
		// one that follows our FIN is taken for a FIN.
		if cut := s.foreign && r.reason == Finished && w.reason != Finished; !cut {
			return fmt.Errorf("end of stream after %d of %d bytes", r.read, w.wrote)
		}
	}
	if r.discards || w.aborted || !s.reliable() || w.reason == TimedOut || r.reason == TimedOut {
		return nil
	}
	// w did not abort, so what it wrote has to arrive, however it closed. (Whether
	// somebody may have timed out is decided elsewhere.)
	if !s.hasty(w) {
		if r.read != w.wrote || !r.sawEOF {
			return fmt.Errorf("%d of %d bytes arrived, end of stream: %v", r.read, w.wrote, r.sawEOF)
		}
	}
	return nil
}

// judgeFirst looks at how the side ended that ended first: whatever happened,
// it was not the other's doing.
func (s *scenario) judgeFirst(a *actor) error {
	if a.started == 0 {
		// Half-open: the dialler went on to another attempt, or went away.
		return nil
	}
	switch a.reason {
	case Finished:
		if !a.inv.c.finSent {
			return fmt.Errorf("finished, but it never ended its stream")
		}
		if !a.inv.c.eof && !a.inv.c.closing {
			return fmt.Errorf("finished, but its peer has not")
		}
	case Aborted:
		// By itself; or data came after Close that nobody will read.
		if !a.aborted && !(a.discards && a.inv.c.closing) {
			return fmt.Errorf("aborted, and nobody asked for it")
		}
	case TimedOut:
		// Keepalives are not repeated for a minute.
		unlucky := a.inv.c.asked == keepAliveMisses && max(s.p.a.out.loss, s.p.b.out.loss) > 0.05
		if s.reliable() && !s.hasty(a) && !unlucky {
			return fmt.Errorf("timed out")
		}
	default:
		return fmt.Errorf("reason %d", a.reason)
	}
	return nil
}

// judgeSecond looks at the other side. It may have been left alone.
func (s *scenario) judgeSecond(first, a *actor) error {
	remembered := first.x.tomb != nil && a.closedAt.Sub(first.closedAt) < tombstoneLife
	switch a.reason {
	case Finished, Aborted:
		return s.judgeFirst(a)
	case ResetByPeer:
		if remembered {
			return fmt.Errorf("reset, though its peer had finished")
		}
	case TimedOut:
		if s.reliable() && remembered && !s.hasty(a) {
			return fmt.Errorf("timed out, though its peer had finished")
		}
	default:
		return fmt.Errorf("reason %d", a.reason)
	}
	if first.reason == Finished && !s.hasty(a) && !first.discards && !a.discards && s.reliable() && a.closedAt.Sub(first.closedAt) < tombstoneLife {
		return fmt.Errorf("reason %d, though both ended gracefully", a.reason)
	}
	return nil
}

// judgeEffort: on a network that loses and delays nothing, nothing is sent twice.
func (s *scenario) judgeEffort() error {
	for _, a := range [...]*actor{s.a, s.b} {
		l := a.x.out
		if l.loss > 0 || l.jitter > 0 || l.duplicate > 0 || l.rate > 0 || l.mtu > 0 || l.iface > 0 || l.upAt > 0 || a.discards || a.longPause > 0 || a.readPause > 0 {
			return nil
		}
	}
	for _, a := range [...]*actor{s.a, s.b} {
		if st := a.inv.c.stats; st.Retransmits > 0 || st.Timeouts > 0 || st.BeyondWindow > 0 || st.Duplicates > 0 {
			return fmt.Errorf("%s: trouble on a perfect network", a.x.name)
		}
	}
	return nil
}
