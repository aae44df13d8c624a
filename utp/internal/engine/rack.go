package engine

import (
	"time"

	"utppunch/utp/internal/wire"
)

// dupThresh is the number of later packets whose arrival shows that a packet
// was lost rather than overtaken (RFC 5681, RFC 8985 section 6.2 step 4).
const dupThresh = 3

// rack is the loss detection of RFC 8985 without its tail loss probe. uTP
// numbers packets, so RACK.end_seq is a packet number, and there is no DSACK:
// the reordering window stays at a quarter of the smallest round trip.
type rack struct {
	xmitTS         Time          // RACK.xmit_ts: last transmission of the most recently sent packet delivered
	rtt            time.Duration // RACK.rtt
	endSeq         wire.SeqNr    // RACK.end_seq: its number
	known          bool          // the fields above are set
	fack           wire.SeqNr    // RACK.fack: highest number delivered
	facked         bool          // it is set
	covered        wire.SeqNr    // nothing beyond it has been told in selective acknowledgements
	reorderingSeen bool
}

// delivered notes that the peer has the packet (RFC 8985, section 6.2 steps 2, 3).
func (k *rack) delivered(now Time, seq wire.SeqNr, r *record, minRTT time.Duration) {
	if !k.facked || seq.After(k.fack) {
		k.fack, k.facked = seq, true
	} else if seq.Before(k.fack) && r.transmissions == 1 {
		k.reorderingSeen = true
	}
	if r.transmissions > 1 && now.Sub(r.sentAt) < minRTT {
		// It may be the original that arrived (step 2): the sample is too short.
		return
	}
	if !k.known || r.sentAt > k.xmitTS || r.sentAt == k.xmitTS && seq.After(k.endSeq) {
		k.xmitTS, k.endSeq, k.rtt = r.sentAt, seq, now.Sub(r.sentAt)
	}
	k.known = true
}

// cover raises the number up to which selective acknowledgements have told what
// arrived. Beyond it silence means nothing: libutp's masks have 30 bits.
func (k *rack) cover(seq wire.SeqNr) {
	if seq.After(k.covered) {
		k.covered = seq
	}
}

// reoWnd is RACK_update_reo_wnd (step 4).
func (k *rack) reoWnd(inRecovery bool, sacked int, minRTT, srtt time.Duration) time.Duration {
	if !k.reorderingSeen && (inRecovery || sacked >= dupThresh) {
		return 0
	}
	return min(minRTT/4, srtt)
}

// detect moves the packets that must be taken for lost to the lost list (step
// 5). It returns how many, and how long until the next one is due, zero if none.
func (k *rack) detect(now Time, f *inflight, reoWnd time.Duration, lost func(wire.SeqNr, *record)) (wait time.Duration) {
	if !k.known {
		return 0
	}
	seq := f.sent.head
	for n := f.sent.count; n > 0; n-- {
		r := f.at(seq)
		next := wire.SeqNr(r.next)
		// RACK_sent_after(RACK.xmit_ts, RACK.end_seq, r.xmit_ts, r.end_seq); the
		// list is in order of transmission, so no later one is either.
		if r.sentAt > k.xmitTS || r.sentAt == k.xmitTS && !seq.Before(k.endSeq) {
			break
		}
		if !seq.After(k.covered) {
			left := r.sentAt.Add(k.rtt + reoWnd).Sub(now)
			if left > 0 {
				return left
			}
			f.markLost(seq)
			lost(seq, r)
		}
		seq = next
	}
	return 0
}
