package utp

import (
	"fmt"
	"time"

	"utppunch/utp/internal/engine"
)

// CongestionControl selects how a connection shares the path with others.
type CongestionControl uint8

// Congestion control algorithms.
const (
	// CUBIC (RFC 9438, with HyStart++ of RFC 9406) shares the path as TCP does.
	// It is the default.
	CUBIC CongestionControl = iota
)

// String returns the usual name.
func (cc CongestionControl) String() string {
	switch cc {
	case CUBIC:
		return "CUBIC"
	default:
		return fmt.Sprintf("CongestionControl(%d)", uint8(cc))
	}
}

// Config is the configuration of uTP connections. The zero value is right for
// most programs. It is copied where it is passed and never changed. Of every
// field zero means the default; a negative value turns off what can be turned
// off and is an error elsewhere.
type Config struct {
	// MaxDatagram is the largest datagram to send, in bytes of UDP payload. The
	// default is what fills a packet of 1500 bytes: 1472, or 1452 over IPv6.
	// Larger ones, up to 65507, go to peers of our own kind only. Connections
	// start with 1200 bytes and find out whether the path takes more (RFC 8899).
	MaxDatagram int

	// SendBuffer is the most that Write buffers until it is acknowledged, and
	// RecvBuffer the most that the peer may send ahead of Read, in bytes a
	// connection. Both are bounds: a connection starts with 64 KiB and grows with
	// the path. The default is 16 MiB.
	SendBuffer int
	RecvBuffer int

	// Timeout ends a connection with ETIMEDOUT when data is outstanding and the
	// peer has acknowledged nothing new for so long. The default is 60 s; it
	// cannot be turned off.
	Timeout time.Duration

	// KeepAlive is how long nothing is sent before a keepalive is, so that NATs
	// remember the path. A peer of our own kind answers; when it has left three
	// in a row unanswered, the later ones each a fifth of KeepAlive after the one
	// before, the connection ends with ETIMEDOUT. To utp-punch something is said
	// every 1.5 s at least, for its applications take a peer that is silent for 5 s
	// for dead; as it does the same, its silence for Timeout is ETIMEDOUT. The
	// default is 25 s; negative: off, all of this.
	KeepAlive time.Duration

	// IdleTimeout ends a connection with ETIMEDOUT when nothing was received for
	// so long. Other implementations do not answer keepalives, so it also ends
	// healthy connections whose peer has nothing to say. Off by default.
	IdleTimeout time.Duration

	// Linger is how long Close goes on delivering, in the background, without any
	// progress, and then how long it waits for the peer's end of stream. Four
	// retransmissions are always made, however long they take, up to Timeout. The
	// default is 5 s. Negative: Close resets the connection, as SetLinger(0).
	Linger time.Duration

	// MaxConns is the most connections at a time, inbound and outbound together,
	// with those that were closed and are still being delivered; further dials
	// fail with EMFILE and further inbound ones are ignored. Off by default.
	MaxConns int

	// Backlog is the most inbound connections that wait for Accept. A SYN that
	// arrives when it is full is ignored. The default is 1024.
	Backlog int

	// CongestionControl is the algorithm of new connections.
	CongestionControl CongestionControl

	// Dialect is what new connections speak. By default it is found out, for each
	// of them; one that is set is assumed of every peer.
	Dialect Dialect
}

// Defaults and bounds.
const (
	defaultBuffer    = 16 << 20
	defaultTimeout   = 60 * time.Second
	defaultKeepAlive = 25 * time.Second
	defaultLinger    = 5 * time.Second
	defaultBacklog   = 1024

	minDatagram = 150 // a header, a long selective acknowledgement, and some payload
	minBuffer   = 4096
	minDuration = time.Millisecond
	maxBuffer   = 1 << 30
)

// Validate reports the first field whose value cannot be used.
func (c *Config) Validate() error {
	bad := func(field string, value any, want string) error {
		return fmt.Errorf("utp: Config.%s is %v: %s", field, value, want)
	}
	switch {
	case c.MaxDatagram != 0 && (c.MaxDatagram < minDatagram || c.MaxDatagram > engine.MaxDatagram):
		return bad("MaxDatagram", c.MaxDatagram, fmt.Sprintf("must be 0 or from %d to %d bytes", minDatagram, engine.MaxDatagram))
	case c.SendBuffer != 0 && (c.SendBuffer < minBuffer || c.SendBuffer > maxBuffer):
		return bad("SendBuffer", c.SendBuffer, fmt.Sprintf("must be 0 or from %d to %d bytes", minBuffer, maxBuffer))
	case c.RecvBuffer != 0 && (c.RecvBuffer < minBuffer || c.RecvBuffer > maxBuffer):
		return bad("RecvBuffer", c.RecvBuffer, fmt.Sprintf("must be 0 or from %d to %d bytes", minBuffer, maxBuffer))
	case c.Timeout < 0:
		return bad("Timeout", c.Timeout, "cannot be turned off")
	case tooShort(c.Timeout):
		return bad("Timeout", c.Timeout, shortDuration)
	case tooShort(c.KeepAlive):
		return bad("KeepAlive", c.KeepAlive, shortDuration)
	case tooShort(c.IdleTimeout):
		return bad("IdleTimeout", c.IdleTimeout, shortDuration)
	case tooShort(c.Linger):
		return bad("Linger", c.Linger, shortDuration)
	case c.Backlog < 0:
		return bad("Backlog", c.Backlog, "cannot be turned off")
	case c.CongestionControl > CUBIC:
		return bad("CongestionControl", c.CongestionControl, "there is no such algorithm")
	case c.Dialect > UTPPunch:
		return bad("Dialect", c.Dialect, "there is no such dialect")
	}
	return nil
}

// shortDuration is what is wrong with a duration below minDuration.
const shortDuration = "a duration needs a unit, such as 25 * time.Second"

// tooShort reports whether a duration can only be a number that lacks its unit.
func tooShort(d time.Duration) bool { return d > 0 && d < minDuration }

func withDefault[T int | time.Duration](v, def T) T {
	switch {
	case v == 0:
		return def
	case v < 0:
		return 0
	default:
		return v
	}
}

// params resolves the defaults for connections over IPv4 or IPv6.
func (c *Config) params(mem engine.Memory, ipv6 bool) *engine.Params {
	datagram := engine.MaxDatagramIPv4
	if ipv6 {
		datagram = engine.MaxDatagramIPv6
	}
	return &engine.Params{
		MaxDatagram:       withDefault(c.MaxDatagram, datagram),
		SendBuffer:        withDefault(c.SendBuffer, defaultBuffer),
		RecvBuffer:        withDefault(c.RecvBuffer, defaultBuffer),
		Timeout:           withDefault(c.Timeout, defaultTimeout),
		KeepAlive:         withDefault(c.KeepAlive, defaultKeepAlive),
		IdleTimeout:       withDefault(c.IdleTimeout, 0),
		Linger:            withDefault(max(c.Linger, 0), defaultLinger), // off or not, SetLinger can ask for it
		CongestionControl: engine.CongestionControl(c.CongestionControl),
		Dialect:           engine.Dialect(c.Dialect),
		Memory:            mem,
	}
}
