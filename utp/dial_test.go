package utp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wantOpError checks that err is what package net returns for an operation of a
// connection or an endpoint.
func wantOpError(t *testing.T, err error, op string, source, addr net.Addr, target error, why string) {
	t.Helper()
	require.Error(t, err, why)
	e, ok := err.(*net.OpError)
	require.True(t, ok, "%s: %#v is no *net.OpError", why, err)
	require.Equal(t, &net.OpError{Op: op, Net: "utp", Source: source, Addr: addr, Err: e.Err}, e, why)
	require.ErrorIs(t, err, target, why)
}

// wantDialError checks the error of a dial to alice.
func wantDialError(t *testing.T, err, target error, why string) {
	t.Helper()
	wantOpError(t, err, "dial", nil, NewAddr(alice.Remote), target, why)
}

// dialWithin is dial with a time limit.
func (te *testEndpoint) dialWithin(d time.Duration, route Route) *async[*Conn] {
	return runAsync(te.t, func() (*Conn, error) {
		ctx, cancel := context.WithTimeout(te.t.Context(), d)
		defer cancel()
		return te.Dial(ctx, route.unbound())
	})
}

func timeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

func TestDialRepeatsTheSyn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		dial := te.dial(alice)
		ids, seqs := map[uint16]wire.SeqNr{}, map[wire.SeqNr]bool{}
		syn := packet{typ: wire.Syn, ack: 0, window: 64 << 10, hello: true, payload: 0, route: alice.unbound()}
		for i, after := range []time.Duration{0, 1, 2, 4, 8} {
			var d datagram
			if i == 0 {
				d = te.want("the first SYN leaves at once", syn)
			} else {
				d = te.wantAfter(after*time.Second, "further ones leave at 1, 3, 7 and 15 s", syn)
			}
			assert.Zero(t, d.ConnID%2, "an even id leaves the odd ones to the peer, and is never 0xFFFF")
			assert.NotContains(t, ids, d.ConnID, "each attempt has an id of its own")
			ids[d.ConnID], seqs[d.SeqNr] = d.SeqNr, true
		}
		assert.Greater(t, len(seqs), 1, "and a number of its own")
		te.advance(15*time.Second - 1)
		dial.wantNotDone("the last SYN has 15 s")
		te.advance(1)
		err := dial.err("without an answer a dial ends after 30 s")
		wantDialError(t, err, syscall.ETIMEDOUT, "nobody answers")
		require.True(t, timeout(err), "that is a timeout")
		require.NotErrorIs(t, err, context.DeadlineExceeded, "but not one of a context")
		for range len(ids) {
			d := te.want("whoever has a SYN is told that it is void", packet{typ: wire.Reset, hello: false})
			assert.Equal(t, d.SeqNr, ids[d.ConnID-1]+1, "a RESET comes after the SYN")
			delete(ids, d.ConnID-1)
		}
		te.wantNoConns("the dial has ended")
	})
}

func TestDialFirstAnswerWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		dial := te.dial(alice)
		var syns []datagram
		for _, after := range []time.Duration{0, 1, 2} {
			te.advance(after * time.Second)
			syns = append(syns, te.want("a SYN a time", packet{typ: wire.Syn}))
		}
		require.Equal(t, 3, te.Stats().Conns, "three attempts are under way")
		id := func(i int) int { return int(syns[i].ConnID) }
		answer := func(i int) packet {
			return packet{typ: wire.State, id: id(i), seq: 100 * i, ack: int(syns[i].SeqNr)}
		}
		te.recv(alice, answer(1))
		c := dial.value("the second SYN was answered")
		require.Equal(t, syns[1].ConnID+1, c.connIDSend)
		got := map[int]wire.Type{}
		for _, d := range te.takeAll() {
			got[int(d.ConnID)] = d.Type
		}
		require.Equal(t, map[int]wire.Type{
			id(0) + 1: wire.Reset, id(1) + 1: wire.State, id(2) + 1: wire.Reset,
		}, got, "the answer is confirmed, and the other attempts are reset")
		require.Equal(t, 1, te.Stats().Conns)
		require.EqualValues(t, 1, te.Stats().Dialed)
		require.Nil(t, c.dial, "the winner does not keep the others in memory")

		te.recv(alice, answer(2))
		te.want("an answer for an attempt that lost is refused", packet{typ: wire.Reset, id: id(2), ack: 200})
		te.recv(alice, answer(1))
		te.wantNothing("so soon, the SYN-ACK is not answered again")
		te.advance(100 * time.Millisecond)
		te.recv(alice, answer(1))
		te.want("then it is: the connection has not been reset", packet{typ: wire.State, id: id(1) + 1, ack: 99})
	})
}

func TestDialTwoAnswersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		dial := te.dial(alice)
		first := te.want("dialling sends a SYN", packet{typ: wire.Syn})
		te.w.slowDown(true)
		te.advance(time.Second)
		// The dial is in the system call for its second SYN while both are answered.
		var id, seq int
		for _, c := range te.allConns() {
			if c.synSeqNr != first.SeqNr {
				id, seq = int(c.connIDSend)-1, int(c.synSeqNr)
			}
		}
		te.recv(alice, packet{typ: wire.State, id: int(first.ConnID), ack: int(first.SeqNr)})
		te.want("the first answer is confirmed", packet{typ: wire.State, id: int(first.ConnID) + 1})
		te.recv(alice, packet{typ: wire.State, id: id, ack: seq})
		te.w.slowDown(false)
		require.Equal(t, first.ConnID+1, dial.value("a SYN was answered").connIDSend)
		te.want("the system call", packet{typ: wire.Syn, id: id})
		te.want("the other attempt is reset before the peer takes it for a connection", packet{typ: wire.Reset, id: id + 1})
		require.Equal(t, EndpointStats{Conns: 1, Dialed: 1}, te.Stats())
	})
}

func TestDialUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		p := te.dialled(bob)
		dial := te.dial(alice)
		first := te.want("dialling sends a SYN", packet{typ: wire.Syn})

		// What does not quote a SYN that is on its way to that address is forged.
		forged := bytes.Clone(first.bytes)
		forged[17]++ // seq_nr
		data := te.build(alice, &packet{typ: wire.Data, id: int(first.ConnID), seq: int(first.SeqNr)})
		for _, quoted := range [][]byte{nil, first.bytes[:19], forged, data} {
			te.Unreachable(alice.unbound(), quoted)
		}
		te.Unreachable(bob.unbound(), first.bytes)
		te.wantNothing("nothing was learnt")

		te.Unreachable(alice, first.bytes)
		second := te.want("it may be forged, or of the moment: another attempt is made at once", packet{typ: wire.Syn})
		require.NotEqual(t, first.ConnID, second.ConnID)
		te.Unreachable(alice.unbound(), first.bytes)
		te.wantNothing("the same once more says nothing new")
		dial.wantNotDone("one message is not enough")
		te.wantAfter(2*time.Second, "the attempts go on", packet{typ: wire.Syn})
		te.Unreachable(alice.unbound(), second.bytes)
		wantDialError(t, dial.err("two of them are"), syscall.ECONNREFUSED, "nobody is there")
		require.Len(t, te.takeAll(), 3, "the attempts are reset all the same")

		te.Unreachable(alice.unbound(), second.bytes) // of a dial that has ended
		p.write("alive")
		p.want("a connection survives whatever is said", packet{typ: wire.Data})
		te.Unreachable(bob.unbound(), te.build(bob, &packet{typ: wire.Syn, id: int(p.sendID), seq: int(p.base)}))
		p.wantNothing("even with its SYN")
		te.listen()
		q := te.accepted(routeTo(1).unbound())
		te.Unreachable(q.route, te.build(q.route, &packet{typ: wire.Syn, id: int(q.sendID), seq: int(q.peerBase)}))
		require.Equal(t, 2, te.Stats().Conns, "nor does one that was not dialled end")
	})
}

func TestDialRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		id   int // relative to the SYN's
	}{
		{"with the id that the dialler receives with", 0},
		{"with the id that it sends with", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				te := newTestEndpoint(t, nil)
				dial := te.dial(alice)
				syn := te.want("dialling sends a SYN", packet{typ: wire.Syn})
				id := int(syn.ConnID) + tc.id
				for _, off := range []int{-1, 1, 30000} {
					te.recv(alice, packet{typ: wire.Reset, id: id, ack: int(syn.SeqNr) + off})
				}
				te.recv(bob, packet{typ: wire.Reset, id: id, ack: int(syn.SeqNr)})
				dial.wantNotDone("a RESET counts only from the peer, with the number of the SYN")
				te.recv(alice, packet{typ: wire.Reset, id: id, seq: 12345, ack: int(syn.SeqNr)})
				wantDialError(t, dial.err("the peer refuses"), syscall.ECONNREFUSED, "RESET")
				te.wantNothing("a RESET is not answered, and no SYN follows")
				te.wantNoConns("the dial has ended")
			})
		})
	}
}

func TestDialIgnoresOtherAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		dial := te.dial(alice)
		syn := te.want("dialling sends a SYN", packet{typ: wire.Syn})
		id, seq := int(syn.ConnID), int(syn.SeqNr)
		te.recv(alice,
			packet{typ: wire.State, id: id, seq: 100, ack: seq + 1},
			packet{typ: wire.State, id: id, seq: 100, ack: seq - 1},
			packet{typ: wire.Data, id: id, seq: 100, ack: seq, payload: "early"},
			packet{typ: wire.Fin, id: id, seq: 100, ack: seq})
		dial.wantNotDone("only a STATE that acknowledges the SYN connects")
		te.wantNothing("none of it is answered")
		te.recv(alice, packet{typ: wire.State, id: id, seq: 100, ack: seq})
		c := dial.value("that is one")
		te.want("it is confirmed", packet{typ: wire.State, seq: seq + 1, ack: 99})
		c.SetReadDeadline(time.Now())
		_, err := c.Read(make([]byte, 10))
		require.True(t, timeout(err), "data from before has no place in the stream")
	})
}

func TestDialEndsWithItsContext(t *testing.T) {
	cause := errors.New("changed my mind")
	type contextFunc func(context.Context) (context.Context, context.CancelFunc)
	for _, tc := range []struct {
		name    string
		context contextFunc
		is      []error
		timeout bool
		text    string
	}{
		{"cancel", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			return ctx, func() { time.AfterFunc(5*time.Second, cancel) }
		}, []error{context.Canceled}, false, "context canceled"},
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 5*time.Second)
		}, []error{context.DeadlineExceeded}, true, "context deadline exceeded"},
		{"cancel with a cause", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { time.AfterFunc(5*time.Second, func() { cancel(cause) }) }
		}, []error{context.Canceled, cause}, false, "context canceled: changed my mind"},
		{"deadline with a cause", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, 5*time.Second, cause)
		}, []error{context.DeadlineExceeded, cause}, true, "context deadline exceeded: changed my mind"},
		{"deadline with a cause that says so", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, 5*time.Second, fmt.Errorf("%w: %w", cause, context.DeadlineExceeded))
		}, []error{context.DeadlineExceeded, cause}, true, "changed my mind"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				te := newTestEndpoint(t, nil)
				ctx, end := tc.context(t.Context())
				if tc.timeout {
					defer end()
				} else {
					end()
				}
				dial := runAsync(t, func() (*Conn, error) { return te.Dial(ctx, alice.unbound()) })
				te.advance(5*time.Second - 1)
				dial.wantNotDone("the context goes on")
				require.Len(t, te.takeAll(), 3, "SYNs at 0, 1 and 3 s")
				te.advance(1)
				err := dial.err("the context has ended")
				for _, target := range tc.is {
					wantDialError(t, err, target, "that is why")
				}
				require.ErrorContains(t, err, tc.text)
				require.Equal(t, tc.timeout, timeout(err), "Timeout")
				for range 3 {
					te.want("the attempts are reset", packet{typ: wire.Reset})
				}
				te.wantNoConns("the dial has ended")

				_, err = te.Dial(ctx, alice.unbound())
				wantDialError(t, err, tc.is[0], "a context that has ended dials nothing")
				te.wantNothing("no SYN leaves")
			})
		})
	}
}

// hookedContext lets a test act when a dial looks at its context.
type hookedContext struct {
	context.Context
	hook func()
}

func (c hookedContext) Done() <-chan struct{} {
	c.hook()
	return c.Context.Done()
}

func TestEstablishedBeatsContext(t *testing.T) {
	// The dial finds both in its select, which draws: now and then both must come.
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			te := newTestEndpoint(t, nil)
			ctx, cancel := context.WithCancel(t.Context())
			looks := 0
			dial := runAsync(t, func() (*Conn, error) {
				return te.Dial(hookedContext{ctx, func() {
					if looks++; looks == 1 {
						syn := te.w.take(1)[0]
						te.handIn(alice, packet{typ: wire.State, id: int(syn.ConnID), ack: int(syn.SeqNr)})
						cancel()
					}
				}}, alice.unbound())
			})
			dial.value("a connection that is established when the context ends is returned")
			te.want("and stays", packet{typ: wire.State})
			require.EqualValues(t, 1, te.Stats().Dialed)
		})
	}
}

func TestDialMaxConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, &Config{MaxConns: 2})
		te.listen()
		p := te.dialled(alice)
		te.accepted(bob)
		_, err := te.Dial(t.Context(), alice.unbound())
		wantDialError(t, err, syscall.EMFILE, "inbound and outbound count together")
		te.wantNothing("no SYN leaves")
		p.reset()
		dial := te.dialWithin(2*time.Second, alice)
		te.want("there is room again", packet{typ: wire.Syn})
		te.wantAfter(time.Second, "a repeated SYN is no further connection", packet{typ: wire.Syn})
		te.advance(time.Second)
		require.ErrorIs(t, dial.err("nobody answers"), context.DeadlineExceeded)
		te.ignore("the attempts are given up")
	})
}

func TestDialWithoutARoute(t *testing.T) {
	for _, e := range []syscall.Errno{
		syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EINVAL, syscall.EAFNOSUPPORT,
		syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM,
	} {
		t.Run(e.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				te := newTestEndpoint(t, nil)
				te.w.failWith(func(Route) error {
					return &net.OpError{Op: "write", Net: "udp", Err: os.NewSyscallError("sendmsg", e)}
				})
				_, err := te.Dial(t.Context(), alice.unbound())
				wantDialError(t, err, e, "there is no way to the peer, and there will be none")
				require.Equal(t, os.NewSyscallError("sendmsg", e), err.(*net.OpError).Err, "the error is wrapped once")
				te.wantNoConns("the dial has ended")
			})
		})
	}
}

func TestDialWithoutFreeIDs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		taken := make(map[int]*Conn)
		te.mu.Lock()
		for id := 0; id < 1<<16; id += 2 {
			taken[id] = &Conn{route: alice.unbound(), connIDRecv: uint16(id)}
			te.table.put(taken[id])
		}
		te.mu.Unlock()
		forget := func(id int) {
			te.mu.Lock()
			defer te.mu.Unlock()
			te.table.remove(taken[id])
			delete(taken, id)
		}
		defer func() {
			for id := range taken {
				forget(id)
			}
		}()
		_, err := te.Dial(t.Context(), alice.unbound())
		wantDialError(t, err, syscall.EADDRNOTAVAIL, "every even id towards the peer is in use")
		te.wantNothing("no SYN leaves")

		dial := te.dialWithin(time.Second/2, bob)
		te.want("ids towards others are free", packet{typ: wire.Syn, route: bob.unbound()})
		dial.wantNotDone("it has an id")

		forget(12344)
		te.draw(12346, 16) // it is the last that is looked at
		dial = te.dialWithin(time.Second/2, alice)
		te.want("the last free id is found", packet{typ: wire.Syn, id: 12344})
		dial.wantNotDone("it has an id")
		te.advance(time.Second / 2)
		te.ignore("both are given up")
	})
}

func TestManyCancelledDialsLeaveNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.w.silent = true
		const dials = 1000
		for i := range dials {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				te.Dial(ctx, routeTo(i%10).unbound())
			}()
		}
		synctest.Wait()
		require.Equal(t, dials, te.Stats().Conns, "they are under way")
		require.Len(t, te.takeAll(), dials)
		conns := te.allConns()
		te.advance(time.Millisecond)
		require.Len(t, te.takeAll(), dials, "each is reset")
		te.wantNoConns("all have ended")
		require.Zero(t, te.places(), "no tombstones are left of what never was")
		require.Zero(t, te.memory.reserved.Load())
		for _, c := range conns {
			require.False(t, c.armed(), "no timer is left")
		}
	})
}
