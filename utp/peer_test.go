package utp

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/require"
)

// rtt is the round trip of a peer's handshake.
const rtt = 20 * time.Millisecond

// peer plays the far end of one connection. Its numbers are relative: each
// side's first DATA is number 1, and what came before it, a SYN or nothing, is 0.
// What is not named in recv is what an honest peer says: its next number, and the
// acknowledgement of all that want took.
type peer struct {
	*testEndpoint
	conn     *Conn
	route    Route
	ownKind  bool
	id       uint16     // that it receives with
	sendID   uint16     // that it sends with
	base     wire.SeqNr // number 0 of the endpoint
	peerBase wire.SeqNr // number 0 of the peer
	seq      int        // its next number
	acked    int        // up to which it has everything
}

type peerOption func(*peer)

// ownKind has the peer be of our own kind.
func ownKind(p *peer) { p.ownKind = true }

// synID is the connection_id that peers dial with.
const synID = 3001

// dialled has the endpoint dial the peer.
func (te *testEndpoint) dialled(route Route, opts ...peerOption) *peer {
	te.t.Helper()
	p := &peer{testEndpoint: te, route: route, seq: 1, peerBase: 65530}
	for _, o := range opts {
		o(p)
	}
	dial := te.dial(route)
	p.answerDial()
	p.conn = dial.value("the SYN was answered")
	return p
}

// answerDial takes the SYN of a dial and answers it.
func (p *peer) answerDial() {
	p.t.Helper()
	te := p.testEndpoint
	syn := te.want("dialling sends a SYN", packet{typ: wire.Syn, route: p.route.unbound(), hello: true})
	p.sendID, p.id, p.base = syn.ConnID, syn.ConnID+1, syn.SeqNr
	te.advance(rtt)
	p.recv(packet{typ: wire.State, hello: p.ownKind})
	p.want("a SYN-ACK is answered", packet{typ: wire.State, seq: 1, ack: 0})
	// Without a word from the peer that STATE would be repeated. This is the
	// keepalive of libutp, which nobody answers.
	p.recv(packet{typ: wire.State, ack: -2})
}

// accepted has the peer dial the endpoint, which listens.
func (te *testEndpoint) accepted(route Route, opts ...peerOption) *peer {
	te.t.Helper()
	p := te.halfOpened(route, synID, opts...)
	accept := te.accept()
	accept.wantNotDone("the connection is not confirmed")
	te.advance(rtt)
	p.recv(packet{typ: wire.State})
	p.conn = accept.value("the connection is confirmed")
	return p
}

// halfOpened has the peer dial and not confirm.
func (te *testEndpoint) halfOpened(route Route, id int, opts ...peerOption) *peer {
	te.t.Helper()
	p := &peer{testEndpoint: te, route: route, peerBase: 65530, id: uint16(id), sendID: uint16(id + 1)}
	for _, o := range opts {
		o(p)
	}
	p.recv(packet{typ: wire.Syn, id: id, hello: p.ownKind})
	synAck := te.want("a SYN is answered", packet{typ: wire.State, id: id, ack: int(p.peerBase), route: route, hello: p.ownKind, by: bySender})
	p.base = synAck.SeqNr - 1
	return p
}

// everyRole runs a test with a peer that was dialled and one that was accepted.
func everyRole(t *testing.T, config *Config, f func(t *testing.T, p *peer), opts ...peerOption) {
	t.Run("dialled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, newTestEndpoint(t, config).dialled(alice, opts...)) })
	})
	t.Run("accepted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			te := newTestEndpoint(t, config)
			te.listen()
			f(t, te.accepted(bob, opts...))
		})
	})
}

// everyPeer does that for peers of our own kind and others.
func everyPeer(t *testing.T, config *Config, f func(t *testing.T, p *peer)) {
	t.Run("foreign", func(t *testing.T) { everyRole(t, config, f) })
	t.Run("own", func(t *testing.T) { everyRole(t, config, f, ownKind) })
}

// recv hands in packets of the peer as one batch.
func (p *peer) recv(ps ...packet) {
	p.t.Helper()
	p.handIn(ps...)
	synctest.Wait()
}

// handIn is recv that does not wait for what comes of it.
func (p *peer) handIn(ps ...packet) {
	p.t.Helper()
	for i := range ps {
		p.complete(&ps[i])
	}
	p.testEndpoint.handIn(p.route, ps...)
}

// complete makes the numbers of a packet those on the wire.
func (p *peer) complete(k *packet) {
	seq, ack := p.seq, p.acked
	if n, ok := k.seq.(int); ok {
		seq = n
	}
	if n, ok := k.ack.(int); ok {
		ack = n
	}
	if k.typ == wire.Data || k.typ == wire.Fin || k.typ == wire.Syn {
		p.seq = max(p.seq, seq+1)
	}
	k.seq, k.ack = int(p.peerBase)+seq, int(p.base)+ack
	if k.id == nil {
		k.id = int(p.sendID)
	}
}

// want takes the next datagrams that were sent; they reach the peer.
func (p *peer) want(why string, ps ...packet) {
	p.t.Helper()
	for _, k := range ps {
		d := p.lose(why, k)
		if seq := p.number(&d); d.Type != wire.State && d.Type != wire.Reset && seq == p.acked+1 {
			p.acked = seq
		}
	}
}

// lose takes the next datagram that was sent; it never reaches the peer.
func (p *peer) lose(why string, k packet) datagram {
	p.t.Helper()
	if k.id == nil {
		k.id = int(p.id)
	}
	d := p.next(why, k.typ)
	if bad := k.mismatch(&d, p.number(&d), d.AckNr.Diff(p.peerBase)); bad != "" {
		p.t.Fatalf("%s: %v: %s", why, &d, bad)
	}
	return d
}

// number is the number of a datagram of the endpoint, as the test counts.
func (p *peer) number(d *datagram) int { return d.SeqNr.Diff(p.base) }

// wantAfter checks that for d nothing is sent, then k, which reaches the peer.
func (p *peer) wantAfter(d time.Duration, why string, k packet) {
	p.t.Helper()
	p.wantNothing(why)
	p.advance(d - 1)
	p.wantNothing(why + ", not earlier")
	p.advance(1)
	p.want(why, k)
}

// drain takes all that was sent, whatever it is; it reaches the peer.
func (p *peer) drain() (payload []byte) {
	for _, d := range p.takeAll() {
		if (d.Type == wire.Data || d.Type == wire.Fin) && p.number(&d) == p.acked+1 {
			p.acked++
			payload = append(payload, d.Payload...)
		}
	}
	return payload
}

// reset has the peer end the connection.
func (p *peer) reset() {
	p.t.Helper()
	p.recv(packet{typ: wire.Reset})
	p.wantNothing("a RESET is not answered")
}

// write writes a string.
func (p *peer) write(s string) *async[int] {
	return runAsync(p.t, func() (int, error) { return p.conn.Write([]byte(s)) })
}

// read reads once, up to n bytes.
func (p *peer) read(n int) *async[string] {
	return runAsync(p.t, func() (string, error) {
		b := make([]byte, n)
		n, err := p.conn.Read(b)
		return string(b[:n]), err
	})
}

// mustRead reads what must be there.
func (p *peer) mustRead(want string) {
	p.t.Helper()
	require.Equal(p.t, want, p.read(len(want)+1).value("there is something to read"))
}

// wantEOF checks that the stream has ended.
func (p *peer) wantEOF(why string) {
	p.t.Helper()
	require.Equal(p.t, io.EOF, p.read(1).err(why), why)
}
