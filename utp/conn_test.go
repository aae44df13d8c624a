package utp

import (
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/require"
)

// close closes the connection beside the test.
func (p *peer) close() *async[struct{}] {
	return runAsync(p.t, func() (struct{}, error) { return struct{}{}, p.conn.Close() })
}

func TestCloseDelivers(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		sent := pattern(30_000)
		p.write(string(sent)).value("there is room")
		require.NoError(t, p.conn.Close(), "Close does not wait")
		var got []byte
		for len(got) < len(sent) {
			got = append(got, p.drain()...)
			p.advance(rtt)
			p.recv(packet{typ: wire.State})
		}
		require.Equal(t, sent, got, "what was written before Close arrives")
		require.Equal(t, 1, p.Stats().Conns, "the peer has not ended its side")
		p.recv(packet{typ: wire.Fin})
		p.drain()
		p.wantNoConns("now it has")
	})
}

func TestCloseWithoutThePeersEnd(t *testing.T) {
	everyPeer(t, &Config{Linger: 3 * time.Second}, func(t *testing.T, p *peer) {
		require.NoError(t, p.conn.Close())
		p.want("close sends a FIN", packet{typ: wire.Fin, seq: 1})
		p.recv(packet{typ: wire.State})
		p.advance(3*time.Second - 1)
		require.Equal(t, 1, p.Stats().Conns, "the peer may say more")
		p.advance(1)
		p.wantNothing("transmission never ends its side")
		p.wantNoConns("that is good enough")
		require.Zero(t, p.Stats().Tombstones, "there is nothing to answer for")
	})
}

func TestCloseGivesUpWithoutProgress(t *testing.T) {
	everyPeer(t, &Config{Linger: 30 * time.Second}, func(t *testing.T, p *peer) {
		p.write("hello")
		p.want("it is sent", packet{typ: wire.Data})
		p.advance(time.Millisecond)
		require.NoError(t, p.conn.Close())
		p.want("and the FIN", packet{typ: wire.Fin})
		p.advance(30*time.Second - 1)
		p.ignore("retransmissions")
		require.Equal(t, 1, p.Stats().Conns)
		p.advance(1)
		p.want("nothing was acknowledged for Linger", packet{typ: wire.Reset})
		p.wantNoConns("it is given up")
	})
}

func TestCloseDoesNotWaitForTheNetwork(t *testing.T) {
	everyPeer(t, &Config{SendBuffer: 4096}, func(t *testing.T, p *peer) {
		p.w.setRoom(0)
		p.write("hello").value("Write only needs room in the buffer")
		p.write("world").value("also when the sender waits")
		require.True(t, p.w.blocked(), "the sender waits")
		read, write := p.read(1), p.write(strings.Repeat("x", 5000))
		write.wantNotDone("there is no more room")
		require.NoError(t, p.close().err("Close waits for nothing"))
		require.ErrorIs(t, read.err("and interrupts"), net.ErrClosed)
		require.ErrorIs(t, write.err("and interrupts"), net.ErrClosed)
		p.wantNothing("the network is stuck")
		p.w.open()
		p.want("then everything is delivered", packet{typ: wire.Data, seq: 1, payload: "hello", by: bySender})
		p.deliver(4096 - len("hello"))
		p.recv(packet{typ: wire.Fin})
		p.drain()
		p.wantNoConns("both sides have ended")
	})
}

func TestDataAfterClose(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		require.NoError(t, p.conn.Close())
		p.want("close sends a FIN", packet{typ: wire.Fin})
		p.recv(packet{typ: wire.State})
		p.recv(packet{typ: wire.Data, payload: "too late"})
		p.want("nobody will read it", packet{typ: wire.Reset})
		p.wantNoConns("it has ended")
	})
}

func TestSetLinger(t *testing.T) {
	t.Run("zero resets", func(t *testing.T) {
		everyPeer(t, nil, func(t *testing.T, p *peer) {
			p.write("never mind")
			p.want("it is sent", packet{typ: wire.Data})
			p.write("thrown away").value("there is room")
			require.NoError(t, p.conn.SetLinger(0))
			require.NoError(t, p.conn.Close())
			p.want("Close is a RESET", packet{typ: wire.Reset, seq: 2})
			p.wantNoConns("at once")
		})
	})
	t.Run("Config turns it off", func(t *testing.T) {
		everyPeer(t, &Config{Linger: -1}, func(t *testing.T, p *peer) {
			require.NoError(t, p.conn.Close())
			p.want("Close is a RESET", packet{typ: wire.Reset})
			p.wantNoConns("at once")
		})
	})
	t.Run("the connection overrides it", func(t *testing.T) {
		everyPeer(t, &Config{Linger: -1}, func(t *testing.T, p *peer) {
			require.NoError(t, p.conn.SetLinger(1))
			done := p.close()
			p.want("Close sends a FIN", packet{typ: wire.Fin})
			p.recv(packet{typ: wire.State})
			require.NoError(t, done.err("it was acknowledged"))
			p.quiet = true
		})
	})
	t.Run("negative is the default", func(t *testing.T) {
		everyRole(t, nil, func(t *testing.T, p *peer) {
			require.NoError(t, p.conn.SetLinger(0))
			require.NoError(t, p.conn.SetLinger(-1))
			require.NoError(t, p.close().err("Close does not wait"))
			p.want("nor reset", packet{typ: wire.Fin})
		})
	})
	t.Run("positive waits", func(t *testing.T) {
		everyPeer(t, nil, func(t *testing.T, p *peer) {
			require.NoError(t, p.conn.SetLinger(2))
			p.write("hello")
			p.want("it is sent", packet{typ: wire.Data})
			read, done := p.read(1), p.close()
			done.wantNotDone("Close waits for the acknowledgement")
			require.ErrorIs(t, read.err("but interrupts at once"), net.ErrClosed)
			p.want("and sends the FIN", packet{typ: wire.Fin})
			p.recv(packet{typ: wire.State, ack: 1})
			done.wantNotDone("of the FIN, too")
			p.advance(time.Second)
			p.drain()
			p.recv(packet{typ: wire.State})
			require.NoError(t, done.err("everything was acknowledged"))
			require.Equal(t, 1, p.Stats().Conns, "the peer's end is awaited in the background")
		})
	})
	t.Run("the network is stuck", func(t *testing.T) {
		everyPeer(t, nil, func(t *testing.T, p *peer) {
			require.NoError(t, p.conn.SetLinger(2))
			p.w.setRoom(0)
			p.write("hello").value("there is room in the buffer")
			read := p.read(1)
			read.wantNotDone("there is nothing to read")
			done := p.close()
			done.wantNotDone("nothing has left")
			require.ErrorIs(t, read.err("but it interrupts at once"), net.ErrClosed)
			p.advance(2 * time.Second)
			p.wantTimeout(done.err("2 s are over"), "close", "linger")
			p.w.open()
			p.ignore("DATA, FIN, and whatever was repeated")
		})
	})
	t.Run("it times out", func(t *testing.T) {
		everyPeer(t, nil, func(t *testing.T, p *peer) {
			require.NoError(t, p.conn.SetLinger(2))
			p.write("hello")
			done := p.close()
			p.advance(2*time.Second - 1)
			done.wantNotDone("2 s are not over")
			p.advance(1)
			p.wantTimeout(done.err("now they are"), "close", "linger")
			p.drain()
			p.recv(packet{typ: wire.State}, packet{typ: wire.Fin})
			p.drain()
			p.wantNoConns("delivery went on in the background")
		})
	})
	t.Run("it times its packets", func(t *testing.T) {
		everyRole(t, &Config{KeepAlive: -1}, func(t *testing.T, p *peer) {
			p.settle()
			require.NoError(t, p.conn.SetLinger(3))
			done := p.close()
			p.lose("the FIN is lost", packet{typ: wire.Fin, seq: 1})
			p.advance(time.Second)
			p.want("it is sent again while Close waits", packet{typ: wire.Fin, seq: 1, by: byTimer})
			p.recv(packet{typ: wire.State})
			require.NoError(t, done.err("it was acknowledged"))
		})
	})
	t.Run("RESET", func(t *testing.T) {
		everyPeer(t, nil, func(t *testing.T, p *peer) {
			require.NoError(t, p.conn.SetLinger(2))
			p.write("hello")
			p.lose("it is lost", packet{typ: wire.Data})
			done := p.close()
			p.lose("as is the FIN", packet{typ: wire.Fin})
			p.reset()
			p.wantError(done.err("the peer has gone"), "close", syscall.ECONNRESET, "not everything was delivered")
		})
	})
	t.Run("without progress", func(t *testing.T) {
		everyPeer(t, &Config{Linger: time.Second}, func(t *testing.T, p *peer) {
			require.NoError(t, p.conn.SetLinger(20))
			p.write("hello")
			p.want("it is sent", packet{typ: wire.Data})
			done := p.close()
			p.advance(8 * time.Second) // four timeouts
			p.ignore("retransmissions and RESET")
			err := done.err("it is given up")
			p.wantError(err, "close", syscall.ETIMEDOUT, "Config.Linger")
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
		})
	})
	t.Run("the endpoint is closed", func(t *testing.T) {
		everyPeer(t, nil, func(t *testing.T, p *peer) {
			require.NoError(t, p.conn.SetLinger(20))
			p.write("hello")
			done := p.close()
			done.wantNotDone("nothing is acknowledged")
			p.Close()
			p.wantError(done.err("everything ends"), "close", net.ErrClosed, "the endpoint is closed")
			p.ignore("DATA, FIN, RESET")
		})
	})
}

func TestCloseWrite(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		p.write("question")
		p.want("it is sent", packet{typ: wire.Data})
		require.NoError(t, p.conn.CloseWrite())
		p.want("the end of the stream follows", packet{typ: wire.Fin, seq: 2, by: byUser})
		n, err := p.conn.Write([]byte("x"))
		require.Zero(t, n)
		p.wantError(err, "write", syscall.EPIPE, "Write after CloseWrite")
		_, err = p.conn.Write(nil)
		p.wantError(err, "write", syscall.EPIPE, "Write after CloseWrite")
		require.NoError(t, p.conn.CloseWrite(), "once more is harmless")
		p.wantNothing("there is one FIN")

		p.recv(packet{typ: wire.State})
		p.recv(packet{typ: wire.Data, payload: "answer"}, packet{typ: wire.Data, payload: "."})
		p.drain()
		p.mustRead("answer.")
		p.recv(packet{typ: wire.Fin})
		p.drain()
		p.wantEOF("reading went on")
		p.wantNoConns("both directions have ended")
		require.NoError(t, p.conn.CloseWrite(), "still harmless")
		require.NoError(t, p.conn.Close(), "Close is due all the same")
	})
}

func TestCloseWriteInterruptsWrite(t *testing.T) {
	everyRole(t, &Config{SendBuffer: 4096}, func(t *testing.T, p *peer) {
		write := p.write(strings.Repeat("x", 5000))
		write.wantNotDone("the buffer is full")
		second := p.write("y")
		second.wantNotDone("it is not its turn")
		require.NoError(t, p.conn.CloseWrite())
		n, err := write.result()
		p.wantError(err, "write", syscall.EPIPE, "the stream has ended")
		require.Equal(t, 4096, n)
		p.wantError(second.err("it has ended"), "write", syscall.EPIPE, "for both")
		for n > 0 {
			n -= len(p.drain())
			p.advance(rtt)
			p.recv(packet{typ: wire.State})
		}
		p.drain()
	})
}

func TestCloseRead(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		p.recv(packet{typ: wire.Data, payload: "unread"}, packet{typ: wire.Data, payload: "unread"})
		p.want("it is acknowledged", packet{typ: wire.State, ack: 2})
		blocked := p.read(100)
		blocked.value("there is data")
		blocked = p.read(100)
		require.NoError(t, p.conn.CloseRead())
		require.Equal(t, io.EOF, blocked.err("nothing more will be read"))
		p.recv(packet{typ: wire.Data, payload: "ignored"}, packet{typ: wire.Data, payload: "ignored"})
		p.want("the peer is not told", packet{typ: wire.State, ack: 4})
		p.wantEOF("what comes is thrown away")
		require.Zero(t, p.conn.Stats().RecvBuffered)
		require.NoError(t, p.conn.CloseRead(), "once more is harmless")
		p.write("still talking")
		p.want("writing goes on", packet{typ: wire.Data, payload: "still talking"})
	})
}

func TestAddrsOfAConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		for _, p := range []*peer{te.dialled(alice), te.accepted(bob)} {
			require.Equal(t, NewAddr(p.route.Remote), p.conn.RemoteAddr())
			local, err := net.ResolveUDPAddr("udp", p.conn.LocalAddr().String())
			require.NoError(t, err)
			require.Equal(t, selfPort, local.Port)
			require.Equal(t, p.route.Local, local.AddrPort().Addr().Unmap())
		}
	})
}

// TestSmallWritesShareAPacket: yamux and HTTP/2 write headers and bodies apart.
func TestSmallWritesShareAPacket(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		header, body := strings.Repeat("h", 12), strings.Repeat("b", 300)
		write := func() {
			t.Helper()
			p.write(header).value("there is room")
			p.write(body).value("there is room")
		}
		write()
		p.want("the first short packet leaves at once", packet{typ: wire.Data, payload: header})
		p.wantNothing("the second waits for the first's acknowledgement")
		write()
		p.wantNothing("as do others")
		p.advance(rtt / 10)
		p.recv(packet{typ: wire.State})
		p.want("they share a packet", packet{typ: wire.Data, payload: body + header + body, by: bySender})

		write()
		p.wantAfter(5*time.Millisecond, "without an acknowledgement they wait a few milliseconds",
			packet{typ: wire.Data, payload: header + body, by: byTimer})
		p.recv(packet{typ: wire.State})

		write()
		p.want("the first again", packet{typ: wire.Data, payload: header})
		require.NoError(t, p.conn.CloseWrite())
		p.want("the end of the stream holds nothing back", packet{typ: wire.Data, payload: body}, packet{typ: wire.Fin})
	})
}

func TestNoDelay(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		require.NoError(t, p.conn.SetNoDelay(true))
		for _, s := range []string{"a", "bc", "d"} {
			p.write(s)
			p.want("nothing waits", packet{typ: wire.Data, payload: s, by: byUser})
		}
		p.recv(packet{typ: wire.State})
		require.NoError(t, p.conn.SetNoDelay(false))
		p.write("e")
		p.want("the first", packet{typ: wire.Data, payload: "e"})
		p.write("f").value("there is room")
		p.wantNothing("now it waits again")
		require.NoError(t, p.conn.SetNoDelay(true))
		p.want("what waits leaves at once", packet{typ: wire.Data, payload: "f", by: byUser})
	})
}
