package engine

import (
	"time"

	"utppunch/utp/internal/wire"
)

// Time is an instant in nanoseconds on the clock of the endpoint, which starts
// above zero: the zero Time means "not set".
type Time int64

// Add returns the instant d later.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the duration since u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// timestamp returns what the wire carries for t.
func (t Time) timestamp() wire.Timestamp { return wire.TimestampAt(int64(t)) }
