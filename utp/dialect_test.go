package utp

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

func TestDialectString(t *testing.T) {
	require.Equal(t, "auto", AutoDialect.String())
	require.Equal(t, "BEP 29", BEP29.String())
	require.Equal(t, "utp-punch", UTPPunch.String())
	require.Equal(t, "Dialect(9)", Dialect(9).String())
}

// punchSyn is a SYN of utp-punch, with id X, and punchReset how it answers a STATE
// with that id.
func punchSyn(id int) packet {
	return packet{typ: wire.Syn, id: id, seq: 700, punch: true}
}

func punchReset(id int) packet {
	return packet{typ: wire.Reset, id: id + 1, punch: true}
}

// acceptPunch has utp-punch dial, with an id.
func (te *testEndpoint) acceptPunch(id int) *Conn {
	te.t.Helper()
	te.recv(alice, punchSyn(id))
	te.want("BEP 29 first", packet{typ: wire.State, id: id, ack: 700})
	te.recv(alice, punchReset(id))
	synAck := te.want("its own, when that was refused", packet{typ: wire.State, id: id + 1, ack: 700})
	accept := te.accept()
	accept.wantNotDone("nothing proves its address")
	te.recv(alice, packet{typ: wire.Data, id: id, seq: 701, ack: int(synAck.SeqNr - 1), payload: "hello", punch: true})
	te.want("its DATA is acknowledged", packet{typ: wire.State, id: id + 1, ack: 701})
	c := accept.value("it has proved it")
	require.Equal(te.t, UTPPunch, c.Stats().Dialect)
	return c
}

func TestPunchDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		c := te.acceptPunch(4000)
		b := make([]byte, 9)
		n, err := c.Read(b)
		require.NoError(t, err)
		require.Equal(t, "hello", string(b[:n]))

		te.recv(alice, punchSyn(4000))
		te.wantNothing("a late duplicate of its SYN")
		te.recv(alice, packet{typ: wire.State, id: 4001})
		te.want("the other id is nobody's", packet{typ: wire.Reset, id: 4001})
		require.Equal(t, 1, te.Stats().Conns)

		// With the next id another one may dial, in whatever dialect.
		te.recv(alice, packet{typ: wire.Syn, id: 4000, seq: 9})
		te.want("that of BEP 29 is free", packet{typ: wire.State, id: 4000, ack: 9})
		require.Equal(t, 2, te.Stats().Conns)

		require.NoError(t, c.SetLinger(0))
		require.NoError(t, c.Close())
		te.want("it is told in its dialect", packet{typ: wire.Reset, id: 4001})
		te.recv(alice, packet{typ: wire.Reset, id: 4001, seq: 10})
		te.wantNoConns("neither is left")
	})
}

func TestPunchLikeSynOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		te.recv(alice, punchSyn(4000))
		synAck := te.want("BEP 29 first", packet{typ: wire.State, id: 4000})
		te.recv(alice, punchSyn(4000))
		te.want("it is repeated", packet{typ: wire.State, id: 4000, seq: int(synAck.SeqNr)})
		te.want("in both dialects", packet{typ: wire.State, id: 4001, seq: int(synAck.SeqNr)})
		te.recv(alice, packet{typ: wire.Reset, id: 4001, seq: 33, ack: int(synAck.SeqNr)})
		accept := te.accept()
		te.recv(alice, packet{typ: wire.State, id: 4001, seq: 701, ack: int(synAck.SeqNr - 1)})
		c := accept.value("the other RESET said nothing about it")
		require.Equal(t, BEP29, c.Stats().Dialect)
		te.recv(alice, packet{typ: wire.State, id: 4000})
		te.want("the other id is nobody's", packet{typ: wire.Reset, id: 4000})
		require.NoError(t, c.SetLinger(0))
		require.NoError(t, c.Close())
		te.want("it is told in its dialect", packet{typ: wire.Reset, id: 4000})
	})
}

// The id that it is found to receive with may be another's by then.
func TestPunchDialsWithAnIDThatIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		te.recv(alice, punchSyn(4000))
		synAck := te.want("BEP 29 first", packet{typ: wire.State, id: 4000})
		te.recv(alice, packet{typ: wire.Syn, id: 3999, seq: 9})
		te.want("which receives with 4000", packet{typ: wire.State, id: 3999})
		te.recv(alice, packet{typ: wire.State, id: 4000, seq: 701, ack: int(synAck.SeqNr - 1), punch: true})
		require.Equal(t, 2, te.Stats().Conns)
		te.recv(alice, packet{typ: wire.Reset, id: 4000, seq: 10})
		te.recv(alice, packet{typ: wire.State, id: 4000, seq: 701, ack: int(synAck.SeqNr - 1), punch: true})
		accept := te.accept()
		c := accept.value("now it is its own")
		require.Equal(t, UTPPunch, c.Stats().Dialect)
		require.NoError(t, c.SetLinger(0))
		require.NoError(t, c.Close())
		te.want("it is told in its dialect", packet{typ: wire.Reset, id: 4001})
	})
}

func TestDialPunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		dial := te.dial(alice)
		lost := te.want("SYN", packet{typ: wire.Syn})
		te.advance(time.Second)
		syn := te.want("another", packet{typ: wire.Syn})
		id := int(syn.ConnID)
		require.Zero(t, id%2)
		te.recv(alice, packet{typ: wire.State, id: id + 1, seq: 900, ack: int(syn.SeqNr), punch: true})
		sent := map[int]wire.Type{} // by two goroutines
		for _, d := range te.takeAll() {
			sent[int(d.ConnID)] = d.Type
		}
		require.Equal(t, map[int]wire.Type{id: wire.State, int(lost.ConnID): wire.Reset}, sent,
			"the answer is confirmed, and the other attempt given up, in its dialect")
		c := dial.value("it is connected")
		require.Equal(t, UTPPunch, c.Stats().Dialect)
		require.Equal(t, 1, te.Stats().Conns)

		te.recv(alice, packet{typ: wire.Data, id: id + 1, seq: 900, ack: int(syn.SeqNr), payload: "hi", punch: true})
		te.want("DATA is acknowledged", packet{typ: wire.State, id: id, ack: 900})
		te.recv(alice, packet{typ: wire.State, id: id, punch: true})
		te.want("the other id is nobody's", packet{typ: wire.Reset, id: id})
		te.want("whatever the dialect", packet{typ: wire.Reset, id: id + 1})
		require.NoError(t, c.SetLinger(0))
		require.NoError(t, c.Close())
		te.want("it is told in its dialect", packet{typ: wire.Reset, id: id})
	})
}

// While the dialect is not known both ids have to be free.
func TestDialLeavesRoomForBothDialects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		dial := te.dial(alice)
		syn := te.want("SYN", packet{typ: wire.Syn})
		id := int(syn.ConnID)
		te.recv(alice, packet{typ: wire.State, id: id + 1, seq: 900, ack: int(syn.SeqNr), punch: true})
		te.want("it is confirmed", packet{typ: wire.State})
		c := dial.value("it is connected, and receives with id + 1")
		te.draw(syn.ConnID, 16)
		dial = te.dial(alice)
		syn = te.want("SYN", packet{typ: wire.Syn, id: int(uint16(id + 2))})
		te.recv(alice, packet{typ: wire.Reset, id: int(syn.ConnID), ack: int(syn.SeqNr)})
		require.ErrorIs(t, dial.err("refused"), syscall.ECONNREFUSED)
		require.NoError(t, c.SetLinger(0))
		require.NoError(t, c.Close())
		te.want("RESET", packet{typ: wire.Reset})
	})
}

// A RESET without a number may be forged: whoever sends it with every id gains one
// further SYN by it.
func TestDialIsNotRefusedByPunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.quiet = true
		dial := te.dial(alice)
		te.want("SYN", packet{typ: wire.Syn})
		for id := 0; id < 1<<16; id += 2 {
			te.handIn(alice, punchReset(id))
		}
		te.want("another attempt, at once", packet{typ: wire.Syn})
		for id := 0; id < 1<<16; id += 2 {
			te.handIn(alice, punchReset(id))
		}
		te.wantNothing("not again")
		dial.wantNotDone("nothing of it had a number")
		te.wantAfter(2*time.Second, "in its time", packet{typ: wire.Syn})
		te.Close()
		require.ErrorIs(t, dial.err("everything ends"), net.ErrClosed)
		te.ignore("RESETs that give up")
	})
}

// Nor does a SYN with the id of a dial, which may be forged, take its answer.
func TestSynWithTheIDOfADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		dial := te.dial(alice)
		syn := te.want("SYN", packet{typ: wire.Syn})
		id := int(syn.ConnID)
		te.recv(alice, packet{typ: wire.Syn, id: id, seq: 9})
		te.wantNothing("it is ignored")
		te.recv(alice, packet{typ: wire.State, id: id + 1, seq: 900, ack: int(syn.SeqNr), punch: true})
		te.want("the answer is confirmed", packet{typ: wire.State, id: id})
		c := dial.value("it was answered")
		te.recv(alice, packet{typ: wire.Syn, id: id + 1, seq: 9})
		te.want("now only its own id is in use", packet{typ: wire.State, id: id + 1})
		te.recv(alice, packet{typ: wire.Reset, id: id + 2, seq: 10})
		require.NoError(t, c.SetLinger(0))
		require.NoError(t, c.Close())
		te.want("RESET", packet{typ: wire.Reset, id: id})
	})
}

// A host to which a whole prefix is routed has many addresses.
func TestChainsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		for i := range 2 * maxChain {
			route := alice
			route.Local = netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})
			te.recv(route, packet{typ: wire.Syn, id: 3001, seq: i})
		}
		require.Len(t, te.takeAll(), maxChain)
		require.Equal(t, maxChain, te.Stats().Conns)
		require.EqualValues(t, maxChain, te.Stats().SynDropped)
	})
}

func TestSynOfPunchWithoutListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.recv(alice, punchSyn(4000))
		te.want("refused", packet{typ: wire.Reset, id: 4000, ack: 700})
		te.want("in both dialects", packet{typ: wire.Reset, id: 4001, ack: 700})
	})
}

func TestPinnedDialect(t *testing.T) {
	t.Run("utp-punch dials", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			te := newTestEndpoint(t, &Config{Dialect: UTPPunch})
			te.listen()
			te.recv(alice, packet{typ: wire.Syn, id: 4001, seq: 1, punch: true})
			te.wantNothing("its ids are even")
			te.recv(alice, packet{typ: wire.Syn, id: 4000, seq: 1})
			synAck := te.want("in its dialect, whatever it looks like", packet{typ: wire.State, id: 4001})
			accept := te.accept()
			te.recv(alice, packet{typ: wire.State, id: 4000, seq: 2, ack: int(synAck.SeqNr - 1)})
			c := accept.value("it is confirmed")
			require.NoError(t, c.SetLinger(0))
			require.NoError(t, c.Close())
			te.want("RESET", packet{typ: wire.Reset, id: 4001})
		})
	})
	t.Run("utp-punch is dialled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			te := newTestEndpoint(t, &Config{Dialect: UTPPunch})
			dial := te.dial(alice)
			syn := te.want("a plain SYN", packet{typ: wire.Syn, hello: false})
			te.wantAfter(time.Second, "the same again", packet{typ: wire.Syn, id: int(syn.ConnID), seq: int(syn.SeqNr)})
			te.wantAfter(2*time.Second, "the same again", packet{typ: wire.Syn, id: int(syn.ConnID), seq: int(syn.SeqNr)})
			te.recv(alice, punchReset(int(syn.ConnID)))
			te.want("once more", packet{typ: wire.Syn, id: int(syn.ConnID), seq: int(syn.SeqNr)})
			te.advance(minRefusal)
			te.recv(alice, punchReset(int(syn.ConnID)))
			wantDialError(t, dial.err("twice"), syscall.ECONNREFUSED, "nobody listens")
			te.ignore("RESET")
		})
	})
	t.Run("BEP 29", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			te := newTestEndpoint(t, &Config{Dialect: BEP29})
			te.listen()
			for range 2 {
				te.recv(alice, punchSyn(4000))
				te.want("one answer", packet{typ: wire.State, id: 4000})
			}
			te.recv(alice, packet{typ: wire.State, id: 4000, punch: true})
			te.want("that id is nobody's", packet{typ: wire.Reset, id: 4000})
			te.wantNothing("in one dialect")
			te.recv(alice, packet{typ: wire.Reset, id: 4001, seq: 701})
			te.wantNoConns("it has gone")
		})
	})
}

// utp-punch repeats its SYN when the SYN-ACK was lost.
func TestPinnedPunchAnswersRepeatedSyn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, &Config{Dialect: UTPPunch})
		te.listen()
		te.recv(alice, punchSyn(4000))
		synAck := te.want("SYN-ACK, lost", packet{typ: wire.State, id: 4001})
		te.advance(100 * time.Millisecond)
		te.recv(alice, punchSyn(4000))
		te.want("the SYN was repeated", packet{typ: wire.State, id: 4001, seq: int(synAck.SeqNr)})
		te.recv(alice, packet{typ: wire.Reset, id: 4000, seq: 701, ack: int(synAck.SeqNr)})
	})
}

// Whoever can forge an address and guess an id must not take a connection's place.
func TestPinnedPunchIgnoresSynOfAnIDInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, &Config{Dialect: UTPPunch})
		te.quiet = true
		te.listen()
		te.recv(alice, punchSyn(4000))
		synAck := te.want("SYN-ACK", packet{typ: wire.State, id: 4001})
		accept := te.accept()
		te.recv(alice, packet{typ: wire.Data, id: 4000, seq: 701, ack: int(synAck.SeqNr - 1), payload: "hello", punch: true})
		te.ignore("acknowledgement")
		c := accept.value("confirmed")
		te.recv(alice, packet{typ: wire.Syn, id: 4000, seq: 1, punch: true})
		te.ignore("whatever is said to a forged SYN")
		te.recv(alice, packet{typ: wire.Data, id: 4000, seq: 702, ack: int(synAck.SeqNr - 1), payload: " world", punch: true})
		te.ignore("acknowledgement")
		b := make([]byte, 20)
		n, err := c.Read(b)
		require.NoError(t, err)
		require.Equal(t, "hello world", string(b[:n]))
		te.places()
	})
}

// A new SYN of utp-punch with the id of a connection that has just ended.
func TestPunchIDAfterTombstone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.quiet = true
		te.listen()
		c := te.acceptPunch(4000)
		require.NoError(t, c.Close())
		fin := te.want("FIN", packet{typ: wire.Fin, id: 4001})
		te.recv(alice, packet{typ: wire.Fin, id: 4000, seq: 702, ack: int(fin.SeqNr), punch: true})
		te.ignore("its acknowledgement")
		require.Equal(t, 1, te.Stats().Tombstones)
		te.advance(time.Second)
		te.recv(alice, packet{typ: wire.Syn, id: 4000, seq: 9000, punch: true})
		te.want("BEP 29 first", packet{typ: wire.State, id: 4000, ack: 9000})
		te.recv(alice, punchReset(4000))
		synAck := te.want("its own", packet{typ: wire.State, id: 4001, ack: 9000})
		accept := te.accept()
		te.recv(alice, packet{typ: wire.Data, id: 4000, seq: 9001, ack: int(synAck.SeqNr - 1), payload: "hello", punch: true})
		te.ignore("acknowledgement")
		accept.value("a SYN with a new number replaces the tombstone")
	})
}

// The SYN of a pinned dialect is the same one again: two RESETs of it are one sign.
func TestPinnedPunchDialRefusedTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, &Config{Dialect: UTPPunch})
		dial := te.dial(alice)
		syn := te.want("SYN", packet{typ: wire.Syn})
		te.handIn(alice, punchReset(int(syn.ConnID)), punchReset(int(syn.ConnID)))
		dial.wantNotDone("one of these can be forged")
		te.want("once more", packet{typ: wire.Syn, id: int(syn.ConnID)})
		te.recv(alice, punchReset(int(syn.ConnID)))
		dial.wantNotDone("this may be about the first, too")
		te.advance(minRefusal)
		te.recv(alice, punchReset(int(syn.ConnID)))
		wantDialError(t, dial.err("both are refused"), syscall.ECONNREFUSED, "nobody listens")
		te.ignore("RESET")
	})
}

// The host of a pinned peer says by ICMP that nobody is there.
func TestPinnedPunchUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, &Config{Dialect: UTPPunch})
		dial := te.dial(alice)
		syn := te.want("SYN", packet{typ: wire.Syn})
		te.Unreachable(alice, syn.bytes)
		syn = te.want("once more, at once", packet{typ: wire.Syn})
		te.advance(minRefusal)
		te.Unreachable(alice, syn.bytes)
		wantDialError(t, dial.err("nobody is there"), syscall.ECONNREFUSED, "nobody is there")
		te.ignore("RESET")
	})
}

// A RESET with a number is checked by it, whatever else it looks like.
func TestPunchLikeResetWithANumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		dial := te.dial(alice)
		syn := te.want("SYN", packet{typ: wire.Syn})
		te.recv(alice, packet{typ: wire.Reset, id: int(syn.ConnID), seq: 1, punch: true})
		te.wantNothing("no reason for another attempt")
		dial.wantNotDone("it is wrong")
		te.recv(alice, packet{typ: wire.Reset, id: int(syn.ConnID), ack: int(syn.SeqNr)})
		dial.err("refused")
	})
}

func TestPinnedBEP29IgnoresResetsWithoutNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, &Config{Dialect: BEP29})
		dial := te.dial(alice)
		syn := te.want("SYN", packet{typ: wire.Syn})
		te.recv(alice, punchReset(int(syn.ConnID)-1)) // with the id that it receives with
		te.wantNothing("no reason for another attempt")
		te.recv(alice, packet{typ: wire.Reset, id: int(syn.ConnID), ack: int(syn.SeqNr)})
		dial.err("refused")
	})
}
