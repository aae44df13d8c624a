package utp

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/require"
)

func (te *testEndpoint) shutdown(ctx context.Context) *async[struct{}] {
	return runAsync(te.t, func() (struct{}, error) { return struct{}{}, te.Shutdown(ctx) })
}

func (te *testEndpoint) close() *async[struct{}] {
	return runAsync(te.t, func() (struct{}, error) {
		te.Close()
		return struct{}{}, nil
	})
}

func TestEndpointClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, &Config{SendBuffer: 4096})
		te.listen()
		p, q := te.dialled(alice), te.accepted(bob)
		te.halfOpened(routeTo(1), synID)
		dial, accept := te.dial(routeTo(2)), te.accept()
		read, write := p.read(1), q.write(string(pattern(5000)))
		writeTo, readFrom := q.writeTo(io.Discard), p.readFrom(neverReader{})
		synctest.Wait()
		te.ignore("a SYN and DATA")
		require.Equal(t, 4, te.Stats().Conns, "two connections, a half-open one and a dial")

		te.Close()
		te.advance(time.Millisecond) // for neverReader
		for name, err := range map[string]error{
			"Dial": dial.err("Dial"), "Accept": accept.err("Accept"), "Read": read.err("Read"), "Write": write.err("Write"),
			"WriteTo": writeTo.err("WriteTo"), "ReadFrom": readFrom.err("ReadFrom"),
		} {
			require.ErrorIs(t, err, net.ErrClosed, name)
			require.IsType(t, new(net.OpError), err, name)
		}
		resets := map[Route]int{}
		for _, d := range te.takeAll() {
			require.Equal(t, wire.Reset, d.Type)
			resets[d.route]++
		}
		require.Equal(t, map[Route]int{alice: 1, bob: 1, routeTo(1): 1, routeTo(2).unbound(): 1}, resets, "every peer is told")
		require.NoError(t, te.sender.err("Run returns"))

		te.Close()
		_, err := te.Dial(t.Context(), alice)
		wantDialError(t, err, net.ErrClosed, "Dial after Close")
		te.recv(alice, packet{typ: wire.Syn, id: 1}, packet{typ: wire.Data, id: 1}, packet{typ: wire.Reset, id: 1})
		te.advance(time.Hour)
		te.wantNothing("nothing is sent any more")
		te.wantNoConns("nor begun")
	})
}

// neverReader has nothing to read, and does not block.
type neverReader struct{}

func (neverReader) Read([]byte) (int, error) {
	time.Sleep(time.Millisecond)
	return 0, nil
}

func TestEndpointCloseWhileTheNetworkIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		p, q := te.dialled(alice), te.dialled(bob)
		te.w.stick(true)
		p.recv(packet{typ: wire.Data, payload: "a"}, packet{typ: wire.Data, payload: "b"})
		require.True(t, te.w.blocked(), "the sender waits")

		closing := te.close()
		te.want("who needs no sender is told at once", packet{typ: wire.Reset, route: q.route, by: byUser})
		te.advance(closePatience - 1)
		closing.wantNotDone("the sender may get on")
		te.advance(1)
		closing.value("the program does not wait for long")
		te.sender.wantNotDone("the system has the sender")
		te.w.open()
		te.want("what it was about to send", packet{typ: wire.State, route: p.route})
		require.NoError(t, te.sender.err("then it ends"))
	})
}

func TestEndpointCloseLetsTheSenderFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		p := te.dialled(alice)
		te.w.setRoom(0)
		p.write("unsent").value("there is room in the buffer")
		closing := te.close()
		closing.wantNotDone("the RESET waits for the sender")
		te.advance(closePatience / 2)
		te.w.open()
		closing.value("now everything was sent")
		te.want("what was under way", packet{typ: wire.Data})
		te.want("and the RESET", packet{typ: wire.Reset, by: bySender})
	})
}

func TestEndpointCloseWaitsForSystemCalls(t *testing.T) {
	// When Close returns the socket is closed.
	everyRole(t, nil, func(t *testing.T, p *peer) {
		p.write("under way")
		p.lose("it is lost", packet{typ: wire.Data})
		p.w.slowDown(true)
		p.advance(time.Second)
		p.wantNothing("the timer is in a system call, which takes its time")
		closing := p.testEndpoint.close()
		p.advance(time.Minute)
		closing.wantNotDone("it has not sent the RESET yet")
		require.Error(t, p.read(1).err("the connection is closed"))
		closing.wantNotDone("whatever others do")
		p.w.open()
		closing.value("now it has")
		p.want("what was under way", packet{typ: wire.Data, by: byTimer}, packet{typ: wire.Reset, by: byTimer})
	})
}

func TestEndpointWithoutSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWriter(t)
		e, err := NewEndpoint(nil, w, boundAddr)
		require.NoError(t, err)
		r := e.NewReceiver()
		te := &testEndpoint{Endpoint: e, t: t, w: w, receiver: r, epoch: time.Now()}
		te.recv(alice, packet{typ: wire.State})
		start := time.Now()
		e.Close()
		require.Equal(t, closePatience, time.Since(start), "nobody sends the answer")
		e.Run() // returns at once
	})
}

func TestShutdown(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		p.write("last words")
		p.want("it is sent", packet{typ: wire.Data})
		shutdown := p.shutdown(t.Context())
		shutdown.wantNotDone("the program has not closed its connection")
		_, err := p.Dial(t.Context(), routeTo(1))
		require.ErrorIs(t, err, net.ErrClosed, "nothing new is begun")
		_, err = p.Listen()
		require.ErrorIs(t, err, net.ErrClosed, "nothing new is begun")
		p.recv(packet{typ: wire.Data, payload: "more"})
		p.mustRead("more")
		p.write(" and more")
		p.advance(rtt)
		require.NoError(t, p.conn.Close())
		p.advance(rtt)
		shutdown.wantNotDone("nothing is acknowledged")
		require.Equal(t, " and more", string(p.drain()))
		p.advance(rtt)
		p.recv(packet{typ: wire.State})
		shutdown.wantNotDone("the peer's end may be on its way")
		p.advance(rtt)
		p.recv(packet{typ: wire.Fin})
		require.NoError(t, shutdown.err("it has come"))
		require.NotEmpty(t, p.takeAll(), "its acknowledgement has left")
		p.Close()
	})
}

func TestShutdownWaitsShortlyForThePeersEnd(t *testing.T) {
	for _, early := range []bool{false, true} {
		everyPeer(t, nil, func(t *testing.T, p *peer) {
			if early {
				p.conn.Close()
				p.want("close sends a FIN", packet{typ: wire.Fin})
				p.recv(packet{typ: wire.State})
			}
			shutdown := p.shutdown(t.Context())
			if !early {
				shutdown.wantNotDone("there is a connection")
				p.conn.Close()
				p.want("close sends a FIN", packet{typ: wire.Fin})
				p.recv(packet{typ: wire.State})
			}
			// Nothing more is awaited than what is on its way: 4 RTT, at least 50 ms.
			p.advance(50*time.Millisecond - 1)
			shutdown.wantNotDone("a FIN may be on its way")
			p.advance(50 * time.Millisecond)
			require.NoError(t, shutdown.err("no longer: everything was delivered"))
			p.wantNoConns("it has ended")
		})
	}
}

func TestShutdownReportsWhatIsLost(t *testing.T) {
	lost := map[string]func(p *peer){
		"the network is dark": func(p *peer) { p.advance(10 * time.Second) },
	}
	for name, lose := range lost {
		t.Run(name, func(t *testing.T) {
			everyPeer(t, nil, func(t *testing.T, p *peer) {
				p.write("last words").value("there is room for it")
				require.NoError(t, p.conn.Close())
				p.ignore("DATA and FIN")
				shutdown := p.shutdown(t.Context())
				shutdown.wantNotDone("nothing is acknowledged")
				lose(p)
				p.ignore("retransmissions and RESET")
				require.Equal(t, ErrUndelivered, shutdown.err("a connection has ended before its time"))
				require.EqualValues(t, 1, p.Stats().Undelivered)
				require.NoError(t, p.shutdown(t.Context()).err("nothing is lost meanwhile"))
			})
		})
	}
	t.Run("a moment before Close", func(t *testing.T) {
		for _, told := range []bool{false, true} {
			everyPeer(t, nil, func(t *testing.T, p *peer) {
				p.write("last words").value("there is room for it")
				p.advance(2 * time.Minute)
				p.ignore("DATA and RESET")
				if told {
					_, err := p.conn.Write([]byte("more"))
					require.ErrorIs(t, err, syscall.ETIMEDOUT)
				}
				require.NoError(t, p.conn.Close())
				require.Equal(t, !told, p.Stats().Undelivered == 1, "unless a call has said so")
			})
		}
	})
	t.Run("a peer that does not want it", func(t *testing.T) {
		everyPeer(t, nil, func(t *testing.T, p *peer) {
			p.write("last words").value("there is room for it")
			require.NoError(t, p.conn.Close())
			p.ignore("DATA and FIN")
			shutdown := p.shutdown(t.Context())
			p.reset()
			require.NoError(t, shutdown.err("it has closed, as TLS does before close_notify arrives"))
			require.Zero(t, p.Stats().Undelivered)
		})
	})
	t.Run("what is thrown away is not lost", func(t *testing.T) {
		everyPeer(t, nil, func(t *testing.T, p *peer) {
			p.write("last words").value("there is room for it")
			shutdown := p.shutdown(t.Context())
			require.NoError(t, p.conn.SetLinger(0))
			require.NoError(t, p.conn.Close())
			p.ignore("DATA and RESET")
			require.NoError(t, shutdown.err("that was asked for"))
			require.Zero(t, p.Stats().Undelivered)
		})
	})
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		shutdown := p.shutdown(ctx)
		p.advance(time.Second - 1)
		shutdown.wantNotDone("there is a connection")
		p.advance(1)
		require.Equal(t, context.DeadlineExceeded, shutdown.err("the context has ended"))
		p.write("still here")
		p.want("the connection goes on", packet{typ: wire.Data, payload: "still here"})
		require.Equal(t, context.DeadlineExceeded, p.shutdown(ctx).err("a context that has ended waits for nothing"))
	})
}

func TestShutdownOfAnIdleEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		accepting := te.listen()
		accept := te.accept()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, te.shutdown(ctx).err("there is nothing to wait for"), "whatever the context says")
		wantOpError(t, accept.err("it is closed"), "accept", nil, accepting.Addr(), net.ErrClosed, "Shutdown stops listening")
	})
}

func TestShutdownWaitsForTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.w.setRoom(0)
		te.recv(alice, packet{typ: wire.State})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		short := te.shutdown(ctx)
		shutdown := te.shutdown(t.Context())
		te.advance(time.Second - 1)
		short.wantNotDone("an answer has not left")
		te.advance(1)
		require.Equal(t, context.DeadlineExceeded, short.err("the context has ended"))
		shutdown.wantNotDone("this one has more time")
		te.w.open()
		require.NoError(t, shutdown.err("now it has left"))
		te.want("the answer", packet{typ: wire.Reset})
	})
}

func TestShutdownDuringDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		dial := te.dial(alice)
		te.want("dialling sends a SYN", packet{typ: wire.Syn})
		shutdown := te.shutdown(t.Context())
		shutdown.wantNotDone("a dial is under way")
		te.advance(time.Second)
		wantDialError(t, dial.err("no SYN is repeated"), net.ErrClosed, "the endpoint is shutting down")
		te.want("the attempt is given up", packet{typ: wire.Reset})
		require.NoError(t, shutdown.err("nothing is left"))
	})
}

func TestCloseInterruptsShutdown(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		shutdown := p.shutdown(t.Context())
		shutdown.wantNotDone("there is a connection")
		p.Close()
		p.want("which is reset", packet{typ: wire.Reset})
		require.NoError(t, shutdown.err("everything has ended"))
	})
}

func TestShutdownOfAPair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		sent := pattern(100_000)
		var reads []*async[[]byte]
		for range 10 {
			c, d := p.connect()
			reads = append(reads, runAsync(t, func() ([]byte, error) {
				b, err := io.ReadAll(d)
				return b, errors.Join(err, d.Close())
			}))
			_, err := c.Write(sent)
			require.NoError(t, err)
			require.NoError(t, c.Close())
		}
		require.NoError(t, p.a.Shutdown(t.Context()))
		p.a.Close()
		for _, read := range reads {
			require.Len(t, read.value("everything was delivered"), len(sent))
		}
		require.NoError(t, p.b.Shutdown(t.Context()))
	})
}
