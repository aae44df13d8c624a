package utp

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPacketOfNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		for _, typ := range []wire.Type{wire.Data, wire.Fin, wire.State} {
			te.recv(alice, packet{typ: typ, id: 9, seq: 10, ack: 11})
			te.want("whoever sent it is told", packet{typ: wire.Reset, id: 9, ack: 10, seq: 0, route: alice, by: bySender})
		}
		te.recv(alice, packet{typ: wire.Reset, id: 9, seq: 10, ack: 11})
		te.wantNothing("a RESET is never answered")
		require.Equal(t, EndpointStats{Unroutable: 4, ResetsSent: 3}, te.Stats())
	})
}

func TestResetsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		flood := func(n int) (answers int) {
			for i := range n {
				te.recv(routeTo(i), packet{typ: wire.Type(2 * (i % 3)), id: 9, seq: i}) // DATA, STATE, SYN
			}
			return len(te.takeAll())
		}
		require.Equal(t, resetBurst, flood(1000), "so many at once")
		te.advance(time.Second / 2)
		require.Equal(t, resetRate/2, flood(1000), "then so many a second")
		te.advance(time.Hour)
		require.Equal(t, resetBurst, flood(1000), "however long it was quiet")
		require.Equal(t, EndpointStats{Unroutable: 3000, ResetsSent: 2*resetBurst + resetRate/2}, te.Stats())
	})
}

func TestAnswersThatWaitAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.w.setRoom(0)
		te.recv(alice, packet{typ: wire.State})
		require.True(t, te.w.blocked(), "the sender waits with the first answer")
		for i := range 400 {
			te.receiver.resets.tokens = resetBurst // some other reader's budget
			te.recv(routeTo(i), packet{typ: wire.State})
		}
		require.EqualValues(t, 1+maxControl, te.Stats().ResetsSent, "further ones are not kept")
		te.w.open()
		require.Len(t, te.takeAll(), 1+maxControl)
	})
}

func TestDatagramsThatAreNotUTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		good := te.build(alice, &packet{typ: wire.State})
		version := append([]byte{}, good...)
		version[0] = 0x22
		typ := append([]byte{}, good...)
		typ[0] = 0x51
		chain := append([]byte{}, good...)
		chain[1] = 1
		for name, b := range map[string][]byte{
			"empty": nil, "short": good[:19], "version": version, "type": typ, "extension chain": chain,
		} {
			assert.False(t, te.receiver.Packet(alice, b), name)
		}
		te.wantNothing("nothing was done with it")
		require.Zero(t, te.Stats())
	})
}

// A Binding response with MAPPED-ADDRESS also is DATA with a selective acknowledgement.
func TestSTUNThatLooksLikeUTP(t *testing.T) {
	stun := func(id uint16) []byte {
		b := make([]byte, 20+id)
		b[0], b[1] = 0x01, 0x01
		binary.BigEndian.PutUint16(b[2:], id)
		binary.BigEndian.PutUint32(b[4:], 0x2112A442)
		b[21] = 4 // nothing follows; four bytes
		return b
	}
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		b := stun(12)
		require.True(t, new(wire.Packet).Parse(b))
		assert.False(t, te.receiver.Packet(alice, b), "it is for no connection")
		for name, change := range map[string]func([]byte) []byte{
			"length": func(b []byte) []byte { return b[:28] },
			"cookie": func(b []byte) []byte { b[7]++; return b },
			"FIN":    func(b []byte) []byte { b[0] = 0x11; return b[:20+12-1] },
		} {
			assert.True(t, te.receiver.Packet(alice, change(stun(12))), name)
			te.want("an unknown packet is answered", packet{typ: wire.Reset})
		}
	})
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		te.recv(alice, packet{typ: wire.Syn, id: 11})
		te.want("a SYN is answered", packet{typ: wire.State})
		require.True(t, te.receiver.Packet(alice, stun(12)), "there is a connection with that id")
		te.receiver.End()
		te.ignore("what the engine says to it")
	})
}

func TestPacketsFromNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		for i, remote := range []string{"192.0.2.1:0", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1"} {
			route := Route{Remote: netip.MustParseAddrPort(remote), Local: self}
			te.recv(route, packet{typ: wire.Syn, id: 9}, packet{typ: wire.State, id: 9})
			te.wantNothing("nobody can be answered at " + remote)
			require.Equal(t, EndpointStats{Unroutable: uint64(2*i + 2)}, te.Stats())
		}
		te.recv(Route{}, packet{typ: wire.Syn, id: 9})
		te.wantNothing("nor without an address")
	})
}

func TestEchoedReset(t *testing.T) {
	// libutp answers a packet of a connection that it does not know with a RESET
	// of the same id: the one that we send with.
	everyRole(t, nil, func(t *testing.T, p *peer) {
		p.write("hello")
		p.want("this reaches the peer", packet{typ: wire.Data})
		p.recv(packet{typ: wire.Reset, id: int(p.id), ack: 7})
		p.wantNothing("what it acknowledges was never sent")
		require.Equal(t, 1, p.Stats().Conns, "so it is a forgery")
		p.recv(packet{typ: wire.Reset, id: 2*int(p.sendID) - int(p.id), ack: 1})
		p.wantNothing("that id is neither one that we receive nor one that we send with")
		require.Equal(t, 1, p.Stats().Conns, "so it is for somebody else")
		p.recv(packet{typ: wire.Data, id: int(p.id), payload: "?"})
		p.want("other packets with that id are for no connection", packet{typ: wire.Reset, id: int(p.id)})
		p.recv(packet{typ: wire.Reset, id: int(p.id), seq: 31337, ack: 1})
		p.wantNothing("a RESET is not answered")
		p.wantNoConns("the peer does not know the connection")
	})
}

func TestEchoedResetPrefersItsReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		te.listen()
		// One connection receives with the id that the other sends with.
		first, second := te.halfOpened(alice, 100), te.halfOpened(alice, 101)
		require.Equal(t, first.sendID, second.id)
		first.recv(packet{typ: wire.State})
		second.recv(packet{typ: wire.State})
		te.recv(alice, packet{typ: wire.Reset, id: 101, ack: int(first.base)})
		require.Equal(t, 1, te.Stats().Conns)
		first.conn, second.conn = te.accept().value("confirmed"), te.accept().value("confirmed")
		second.read(1).wantNotDone("the RESET was not for this one")
		require.Error(t, first.read(1).err("it was for this one"))
	})
}

func TestBatchIsAcknowledgedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		p, q := te.dialled(alice), te.dialled(bob)
		var batch []packet
		for range 20 {
			batch = append(batch, packet{typ: wire.Data, payload: "x"})
		}
		p.recv(batch...)
		p.want("one batch has one acknowledgement", packet{typ: wire.State, ack: 20, by: bySender})
		p.wantNothing("one")

		// It is for the whole batch, however fast the sender is.
		half := packet{typ: wire.Data, payload: "x"}
		p.complete(&half)
		te.receiver.Begin()
		for range 2 {
			te.receiver.Packet(alice, te.build(alice, &half))
			te.receiver.Packet(alice, te.build(alice, &half))
			te.wantNothing("the batch goes on")
		}
		te.receiver.End()
		p.want("it has ended", packet{typ: wire.State, ack: 21})
		p.wantNothing("one")

		// Batches mix connections: each is acknowledged once it is left.
		k := packet{typ: wire.Data, payload: "y"}
		l := k
		p.complete(&k)
		q.complete(&l)
		te.receiver.Begin()
		for range 3 {
			te.receiver.Packet(alice, te.build(alice, &k))
			te.receiver.Packet(bob, te.build(bob, &l))
		}
		te.receiver.Packet(alice, []byte("not uTP"))
		te.receiver.End()
		acks := map[Route]wire.SeqNr{}
		for _, d := range te.takeAll() {
			acks[d.route] = d.AckNr
		}
		require.Equal(t, map[Route]wire.SeqNr{alice: p.peerBase + 22, bob: q.peerBase + 1}, acks)
	})
}

func TestReaderLeavesSendingToTheSender(t *testing.T) {
	// The fake writer fails a test whose reader sends; here, all that a packet can
	// cause is left to a sender that is stuck, and the reader goes on.
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, &Config{Backlog: 1})
		te.listen()
		p := te.dialled(alice)
		te.w.setRoom(0)
		batch := runAsync(t, func() (struct{}, error) {
			for range 3 {
				p.handIn(packet{typ: wire.Data, payload: "x"}, packet{typ: wire.Data, payload: "x"})
				te.handIn(bob, packet{typ: wire.Syn, id: 1})
				te.handIn(bob, packet{typ: wire.State, id: 77})
				p.handIn(packet{typ: wire.Fin})
			}
			return struct{}{}, nil
		})
		require.NoError(t, batch.err("the reader waits for nobody"))
		require.True(t, te.w.blocked(), "the sender does")
		te.w.open()
		for _, d := range te.takeAll() {
			require.Equal(t, bySender, d.by, "%v", &d)
		}
	})
}

func TestResetBudget(t *testing.T) {
	var b resetBudget
	now := clockStart
	for range resetBurst {
		require.True(t, b.take(now))
	}
	require.False(t, b.take(now))
	require.False(t, b.take(now.Add(time.Second/resetRate-1)))
	require.True(t, b.take(now.Add(time.Second/resetRate)))
	require.False(t, b.take(now.Add(time.Second/resetRate)))
}
