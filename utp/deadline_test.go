package utp

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/require"
)

// wantTimeout checks that err is that of a deadline.
func (p *peer) wantTimeout(err error, op, why string) {
	p.t.Helper()
	p.wantError(err, op, os.ErrDeadlineExceeded, why)
	// crypto/tls looks at these by type assertion, and takes an error that is not
	// temporary for the end.
	ne, ok := err.(net.Error)
	require.True(p.t, ok && ne.Timeout(), why)
	temporary, ok := err.(interface{ Temporary() bool })
	require.True(p.t, ok && temporary.Temporary(), why)
}

// blockedCalls are calls that wait: two that read and two that write. Only the
// first of each pair has begun, the other waits for its turn or for data as well.
func (p *peer) blockedCalls() (reads, writes map[string]*async[int64]) {
	reads = map[string]*async[int64]{
		"read":    p.call(func() (int, error) { return p.conn.Read(make([]byte, 1)) }),
		"writeto": runAsync(p.t, func() (int64, error) { return p.conn.WriteTo(io.Discard) }),
	}
	writes = map[string]*async[int64]{
		"write": p.call(func() (int, error) { return p.conn.Write(make([]byte, 5000)) }),
	}
	synctest.Wait()
	writes["readfrom"] = runAsync(p.t, func() (int64, error) { return p.conn.ReadFrom(strings.NewReader("x")) })
	for op, call := range reads {
		call.wantNotDone(op + " waits")
	}
	for op, call := range writes {
		call.wantNotDone(op + " waits")
	}
	return reads, writes
}

func TestDeadlineInterrupts(t *testing.T) {
	past, future := time.Unix(1, 0), time.Second
	for _, tc := range []struct {
		name        string
		set         func(c *Conn, t time.Time) error
		read, write bool
		at          time.Duration
	}{
		{"SetDeadline to the past", (*Conn).SetDeadline, true, true, 0},
		{"SetReadDeadline to the past", (*Conn).SetReadDeadline, true, false, 0},
		{"SetWriteDeadline to the past", (*Conn).SetWriteDeadline, false, true, 0},
		{"SetDeadline", (*Conn).SetDeadline, true, true, future},
		{"SetReadDeadline", (*Conn).SetReadDeadline, true, false, future},
		{"SetWriteDeadline", (*Conn).SetWriteDeadline, false, true, future},
	} {
		t.Run(tc.name, func(t *testing.T) {
			everyRole(t, &Config{SendBuffer: 4096}, func(t *testing.T, p *peer) {
				reads, writes := p.blockedCalls()
				if tc.at == 0 {
					require.NoError(t, tc.set(p.conn, past))
				} else {
					require.NoError(t, tc.set(p.conn, time.Now().Add(tc.at)))
					p.advance(tc.at - 1)
					for _, call := range []*async[int64]{reads["read"], reads["writeto"], writes["write"], writes["readfrom"]} {
						call.wantNotDone("the deadline has not passed")
					}
					p.advance(1)
				}
				check := func(calls map[string]*async[int64], interrupted bool) {
					t.Helper()
					for op, call := range calls {
						if interrupted {
							p.wantTimeout(call.err("the deadline has passed"), op, op)
						} else {
							call.wantNotDone("that deadline is not its own")
						}
					}
				}
				check(reads, tc.read)
				check(writes, tc.write)
				if tc.write {
					n, _ := writes["write"].result()
					require.EqualValues(t, 4096, n, "Write reports what it took")
				}
				p.quiet = true // data, and its retransmissions
			})
		})
	}
}

func TestPassedDeadlineBeatsData(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		c := p.conn
		p.recv(packet{typ: wire.Data, payload: "kept"}, packet{typ: wire.Fin})
		p.want("all is acknowledged", packet{typ: wire.State, ack: 2})
		require.NoError(t, c.SetDeadline(time.Now()))
		for range 2 {
			n, err := c.Read(make([]byte, 10))
			require.Zero(t, n)
			p.wantTimeout(err, "read", "a passed deadline fails calls even if data is ready")
			n64, err := c.WriteTo(io.Discard)
			require.Zero(t, n64)
			p.wantTimeout(err, "writeto", "a passed deadline fails calls even if data is ready")
			n, err = c.Write([]byte("x"))
			require.Zero(t, n)
			p.wantTimeout(err, "write", "and those for which there is room")
			n64, err = c.ReadFrom(strings.NewReader("x"))
			require.Zero(t, n64)
			p.wantTimeout(err, "readfrom", "and those for which there is room")
			_, err = c.Read(nil)
			require.NoError(t, err, "to read nothing takes no time, as for a TCPConn")
		}
		p.wantNothing("no byte was taken")

		require.NoError(t, c.SetDeadline(time.Time{}))
		p.mustRead("kept")
		p.wantEOF("nothing was lost")
		require.NoError(t, p.write("y").err("no deadline"))
		p.want("nor sent", packet{typ: wire.Data, seq: 1, payload: "y"})
	})
}

func TestDeadlineMoves(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		c := p.conn
		set := func(d time.Duration) { require.NoError(t, c.SetReadDeadline(time.Now().Add(d))) }

		set(time.Second)
		read := p.read(1)
		p.advance(900 * time.Millisecond)
		set(time.Second)
		p.advance(time.Second - 1)
		read.wantNotDone("the deadline was moved while the call waited")
		p.advance(1)
		p.wantTimeout(read.err("now it has passed"), "read", "moved")

		set(time.Hour)
		read = p.read(1)
		read.wantNotDone("a passed deadline can be moved")
		set(time.Second)
		p.advance(time.Second)
		p.wantTimeout(read.err("it was moved closer"), "read", "closer")

		set(time.Second)
		require.NoError(t, c.SetReadDeadline(time.Time{}))
		read = p.read(1)
		p.advance(10 * time.Second)
		read.wantNotDone("it was cleared")
		require.NoError(t, c.SetReadDeadline(time.Now()))
		p.wantTimeout(read.err("now is past"), "read", "now")

	})
}

func TestClosedConnectionHasNoDeadlineTimers(t *testing.T) {
	for name, end := range map[string]func(*peer){
		"Close":             func(p *peer) { p.conn.Close() },
		"Close of endpoint": func(p *peer) { p.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			everyRole(t, nil, func(t *testing.T, p *peer) {
				require.NoError(t, p.conn.SetDeadline(time.Now().Add(time.Hour)))
				end(p)
				p.ignore("FIN or RESET")
				p.conn.mu.Lock()
				defer p.conn.mu.Unlock()
				for _, d := range []*deadline{p.conn.readDL, p.conn.writeDL} {
					require.False(t, d.timer.Stop(), "nothing keeps its memory")
				}
			})
		})
	}
}

func TestWriteDeadlineInTheMiddle(t *testing.T) {
	everyRole(t, &Config{SendBuffer: 4096}, func(t *testing.T, p *peer) {
		sent := pattern(10_000)
		require.NoError(t, p.conn.SetWriteDeadline(time.Now().Add(rtt+1)))
		write := p.write(string(sent))
		got := p.drain()
		p.advance(rtt)
		p.recv(packet{typ: wire.State})
		write.wantNotDone("it took 8192 bytes so far")
		p.advance(1)
		n, err := write.result()
		p.wantTimeout(err, "write", "the deadline has passed")
		require.Equal(t, 8192, n, "it reports what it took")
		for len(got) < n {
			got = append(got, p.drain()...)
			p.advance(rtt)
			p.recv(packet{typ: wire.State})
		}
		require.Equal(t, sent[:n], got, "which is delivered, and no more")

		require.NoError(t, p.conn.SetWriteDeadline(time.Time{}))
		p.write("more")
		p.want("the stream is not broken", packet{typ: wire.Data, payload: "more"})
	})
}

// TestStaleDeadlineTimer: a timer that has fired, but has not got the lock, must
// not expire a deadline that was moved meanwhile.
func TestStaleDeadlineTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		c := te.dialled(alice).conn
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
		for _, move := range []time.Time{{}, time.Now().Add(time.Hour)} {
			c.mu.Lock()
			c.readDL.timer.Reset(0)
			c.readDL.at = move
			c.mu.Unlock()
			te.advance(time.Minute)
			te.ignore("keepalives")
			c.mu.Lock()
			require.False(t, c.readDL.expired)
			c.mu.Unlock()
		}
	})
}

func TestLateDeadlineTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		p := te.dialled(alice)
		require.NoError(t, p.conn.SetDeadline(time.Now().Add(time.Second)))
		p.conn.mu.Lock()
		p.conn.readDL.timer.Stop() // it is as good as late
		p.conn.writeDL.timer.Stop()
		p.conn.mu.Unlock()
		te.advance(time.Second)
		p.recv(packet{typ: wire.Data, payload: "x"})
		p.wantTimeout(p.read(1).err("it does not wait"), "read", "what counts is the clock")
		p.wantTimeout(p.write("y").err("it does not wait"), "write", "what counts is the clock")
	})
}
