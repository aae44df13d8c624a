package utppunch_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// pause is long enough for what is tested to begin, where nothing tells that it has. Should it be too short, the
	// test still passes.
	pause = 10 * time.Millisecond
	// large is more than any buffers hold.
	large = 64 << 20
)

var zeroes = make([]byte, large)

// Where uTP answers otherwise on purpose.
const (
	kinderClose = "Close with unread data does not throw away what was written: a FIN follows it, no RESET"
	stickyReset = "the first terminal error of Read is sticky: a reset stream never looks like one that ended well"
	writeReset  = "ECONNRESET is for calls that were under way; a later Write meets a broken pipe"
	ownWords    = "the text is the context's own; package net has words of its own for it"
	ownPort     = "the text says what is allowed"
)

// errorRows is the table. Two of its points have no twin in TCP or no case yet: a failed punch, and an error of Accept
// that goes away by itself.
var errorRows = []errorRow{
	{"peer closed", func(t *testing.T, s errorStack) []call {
		c, peer := s.pair(t)
		write(peer, 5)
		peer.Close()
		return []call{read(c), read(c), read(c)}
	}},
	{"peer closed, data unread there", func(t *testing.T, s errorStack) []call {
		c, peer := s.pair(t)
		write(c, 5)
		read(peer, 1)
		write(peer, 5)
		peer.Close()
		return []call{read(c), read(c).but(kinderClose)}
	}},
	{"peer closed, Write", func(t *testing.T, s errorStack) []call {
		c, peer := s.pair(t)
		peer.Close()
		read(c)
		return []call{write(c, 5), writeUntilError(c), read(c)}
	}},
	{"peer reset", func(t *testing.T, s errorStack) []call {
		c, peer := s.pair(t)
		time.AfterFunc(pause, func() { reset(peer) })
		return []call{read(c), read(c).but(stickyReset), write(c, 5), plain("CloseWrite", c.CloseWrite())}
	}},
	{"peer reset, large Write", func(t *testing.T, s errorStack) []call {
		c, peer := s.pair(t)
		go func() {
			read(peer)
			reset(peer)
		}()
		return []call{write(c, large), write(c, 5)}
	}},
	{"peer reset, then Write", func(t *testing.T, s errorStack) []call {
		c, peer := s.pair(t)
		reset(peer)
		return []call{writeUntilError(c).but(writeReset), write(c, 5)}
	}},
	{"path dead", func(t *testing.T, s errorStack) []call {
		return []call{read(s.dying(t)), write(s.dying(t), large)}
	}},
	{"deadline in the past", func(t *testing.T, s errorStack) []call {
		c, peer := s.pair(t)
		write(peer, 5)
		read(c, 1) // more is there
		assert.NoError(t, c.SetDeadline(time.Unix(1, 0)))
		calls := []call{read(c), write(c, 5), read(c, 0), write(c, 0)}
		assert.NoError(t, c.SetDeadline(time.Time{}))
		return append(calls, read(c), write(c, 5))
	}},
	{"deadline passes", func(t *testing.T, s errorStack) []call {
		c, _ := s.pair(t)
		assert.NoError(t, c.SetDeadline(time.Now().Add(pause)))
		return []call{read(c), write(c, 5)}
	}},
	{"deadline passes, large Write", func(t *testing.T, s errorStack) []call {
		c, _ := s.pair(t)
		assert.NoError(t, c.SetDeadline(time.Now().Add(300*time.Millisecond)))
		return []call{write(c, large)}
	}},
	{"own Close during", func(t *testing.T, s errorStack) []call {
		c, _ := s.pair(t)
		time.AfterFunc(pause, func() { c.Close() })
		d, peer := s.pair(t)
		go func() {
			read(peer)
			d.Close()
		}()
		return []call{read(c), write(d, large)}
	}},
	{"own Close before", func(t *testing.T, s errorStack) []call {
		c, peer := s.pair(t)
		write(peer, 5)
		first := c.Close()
		return []call{
			plain("Close", first), read(c), write(c, 5), read(c, 0), write(c, 0),
			plain("SetDeadline", c.SetDeadline(time.Now())), plain("SetReadDeadline", c.SetReadDeadline(time.Time{})),
			plain("SetLinger", c.SetLinger(1)), plain("SetNoDelay", c.SetNoDelay(true)),
			plain("CloseWrite", c.CloseWrite()), plain("CloseRead", c.CloseRead()), plain("Close", c.Close()),
		}
	}},
	{"own CloseWrite", func(t *testing.T, s errorStack) []call {
		c, peer := s.pair(t)
		return []call{plain("CloseWrite", c.CloseWrite()), write(c, 5), plain("CloseWrite", c.CloseWrite()), read(peer), write(peer, 5), read(c)}
	}},
	{"own CloseRead", func(t *testing.T, s errorStack) []call {
		c, peer := s.pair(t)
		return []call{plain("CloseRead", c.CloseRead()), read(c), plain("CloseRead", c.CloseRead()), write(c, 5), read(peer)}
	}},
	{"no bytes", func(t *testing.T, s errorStack) []call {
		c, _ := s.pair(t)
		return []call{read(c, 0), write(c, 0)}
	}},
	{"dial, nobody listens", func(t *testing.T, s errorStack) []call {
		return []call{dialCall(t.Context(), t, s, "cp4", s.refusing(t)), dialCall(t.Context(), t, s, "cp4", s.closed(t))}
	}},
	{"dial, context ended before", func(t *testing.T, s errorStack) []call {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		late, cancel := context.WithDeadline(t.Context(), time.Now())
		defer cancel()
		address := s.refusing(t)
		return []call{
			dialCall(ctx, t, s, "cp4", address).but(ownWords),
			dialCall(late, t, s, "cp4", address).but(ownWords),
		}
	}},
	{"dial, context ends during", func(t *testing.T, s errorStack) []call {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(pause, cancel)
		late, cancel := context.WithTimeout(t.Context(), pause)
		defer cancel()
		address := s.silent(t)
		return []call{
			dialCall(ctx, t, s, "cp4", address).but(ownWords),
			dialCall(late, t, s, "cp4", address).but(ownWords),
		}
	}},
	{"dial, bad network", func(t *testing.T, s errorStack) []call {
		return []call{dialCall(t.Context(), t, s, "elegraph", "127.0.0.1:1")}
	}},
	{"dial, bad address", func(t *testing.T, s errorStack) []call {
		return []call{
			dialCall(t.Context(), t, s, "cp4", "127.0.0.1"),
			dialCall(t.Context(), t, s, "cp4", "127.0.0.1:65536").but(ownPort),
			dialCall(t.Context(), t, s, "cp4", "[::1]:1"),
		}
	}},
	{"listen", func(t *testing.T, s errorStack) []call {
		l, err := s.listen(t, "cp4", "127.0.0.1:0")
		require.NoError(t, err)
		return []call{
			listenCall(t, s, "cp4", l.Addr().String()),
			listenCall(t, s, "elegraph", "127.0.0.1:0"),
			listenCall(t, s, "cp4", "127.0.0.1"),
			listenCall(t, s, "cp4", "127.0.0.1:65536").but(ownPort),
		}
	}},
	{"Accept", func(t *testing.T, s errorStack) []call {
		l, err := s.listen(t, "cp4", "127.0.0.1:0")
		require.NoError(t, err)
		time.AfterFunc(pause, func() { l.Close() })
		calls := []call{acceptCall(l), acceptCall(l)}
		return append(calls, plain("Close", l.Close()))
	}},
}

// read reads up to n bytes, 64 if n is not given.
func read(c net.Conn, n ...int) call {
	b := make([]byte, 64)
	if len(n) > 0 {
		b = b[:n[0]]
	}
	m, err := c.Read(b)
	call := call{name: "Read", n: m, err: err}
	switch {
	case len(b) == 0:
		call.name = "Read(nil)"
	case err == nil:
		call.of = m // any number is all
	default:
		call.of = len(b)
	}
	return call
}

func write(c net.Conn, n int) call {
	m, err := c.Write(zeroes[:n])
	call := call{name: "Write", n: m, of: n, err: err}
	if n == 0 {
		call.name = "Write(nil)"
	}
	return call
}

// writeUntilError writes until the network has brought the news.
func writeUntilError(c net.Conn) call {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		if w := write(c, 5); w.err != nil || time.Since(start) > patience {
			return w
		}
	}
}

func reset(c streamConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// plain is a call that moves no bytes.
func plain(name string, err error) call { return call{name: name, err: err} }

func dialCall(ctx context.Context, t *testing.T, s errorStack, network, address string) call {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := s.dial(ctx, t, network, address)
	return call{name: "Dial", err: err}
}

func listenCall(t *testing.T, s errorStack, network, address string) call {
	_, err := s.listen(t, network, address)
	return call{name: "Listen", err: err}
}

func acceptCall(l net.Listener) call {
	_, err := l.Accept()
	return call{name: "Accept", err: err}
}
