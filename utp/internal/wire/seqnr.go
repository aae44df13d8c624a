package wire

// SeqNr is a seq_nr or ack_nr of BEP 29: a packet number that wraps at 65536.
// Two numbers are comparable while they are less than 32768 apart.
type SeqNr uint16

// Diff returns the signed distance from b to a: positive when a comes after b.
func (a SeqNr) Diff(b SeqNr) int { return int(int16(a - b)) }

// Before reports whether a comes before b.
func (a SeqNr) Before(b SeqNr) bool { return int16(a-b) < 0 }

// After reports whether a comes after b.
func (a SeqNr) After(b SeqNr) bool { return int16(a-b) > 0 }
