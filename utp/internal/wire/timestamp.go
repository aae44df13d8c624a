package wire

// Timestamp is timestamp_microseconds of BEP 29: the low 32 bits of the
// sender's microsecond clock, which wrap every 71.6 minutes. Zero means that
// the sender had no clock.
type Timestamp uint32

// TimestampAt returns the timestamp for a clock reading in nanoseconds. It is
// never zero: libutp and libtorrent take zero for "no timestamp".
func TimestampAt(ns int64) Timestamp {
	if t := Timestamp(ns / 1000); t != 0 {
		return t
	}
	return 1
}

// Before reports whether t was taken before u, less than half a wrap ago.
func (t Timestamp) Before(u Timestamp) bool { return int32(t-u) < 0 }

// noSample values of timestamp_difference_microseconds that peers read as "no
// sample yet": zero, and 0x7FFFFFFF, which an old µTorrent sent uninitialised.
const noSample = 0x7FFFFFFF

// DiffSince returns timestamp_difference_microseconds for a packet stamped t
// that arrived when the local clock read ns nanoseconds. The two values that
// mean "no sample" are avoided by one microsecond.
func (t Timestamp) DiffSince(ns int64) uint32 {
	switch d := uint32(ns/1000) - uint32(t); d {
	case 0:
		return 1
	case noSample:
		return noSample - 1
	default:
		return d
	}
}

// IsSample reports whether a received timestamp_difference_microseconds
// carries a measurement.
func IsSample(diff uint32) bool { return diff != 0 && diff != noSample }
