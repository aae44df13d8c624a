package utp

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/require"
)

// deliver has the peer acknowledge what is sent until it has n bytes.
func (p *peer) deliver(n int) (got []byte) {
	p.t.Helper()
	for range 1000 {
		got = append(got, p.drain()...)
		if len(got) >= n {
			p.recv(packet{typ: wire.State})
			return got
		}
		p.advance(rtt)
		p.recv(packet{typ: wire.State})
	}
	p.t.Fatalf("of %d bytes %d have arrived", n, len(got))
	return nil
}

func TestWouldBlock(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		sent := pattern(10_000)
		p.w.setRoom(3000)
		require.NoError(t, p.write(string(sent)).err("Write does not wait for the system"))
		got := p.takeAll()
		require.Len(t, got, 2, "what there was room for has left, as whole datagrams")
		require.Equal(t, byUser, got[0].by)
		require.True(t, p.crowded.Load())
		require.True(t, p.w.blocked(), "the sender waits with the rest")

		p.w.open()
		got = append(got, p.takeAll()...)
		var stream []byte
		for i, d := range got {
			require.Equal(t, i+1, p.number(&d), "nothing is lost, nor out of order")
			stream = append(stream, d.Payload...)
			if i > 1 {
				require.Equal(t, bySender, d.by)
			}
		}
		require.Equal(t, sent, stream)
		require.False(t, p.crowded.Load(), "there is room again")
		require.Zero(t, p.conn.Stats().Retransmits)
		p.acked = len(got)
		p.advance(rtt)
		p.recv(packet{typ: wire.State})
		p.write("x")
		p.want("users send for themselves again", packet{typ: wire.Data, payload: "x", by: byUser})
	})
}

func TestWouldBlockInTheMiddleOfARun(t *testing.T) {
	// However few whole datagrams the system takes of a run, the rest follows.
	for room := 0; room < 8000; room += 700 {
		synctest.Test(t, func(t *testing.T) {
			te := newTestEndpoint(t, nil)
			p := te.dialled(alice)
			sent := pattern(9_000)
			te.w.setRoom(room)
			p.write(string(sent)).value("there is room in the buffer")
			left := 0
			for _, d := range te.w.take(-1) {
				left += len(d.bytes)
				sent = bytes.TrimPrefix(sent, d.Payload)
			}
			require.LessOrEqual(t, left, room)
			for len(sent) > 0 {
				te.w.setRoom(1500)
				d := te.next("there is room for one more", wire.Data)
				require.True(t, bytes.HasPrefix(sent, d.Payload), "in order")
				sent = sent[len(d.Payload):]
			}
		})
	}
}

func TestCrowdedSystemIsLeftToTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		p, q := te.dialled(alice), te.dialled(bob)
		te.w.setRoom(0)
		tries := te.w.count(byUser) + 1
		p.write("one").value("there is room in the buffer")
		for range 10 {
			q.write("two").value("there is room in the buffer")
		}
		require.Equal(t, tries, te.w.count(byUser), "nobody asks again a system that has no room")
		te.advance(time.Second)
		require.Zero(t, te.w.count(byTimer), "not the timers either")
		te.w.open()
		var order []Route
		for _, d := range te.takeAll() {
			order = append(order, d.route)
			require.Equal(t, bySender, d.by)
		}
		require.Equal(t, []Route{alice, bob}, order[:2], "the sender takes them in turn")
	})
}

func TestConnectionsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		p, q := te.dialled(alice), te.dialled(bob)
		te.w.setRoom(0)
		p.write(string(pattern(10_000))).value("there is room in the buffer")
		q.write(string(pattern(10_000))).value("there is room in the buffer")
		te.w.open()
		var turns []Route
		for _, d := range te.takeAll() {
			if n := len(turns); n == 0 || turns[n-1] != d.route {
				turns = append(turns, d.route)
			}
		}
		require.Equal(t, []Route{alice, bob, alice, bob}, turns, "one run at a time")
	})
}

func TestUsersSendAFewRuns(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		p.w.stick(true)
		p.testEndpoint.recv(routeTo(1), packet{typ: wire.State})
		require.True(t, p.w.blocked(), "the sender is busy")
		p.recv(packet{typ: wire.Data, seq: 2, payload: "ahead of a gap"})
		p.wantNothing("the acknowledgement is the sender's")

		p.write(string(pattern(10_000))).value("there is room in the buffer")
		p.want("a user's call sends what there is", packet{typ: wire.State, ack: 0, by: byUser})
		p.want("as its second run, the MTU probe", packet{typ: wire.Data, by: byUser})
		p.wantNothing("and leaves the rest to the sender")
		p.w.open()
		p.testEndpoint.want("first what was first", packet{typ: wire.Reset, by: bySender})
		for _, d := range p.takeAll() {
			require.Equal(t, bySender, d.by)
		}
	})
}

// TestOneFlusherAtATime: packets of a connection stay in order, whoever sends.
func TestOneFlusherAtATime(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		p.w.stick(true)
		p.recv(packet{typ: wire.Data, payload: "a"}, packet{typ: wire.Data, payload: "b"})
		require.True(t, p.w.blocked(), "the sender is about to send the acknowledgement")
		require.NoError(t, p.write("hello").err("a user's call is not held up"))
		require.Equal(t, "ab", p.read(10).value("nor any other"))
		require.NoError(t, p.conn.SetDeadline(time.Time{}))
		require.NotNil(t, p.conn.LocalAddr())
		require.NotZero(t, p.conn.Stats().PacketsSent)
		require.Equal(t, 1, p.Stats().Conns)
		require.Zero(t, p.w.count(byTimer))
		p.wantNothing("but it does not overtake")
		p.w.open()
		p.want("first what was first", packet{typ: wire.State, seq: 1, ack: 2, by: bySender})
		p.want("then what follows", packet{typ: wire.Data, seq: 1, payload: "hello", by: bySender})
	})
}

// TestSenderDoesNotOvertake: nor does the sender, while a user sends.
func TestSenderDoesNotOvertake(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		p.w.stick(true)
		p.testEndpoint.recv(routeTo(1), packet{typ: wire.State})
		p.recv(packet{typ: wire.Data, payload: "a"}, packet{typ: wire.Data, payload: "b"})
		require.True(t, p.w.blocked(), "the sender is busy, and this connection is next")
		sent := pattern(5000)
		p.w.slowDown(true)
		write := p.write(string(sent))
		write.wantNotDone("the user is in a system call")
		p.w.stick(false)
		p.testEndpoint.want("the sender goes on", packet{typ: wire.Reset, route: routeTo(1)})
		p.wantNothing("but leaves alone who is at it")
		p.w.slowDown(false)
		write.value("the system call has returned")
		require.Equal(t, sent, p.drain(), "in order")
	})
}

func TestBlockedSenderDoesNotStopOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		p, q := te.dialled(alice), te.dialled(bob)
		te.w.stick(true)
		p.recv(packet{typ: wire.Data, payload: "a"}, packet{typ: wire.Data, payload: "b"})
		require.True(t, te.w.blocked(), "the sender waits")
		read := q.read(10)
		q.recv(packet{typ: wire.Data, payload: "hello"})
		require.Equal(t, "hello", read.value("others read"))
		q.write("world")
		q.want("and write", packet{typ: wire.Data, payload: "world", by: byUser})
		q.advance(time.Second)
		q.want("and repeat", packet{typ: wire.Data, payload: "world", by: byTimer})
		te.ignore("")
	})
}

func TestLargestDatagram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		for route, size := range map[Route]int{alice: 1472, bob: 1452} {
			p := te.dialled(route)
			p.write(string(pattern(1500))).value("there is room")
			d := p.lose("it fills a packet of 1500 bytes", packet{typ: wire.Data, fragment: false})
			require.Len(t, d.bytes, size, "%v", route.Remote)
			p.drain()
		}
	})
}

func TestTooBig(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		sent := pattern(20_000)
		p.w.setMTU(1300)
		p.write(string(sent)).value("there is room")
		require.Equal(t, sent, p.deliver(len(sent)), "1200 bytes pass: the stream goes on with those")
		require.Equal(t, 1200, p.conn.Stats().Datagram)
		require.Zero(t, p.conn.Stats().Timeouts, "without waiting for a timeout")

		p.w.setMTU(1000)
		p.write(string(sent)).value("there is room")
		require.Equal(t, sent, p.deliver(len(sent)), "the path has become narrower")
		require.Equal(t, 900, p.conn.Stats().Datagram)
		require.Zero(t, p.Stats().SendErrors, "that is not an error")
	})
}

func TestTooBigIsFragmented(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		p.w.setMTU(1300)
		sent := pattern(5_000)
		p.write(string(sent)).value("there is room")
		fragmented := 0
		for _, d := range p.takeAll() {
			require.Equal(t, len(d.bytes) > 1300, d.fragment == true)
			if d.fragment {
				fragmented++
				require.Equal(t, 1, p.number(&d), "a sequence number cannot be split")
			}
		}
		require.Equal(t, 1, fragmented, "the probe's data, in one piece that the network may cut")
	})
}

func TestTooBigEvenInFragments(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		sent := pattern(3000)
		p.w.failWith(func(Route) error { return ErrTooBig })
		p.write(string(sent)).value("there is room")
		p.advance(time.Second)
		calls := p.w.count(bySender) + p.w.count(byUser) + p.w.count(byTimer)
		require.Less(t, calls, 30, "what cannot be sent is not tried without end")
		p.w.failWith(nil)
		require.Equal(t, sent, p.deliver(len(sent)), "but again")
	})
}

func TestSendErrors(t *testing.T) {
	everyPeer(t, nil, func(t *testing.T, p *peer) {
		p.w.failWith(func(Route) error { return syscall.ENETUNREACH })
		require.NoError(t, p.write("hello").err("the error may pass"))
		p.wantNothing("nothing leaves")
		require.EqualValues(t, 1, p.Stats().SendErrors)
		p.testEndpoint.recv(routeTo(1), packet{typ: wire.State})
		require.EqualValues(t, 2, p.Stats().SendErrors, "answers count as well")
		p.w.failWith(nil)
		p.advance(550 * time.Millisecond)
		p.want("it is as good as lost on the way", packet{typ: wire.Data, payload: "hello", by: byTimer})
		p.recv(packet{typ: wire.State})

		p.w.failWith(func(Route) error { return syscall.ENETUNREACH })
		p.recv(packet{typ: wire.Data, payload: "x"}, packet{typ: wire.Data, payload: "y"})
		require.EqualValues(t, 3, p.Stats().SendErrors, "the sender survives it, too")
		p.w.failWith(nil)
		p.recv(packet{typ: wire.Data, seq: 1, payload: "x"})
		p.want("a repeated packet is acknowledged", packet{typ: wire.State, ack: 2, by: bySender})
	})
}

func TestSendErrorsOfADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.w.failWith(func(Route) error { return errors.New("network is unreachable") })
		dial := te.dial(alice)
		dial.wantNotDone("the network may come back")
		te.w.failWith(nil)
		te.wantAfter(time.Second, "it has", packet{typ: wire.Syn})
		te.advance(29 * time.Second)
		te.ignore("SYNs and RESETs")
		require.Error(t, dial.err("nobody answers"))
	})
}

func TestCrowdedSystemThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		p := te.dialled(alice)
		te.w.setRoom(0)
		p.write("lost").value("there is room in the buffer")
		require.True(t, te.w.blocked())
		te.w.failWith(func(Route) error { return errors.New("host is down") })
		te.w.open()
		te.wantNothing("it is lost")
		te.w.failWith(nil)
		te.advance(time.Second)
		p.want("and repeated: nothing is stuck", packet{typ: wire.Data, payload: "lost"})
		p.recv(packet{typ: wire.State})
		p.write("next")
		p.want("users send for themselves again", packet{typ: wire.Data, payload: "next", by: byUser})
	})
}

// settle lets the timers of the handshake run out. Without keepalives none is left.
func (p *peer) settle() {
	p.t.Helper()
	p.advance(5 * time.Second)
	p.wantNothing("there is nothing to say")
	require.False(p.t, p.conn.armed())
}

// timer returns when the timer runs; its zero is the beginning of the endpoint.
func (p *peer) timer() time.Duration {
	p.conn.mu.Lock()
	defer p.conn.mu.Unlock()
	if p.conn.timerAt == 0 {
		return -1
	}
	return p.conn.timerAt.Sub(clockStart)
}

func TestIdleConnectionHasNoTimer(t *testing.T) {
	everyPeer(t, &Config{KeepAlive: -1}, func(t *testing.T, p *peer) {
		p.write("question")
		p.want("it is sent", packet{typ: wire.Data})
		require.True(t, p.conn.armed(), "something is outstanding")
		p.recv(packet{typ: wire.Data, payload: "answer"})
		p.mustRead("answer")
		p.advance(5 * time.Second)
		p.want("it is acknowledged", packet{typ: wire.State, ack: 1})
		require.False(t, p.conn.armed(), "nothing is")
		p.write("another")
		p.want("it is sent", packet{typ: wire.Data})
		require.True(t, p.conn.armed(), "something is again")
	})
}

func TestTimerIsMovedLazily(t *testing.T) {
	everyPeer(t, &Config{KeepAlive: time.Minute}, func(t *testing.T, p *peer) {
		p.advance(5 * time.Second)
		require.Equal(t, time.Minute+rtt, p.timer(), "the keepalive")
		p.write("x")
		p.want("it is sent", packet{typ: wire.Data})
		first := p.timer()
		require.Less(t, first, 7*time.Second, "retransmission comes earlier")
		for range 5 {
			p.advance(10 * time.Millisecond)
			p.recv(packet{typ: wire.State})
			p.write("x")
			p.want("it is sent", packet{typ: wire.Data})
			require.Equal(t, first, p.timer(), "a timer that runs too early is left alone")
		}
		p.recv(packet{typ: wire.State})
		p.advance(2 * time.Second)
		p.wantNothing("it finds out")
		require.Greater(t, p.timer(), 50*time.Second, "and is moved then")
	})
}

func TestEndedConnectionHasNoTimer(t *testing.T) {
	for name, end := range map[string]func(p *peer){
		"RESET": func(p *peer) { p.reset() },
		"abort": func(p *peer) {
			p.conn.SetLinger(0)
			p.conn.Close()
		},
		"FINs": func(p *peer) {
			p.conn.Close()
			p.drain()
			p.recv(packet{typ: wire.Fin})
		},
	} {
		t.Run(name, func(t *testing.T) {
			everyRole(t, nil, func(t *testing.T, p *peer) {
				require.True(t, p.conn.armed(), "there are keepalives")
				end(p)
				p.ignore("whatever is said in the end")
				p.wantNoConns("it has ended")
				require.False(t, p.conn.armed(), "nothing keeps the memory of an ended connection")
			})
		})
	}
}

// TestLossyPair: everything arrives, whatever the network does.
func TestLossyPair(t *testing.T) {
	for _, every := range []int{3, 10} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, nil)
			for _, l := range []*link{p.toA, p.toB} {
				n := 0
				l.drop = func(*datagram) bool {
					n++
					return n%every == 0
				}
				l.lateness = func(d *datagram) time.Duration { return time.Duration(d.SeqNr%3) * time.Millisecond }
			}
			c, d := p.connect()
			sent := pattern(200_000)
			readC, readD := readAll(t, c), readAll(t, d)
			for _, x := range []*Conn{c, d} {
				go func() {
					x.Write(sent)
					x.CloseWrite()
				}()
			}
			for _, read := range []*async[[]byte]{readC, readD} {
				got, err := read.settled()
				require.NoError(t, err)
				require.True(t, bytes.Equal(sent, got))
			}
			require.NoError(t, c.Close())
			require.NoError(t, d.Close())
			time.Sleep(time.Minute)
			p.a.wantNoConns("both have ended")
			p.b.wantNoConns("both have ended")
		})
	}
}

// TestLostFlight: a Write that waits has its packets repeated.
func TestLostFlight(t *testing.T) {
	everyRole(t, &Config{SendBuffer: 4096, KeepAlive: -1}, func(t *testing.T, p *peer) {
		p.settle()
		write := p.write(strings.Repeat("x", 5000))
		write.wantNotDone("the buffer is full")
		require.Len(t, p.takeAll(), 4, "and all of it lost")
		p.advance(time.Second)
		p.want("the first is repeated", packet{typ: wire.Data, seq: 1, by: byTimer})
		p.drain()
	})
}
