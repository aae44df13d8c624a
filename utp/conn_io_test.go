package utp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/require"
)

var _ interface {
	net.Conn
	io.ReaderFrom
	io.WriterTo
	CloseWrite() error
	CloseRead() error
	SetLinger(int) error
	SetNoDelay(bool) error
} = (*Conn)(nil)

// wantError checks that err is an error of this peer's connection.
func (p *peer) wantError(err error, op string, target error, why string) {
	p.t.Helper()
	wantOpError(p.t, err, op, p.conn.LocalAddr(), p.conn.RemoteAddr(), target, why)
}

func TestRead(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		read := p.read(4)
		read.wantNotDone("there is nothing to read")
		n, err := p.conn.Read(nil)
		require.Zero(t, n)
		require.NoError(t, err, "nothing is always there")

		p.recv(packet{typ: wire.Data, payload: "hello"})
		require.Equal(t, "hell", read.value("data has arrived"), "as much as fits")
		require.Equal(t, "o", p.read(100).value("the rest is there"), "as much as there is")
		p.read(1).wantNotDoneYet(p, "all was read", packet{typ: wire.Data, payload: "!"})
		p.want("two packets are acknowledged", packet{typ: wire.State, ack: 2})

		p.recv(packet{typ: wire.Data, seq: 4, payload: "late"})
		p.want("something is missing", packet{typ: wire.State, ack: 2})
		read = p.read(100)
		read.wantNotDone("what is ahead of a gap cannot be read")
		p.recv(packet{typ: wire.Data, seq: 3, payload: "not too "})
		require.Equal(t, "not too late", read.value("the gap is filled"))
		p.want("that is said at once", packet{typ: wire.State, ack: 4})
	})
}

// wantNotDoneYet checks that a call goes on until the peer says something.
func (a *async[T]) wantNotDoneYet(p *peer, why string, k packet) {
	p.t.Helper()
	a.wantNotDone(why)
	p.recv(k)
	a.value("now it can return")
}

func TestReadToTheEnd(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		blocked := p.read(100)
		blocked.wantNotDone("there is nothing to read")
		p.recv(packet{typ: wire.Data, payload: "bye"}, packet{typ: wire.Fin})
		require.Equal(t, "bye", blocked.value("data comes before the end"))
		p.want("all is acknowledged", packet{typ: wire.State, ack: 2})
		for range 3 {
			p.wantEOF("the stream has ended, now and for ever")
		}
		n, err := p.conn.Read(nil)
		require.Zero(t, n)
		require.NoError(t, err, "an empty Read succeeds")

		p.write("and you?")
		p.want("writing goes on", packet{typ: wire.Data, payload: "and you?"})
		p.wantEOF("still")
		blocked2 := p.read(100)
		require.Equal(t, io.EOF, blocked2.err("it does not wait"))
	})
}

func TestEOFInterruptsRead(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		reads := []*async[string]{p.read(1), p.read(1), p.read(0)}
		reads[0].wantNotDone("there is nothing to read")
		reads[2].value("an empty Read does not wait")
		p.recv(packet{typ: wire.Fin})
		p.want("the FIN is acknowledged", packet{typ: wire.State, ack: 1})
		require.Equal(t, io.EOF, reads[0].err("the stream has ended"))
		require.Equal(t, io.EOF, reads[1].err("for all who wait"))
	})
}

func TestWrite(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		n, err := p.conn.Write(nil)
		require.Zero(t, n)
		require.NoError(t, err, "an empty Write succeeds")
		p.wantNothing("and sends nothing")

		b := []byte("mine")
		n, err = p.conn.Write(b)
		require.Equal(t, 4, n)
		require.NoError(t, err)
		copy(b, "xxxx")
		p.lose("it leaves at once", packet{typ: wire.Data, seq: 1, payload: "mine", by: byUser})
		p.advance(time.Second)
		p.want("the caller may change its buffer: it was copied", packet{typ: wire.Data, seq: 1, payload: "mine", by: byTimer})
		p.drain()
	})
}

func TestWriteWaitsForRoom(t *testing.T) {
	everyRole(t, &Config{SendBuffer: 4096}, func(t *testing.T, p *peer) {
		sent := pattern(20000)
		write := p.write(string(sent))
		var got []byte
		for range 4 {
			write.wantNotDone("4096 bytes are buffered until they are acknowledged")
			before := len(got)
			got = append(got, p.drain()...)
			require.LessOrEqual(t, len(got)-before, 4096)
			require.LessOrEqual(t, p.conn.Stats().SendBuffered, 4096)
			p.advance(rtt)
			p.recv(packet{typ: wire.State})
		}
		require.Equal(t, len(sent), write.value("the rest fits into the buffer"))
		for len(got) < len(sent) {
			got = append(got, p.drain()...)
			p.advance(rtt)
			p.recv(packet{typ: wire.State})
		}
		require.True(t, bytes.Equal(sent, got))
	})
}

func TestReset(t *testing.T) {
	everyPeer(t, &Config{SendBuffer: 4096}, func(t *testing.T, p *peer) {
		p.recv(packet{typ: wire.Data, payload: "last words"})
		write, read := p.write(strings.Repeat("x", 5000)), p.read(4)
		write.wantNotDone("4096 bytes are buffered")
		read.value("there is data")
		write2 := p.write("another")
		p.drain()
		p.reset()
		p.wantNoConns("the connection has ended")

		n, err := write.result()
		require.Equal(t, 4096, n, "Write reports what it took")
		p.wantError(err, "write", syscall.ECONNRESET, "the call that it interrupts hears of the RESET")
		p.wantError(write2.err("all are interrupted"), "write", syscall.EPIPE, "the pipe is broken")
		require.Equal(t, "words", strings.TrimSpace(p.read(100).value("data can be read that arrived before")))
		for range 2 {
			p.wantError(p.read(1).err("all was read"), "read", syscall.ECONNRESET, "reading hears of the RESET")
			_, err = p.conn.Write([]byte("x"))
			p.wantError(err, "write", syscall.EPIPE, "the pipe is broken")
			require.False(t, timeout(err))
		}
		_, err = p.conn.ReadFrom(strings.NewReader("x"))
		p.wantError(err, "readfrom", syscall.EPIPE, "the RESET was reported")
		require.ErrorIs(t, p.conn.CloseWrite(), syscall.ENOTCONN, "as of a TCPConn")
		require.NoError(t, p.conn.Close())
	})
}

func TestResetInterruptsRead(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		read := p.read(1)
		read.wantNotDone("there is nothing to read")
		p.reset()
		p.wantError(read.err("the connection has ended"), "read", syscall.ECONNRESET, "RESET")
	})
}

func TestPeerIsGone(t *testing.T) {
	everyPeer(t, &Config{Timeout: 10 * time.Second, SendBuffer: 4096, KeepAlive: -1}, func(t *testing.T, p *peer) {
		read, write := p.read(1), p.write(strings.Repeat("x", 5000))
		p.advance(10*time.Second - 1)
		read.wantNotDone("the peer may come back")
		write.wantNotDone("the peer may come back")
		p.drain()
		p.advance(1)
		p.want("the connection is given up", packet{typ: wire.Reset})
		n, err := write.result()
		require.Equal(t, 4096, n)
		for op, err := range map[string]error{"read": read.err("it is given up"), "write": err} {
			p.wantError(err, op, syscall.ETIMEDOUT, "nothing was acknowledged for Timeout")
			require.True(t, timeout(err), "that is a timeout")
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "but not one of a deadline")
		}
		_, err = p.conn.Write([]byte("x"))
		p.wantError(err, "write", syscall.ETIMEDOUT, "and stays so")
		p.wantError(p.read(1).err("ended"), "read", syscall.ETIMEDOUT, "and stays so")
		p.wantNoConns("it has ended")
	})
}

func TestKeepAlive(t *testing.T) {
	everyRole(t, &Config{KeepAlive: 10 * time.Second}, func(t *testing.T, p *peer) {
		read := p.read(1)
		ask := packet{typ: wire.State, seq: 1, ack: -1, by: byTimer}
		p.wantAfter(10*time.Second, "nothing was said for KeepAlive", ask)
		p.recv(packet{typ: wire.State, ack: -2})
		p.wantAfter(10*time.Second, "the peer was heard", ask)
		p.wantAfter(2*time.Second, "now it is not", ask)
		p.wantAfter(2*time.Second, "it is asked for the last time", ask)
		read.wantNotDone("it may answer")
		p.wantAfter(2*time.Second, "it is given up", packet{typ: wire.Reset})
		p.wantError(read.err("our own kind answers"), "read", syscall.ETIMEDOUT, "it did not")
	}, ownKind)
}

func TestIdleTimeout(t *testing.T) {
	everyRole(t, &Config{KeepAlive: -1, IdleTimeout: 10 * time.Second}, func(t *testing.T, p *peer) {
		read := p.read(1)
		p.advance(9 * time.Second)
		p.recv(packet{typ: wire.State, ack: -2})
		p.advance(10*time.Second - 1)
		read.wantNotDone("something was heard")
		p.advance(1)
		p.want("it is given up", packet{typ: wire.Reset})
		p.wantError(read.err("nothing was heard for so long"), "read", syscall.ETIMEDOUT, "IdleTimeout")
	})
}

func TestUseAfterClose(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		p.recv(packet{typ: wire.Data, payload: "unread"})
		c := p.conn
		require.NoError(t, c.Close())
		for range 2 {
			for _, call := range []struct {
				name, op string
				f        func() error
			}{
				{"Read", "read", func() error { _, err := c.Read(make([]byte, 1)); return err }},
				{"Read nil", "read", func() error { _, err := c.Read(nil); return err }},
				{"Write", "write", func() error { _, err := c.Write([]byte("x")); return err }},
				{"Write nil", "write", func() error { _, err := c.Write(nil); return err }},
				{"ReadFrom", "readfrom", func() error { _, err := c.ReadFrom(strings.NewReader("x")); return err }},
				{"WriteTo", "writeto", func() error { _, err := c.WriteTo(io.Discard); return err }},
				{"CloseWrite", "close", c.CloseWrite},
				{"CloseRead", "close", c.CloseRead},
				{"Close", "close", c.Close},
				{"SetLinger", "set", func() error { return c.SetLinger(1) }},
				{"SetNoDelay", "set", func() error { return c.SetNoDelay(true) }},
				{"SetDeadline", "set", func() error { return c.SetDeadline(time.Now()) }},
				{"SetReadDeadline", "set", func() error { return c.SetReadDeadline(time.Time{}) }},
				{"SetWriteDeadline", "set", func() error { return c.SetWriteDeadline(time.Now()) }},
			} {
				err := call.f()
				p.wantError(err, call.op, net.ErrClosed, call.name)
				require.False(t, timeout(err), call.name)
			}
			p.drain()
			p.recv(packet{typ: wire.State}, packet{typ: wire.Fin})
			p.drain()
			p.wantNoConns("the second time it has ended")
		}
		require.NotNil(t, c.RemoteAddr(), "the addresses remain")
		require.EqualValues(t, 6, c.Stats().BytesReceived, "and the counters")
	})
}

func TestCloseInterrupts(t *testing.T) {
	everyRole(t, &Config{SendBuffer: 4096}, func(t *testing.T, p *peer) {
		r, w := io.Pipe()
		defer w.Close()
		calls := map[string]*async[int64]{
			"read":     p.call(func() (int, error) { return p.conn.Read(make([]byte, 1)) }),
			"writeto":  runAsync(t, func() (int64, error) { return p.conn.WriteTo(io.Discard) }),
			"readfrom": runAsync(t, func() (int64, error) { return p.conn.ReadFrom(strings.NewReader(strings.Repeat("x", 5000))) }),
		}
		synctest.Wait()
		calls["write"] = p.call(func() (int, error) { return p.conn.Write([]byte("its turn never comes")) })
		for op, call := range calls {
			call.wantNotDone(op + " waits")
		}
		require.NoError(t, p.conn.Close())
		for op, call := range calls {
			p.wantError(call.err("the connection is closed"), op, net.ErrClosed, op)
		}
		_ = r
		p.drain()
	})
}

// call is runAsync for Read and Write.
func (p *peer) call(f func() (int, error)) *async[int64] {
	return runAsync(p.t, func() (int64, error) {
		n, err := f()
		return int64(n), err
	})
}

func TestWritesDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, &Config{SendBuffer: 10_000})
		c, d := p.connect()
		read := readAll(t, d)
		const writers, size = 5, 50_000
		var writes sync.WaitGroup
		for i := range writers {
			writes.Go(func() {
				n, err := c.Write(bytes.Repeat([]byte{byte('a' + i)}, size))
				if n != size || err != nil {
					t.Errorf("Write %d: %d, %v", i, n, err)
				}
			})
		}
		writes.Wait()
		require.NoError(t, c.Close())
		got, err := read.settled()
		require.NoError(t, err)
		require.Len(t, got, writers*size)
		for ; len(got) > 0; got = got[size:] {
			require.Equal(t, size, bytes.Count(got[:size], got[:1]), "one Write, undivided")
		}
	})
}

func TestWritesTakeTurns(t *testing.T) {
	everyRole(t, &Config{SendBuffer: 4096}, func(t *testing.T, p *peer) {
		first := p.write(strings.Repeat("a", 5000))
		first.wantNotDone("the buffer is full")
		second := p.write("b")
		second.wantNotDone("it is not its turn")
		p.drain()
		p.advance(rtt)
		p.w.slowDown(true)
		p.recv(packet{typ: wire.State})
		first.wantNotDone("there is room, and it sends")
		second.wantNotDone("it is not its turn yet")
		p.w.slowDown(false)
		require.Equal(t, 5000, first.value("it has sent"))
		second.value("the turn was passed on, though nothing was acknowledged since")
		p.drain()
	})
}

func TestFailedWriteLeavesTheTurnAlone(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		p.w.slowDown(true)
		first := p.write(strings.Repeat("a", 200_000))
		first.wantNotDone("it sends the first piece")
		require.NoError(t, p.conn.SetWriteDeadline(time.Now()))
		require.Error(t, p.write("c").err("the deadline has passed"))
		require.NoError(t, p.conn.SetWriteDeadline(time.Time{}))
		second := p.write("b")
		second.wantNotDone("the turn is still the first one's")
		third := p.readFrom(strings.NewReader("b"))
		third.wantNotDone("for ReadFrom, too")
		p.w.slowDown(false)
		got := string(p.deliver(200_002))
		require.Equal(t, 200_000, strings.Index(got, "b"), "Writes do not mix")
		second.value("its turn has come")
		third.value("its turn has come")
	})
}

func TestManyReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		c, d := p.connect()
		var reads sync.WaitGroup
		var mu sync.Mutex
		got := 0
		for range 4 {
			reads.Go(func() {
				b := make([]byte, 1000)
				for {
					n, err := d.Read(b)
					mu.Lock()
					got += n
					mu.Unlock()
					if err != nil {
						if err != io.EOF {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		_, err := c.Write(pattern(500_000))
		require.NoError(t, err)
		require.NoError(t, c.Close())
		reads.Wait()
		require.Equal(t, 500_000, got, "each byte is read once, and each reader ends")
	})
}

// TestErrorsOfTheEndpoint: an endpoint that is closed is to its connections as if
// they had been.
func TestErrorsOfTheEndpoint(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		p.recv(packet{typ: wire.Data, payload: "unread"})
		p.Close()
		p.want("the peer is told", packet{typ: wire.Reset})
		_, err := p.conn.Read(make([]byte, 1))
		p.wantError(err, "read", net.ErrClosed, "closed")
		_, err = p.conn.Write([]byte("x"))
		p.wantError(err, "write", net.ErrClosed, "closed")
		p.wantError(p.conn.Close(), "close", net.ErrClosed, "closed")
		_, err = p.Dial(context.Background(), alice)
		require.True(t, errors.Is(err, net.ErrClosed))
	})
}

// A condition is there only while somebody waits.
func TestWaitersLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		p := te.dialled(alice)
		read := p.read(10)
		read.wantNotDone("there is nothing to read")
		p.recv(packet{typ: wire.Data, payload: "hello"})
		read.value("data has arrived")
		te.advance(time.Second)
		te.ignore("acknowledgement")
		require.Nil(t, p.conn.readable.cond)
		p.reset()
	})
}
