package utp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/require"
)

// This file is a language for tests of one Endpoint: the test plays the network
// and everybody out there, in the virtual time of a synctest bubble.
// TestTestEndpoint shows it; a peer of one connection is in peer_test.go, the
// writer that the Endpoint sends through in writer_test.go, and two Endpoints
// that talk to each other in pair_test.go.

func TestTestEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// An Endpoint whose sender runs. At the end of the test it is closed, and
		// nothing may be left: no datagram that no want took, no connection, no
		// goroutine, no memory.
		te := newTestEndpoint(t, nil)

		// recv hands in datagrams as one batch, through a Receiver. Numbers are
		// those on the wire; what is not named is what an honest peer might say.
		te.recv(alice, packet{typ: wire.State, id: 7, seq: 100})

		// want takes the next datagram that was sent, and compares what it names.
		te.want("nobody knows this connection", packet{typ: wire.Reset, id: 7, ack: 100, route: alice, by: bySender})
		te.wantNothing("one answer is enough")

		// What may block runs beside the test. Its result says if it is not done.
		dial := te.dial(alice)
		syn := te.want("dialling sends a SYN", packet{typ: wire.Syn, ack: 0, hello: true, by: byUser})
		dial.wantNotDone("nobody has answered")

		// Time passes when the test says so.
		te.wantAfter(time.Second, "the SYN is repeated", packet{typ: wire.Syn})
		te.advance(100 * time.Millisecond)
		te.recv(alice, packet{typ: wire.State, id: int(syn.ConnID), seq: 5000, ack: int(syn.SeqNr)})
		te.ignore("the other attempt is given up, this one confirmed")
		c, err := dial.result()
		require.NoError(t, err)
		c.SetLinger(0)
		require.NoError(t, c.Close())
		te.want("lingering is off", packet{typ: wire.Reset, id: int(syn.ConnID) + 1})

		// A peer knows the numbers of its connection. For both sides the first DATA
		// is number 1, as in the scripts of package engine. Connecting is one call,
		// in either role.
		te.listen()
		for _, p := range []*peer{te.dialled(alice), te.accepted(bob)} {
			write := p.write("hello")
			p.want("what is written is sent", packet{typ: wire.Data, seq: 1, ack: 0, payload: "hello"})
			require.NoError(t, write.err("Write does not wait"))

			read := p.read(100)
			read.wantNotDone("there is nothing to read")
			p.recv(packet{typ: wire.Data, payload: "hi "}, packet{typ: wire.Data, payload: "there"})
			require.Equal(t, "hi there", read.value("data has arrived"))
			p.want("two packets are acknowledged together", packet{typ: wire.State, seq: 2, ack: 2})
			p.reset()
		}
	})
}

// Addresses of the tests. The Endpoint is bound to all addresses of its host,
// of which self is one.
var (
	self  = netip.MustParseAddr("10.0.0.1")
	alice = Route{Remote: netip.MustParseAddrPort("192.0.2.1:4001"), Local: self}
	bob   = Route{Remote: netip.MustParseAddrPort("[2001:db8::2]:4002"), Local: netip.MustParseAddr("2001:db8::1")}
)

const selfPort = 1000

// routeTo returns the nth of many remote addresses that have little in common.
func routeTo(n int) Route {
	a := netip.AddrFrom4([4]byte{100, byte(n >> 16), byte(n >> 8), byte(n)})
	return Route{Remote: netip.AddrPortFrom(a, 5000), Local: self}
}

// packet is what a test says about a datagram. A field that is nil is not
// compared in want, and a sensible value in recv.
type packet struct {
	typ      wire.Type
	id       any // connection_id, int
	seq, ack any // int
	window   any // int
	payload  any // string, or int: length
	hello    any // bool: with the Hello of our own kind
	route    Route
	fragment any    // want: bool
	by       sentBy // want
	punch    bool   // recv: as utp-punch sends it
}

// datagram is one that the Endpoint sent.
type datagram struct {
	wire.Packet
	bytes    []byte
	route    Route
	fragment bool
	by       sentBy
}

func (d *datagram) String() string {
	hello := ""
	if _, ok := d.Extensions.Hello(); ok {
		hello = " hello"
	}
	return fmt.Sprintf("%v id %d seq %d ack %d window %d payload %d%s, %v %s",
		d.Type, d.ConnID, d.SeqNr, d.AckNr, d.Window, len(d.Payload), hello, d.route.Remote, d.by)
}

// mismatch says in what d is not what p names, with its numbers as the test
// counts them.
func (p *packet) mismatch(d *datagram, seq, ack int) string {
	var bad []string
	check := func(name string, want any, got any) {
		if want != nil && want != got {
			bad = append(bad, fmt.Sprintf("%s: want %v, got %v", name, want, got))
		}
	}
	check("type", p.typ, d.Type)
	check("id", p.id, int(d.ConnID))
	check("seq", p.seq, seq)
	check("ack", p.ack, ack)
	check("window", p.window, int(d.Window))
	check("fragment", p.fragment, d.fragment)
	if _, ok := p.payload.(string); ok {
		check("payload", p.payload, string(d.Payload))
	} else {
		check("payload", p.payload, len(d.Payload))
	}
	_, hello := d.Extensions.Hello()
	check("hello", p.hello, hello)
	if p.route != (Route{}) {
		check("route", p.route, d.route)
	}
	if p.by != "" {
		check("by", p.by, d.by)
	}
	return strings.Join(bad, "; ")
}

// testEndpoint is an Endpoint and what surrounds it.
type testEndpoint struct {
	*Endpoint
	t        *testing.T
	w        *fakeWriter
	receiver *Receiver
	listener *Listener
	sender   *async[struct{}]
	epoch    time.Time
	quiet    bool // what is left at the end does not matter
}

func newTestEndpoint(t *testing.T, config *Config) *testEndpoint {
	t.Helper()
	te := &testEndpoint{t: t, w: newFakeWriter(t), epoch: time.Now()}
	e, err := NewEndpoint(config, te.w, boundAddr)
	require.NoError(t, err)
	te.Endpoint, te.receiver = e, e.NewReceiver()
	te.sender = runAsync(t, func() (struct{}, error) {
		e.Run()
		return struct{}{}, nil
	})
	t.Cleanup(te.end)
	return te
}

func boundAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4zero, Port: selfPort} }

// end closes the Endpoint and checks that nothing is left.
func (te *testEndpoint) end() {
	synctest.Wait()
	if !te.t.Failed() && !te.quiet {
		for _, d := range te.w.take(-1) {
			te.t.Errorf("left at the end: %v", &d)
		}
	}
	if te.t.Failed() {
		te.t.Log("the last datagrams:\n" + te.w.transcript())
	}
	te.w.open()
	te.Close()
	synctest.Wait()
	if te.t.Failed() {
		return
	}
	if _, err := te.sender.result(); err != nil {
		te.t.Errorf("the sender goes on after Close: %v", err)
	}
	te.wantNoConns("the endpoint is closed")
	if n := te.memory.reserved.Load(); n != 0 {
		te.t.Errorf("%d bytes are still reserved at the end", n)
	}
}

// draw has the next n numbers that are drawn at random be v.
func (te *testEndpoint) draw(v uint16, n int) {
	te.mu.Lock()
	defer te.mu.Unlock()
	te.random.used = len(te.random.buf) - 2*n
	for i := te.random.used; i < len(te.random.buf); i += 2 {
		binary.NativeEndian.PutUint16(te.random.buf[i:], v)
	}
}

// places returns how many places are taken.
func (te *testEndpoint) places() int {
	te.mu.Lock()
	defer te.mu.Unlock()
	return len(te.table.places(te.t))
}

// places returns who has which place, and checks that nobody shares one, and that
// the chains are in order.
func (t *table) places(tb testing.TB) map[keyAt]entry {
	all := make(map[keyAt]entry)
	add := func(k key, p place, e entry) {
		locals := []netip.Addr{p.local}
		if p.local.IsValid() && p.unbound {
			locals = append(locals, netip.Addr{})
		}
		for _, local := range locals {
			if _, ok := all[keyAt{k, local}]; ok {
				tb.Fatalf("two have the place %v of %v", local, k)
			}
			all[keyAt{k, local}] = e
		}
	}
	conns := 0
	for k, c := range t.conns {
		for ; c != nil; c = c.next {
			if k != c.key() {
				tb.Fatalf("a connection of %v is under %v", c.key(), k)
			}
			add(k, c.place(), entry{conn: c})
			conns++
		}
	}
	if conns != t.count {
		tb.Fatalf("%d connections are counted as %d", conns, t.count)
	}
	for k, b := range t.tombs {
		for ; b != nil; b = b.next {
			if k != b.key {
				tb.Fatalf("a tombstone of %v is under %v", b.key, k)
			}
			add(k, b.place, entry{tomb: b})
		}
	}
	return all
}

type keyAt struct {
	key
	local netip.Addr
}

// wantNoConns checks that no connection is left.
func (te *testEndpoint) wantNoConns(why string) {
	te.t.Helper()
	te.mu.Lock()
	defer te.mu.Unlock()
	if n := te.table.count + len(te.table.conns); n > 0 {
		te.t.Fatalf("%s: %d connections and keys are left", why, n)
	}
	if n := te.halfOpen.len() + len(te.halfOpen.sources); n > 0 {
		te.t.Fatalf("%s: %d half-open connections and sources are left", why, n)
	}
	te.table.places(te.t)
}

// armed reports whether the connection's timer runs.
func (c *Conn) armed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timerAt != 0
}

// advance lets time pass.
func (te *testEndpoint) advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// recv hands in datagrams of one sender as one batch.
func (te *testEndpoint) recv(route Route, ps ...packet) {
	te.t.Helper()
	te.handIn(route, ps...)
	synctest.Wait()
}

// handIn is recv that does not wait for what comes of it.
func (te *testEndpoint) handIn(route Route, ps ...packet) {
	te.t.Helper()
	te.receiver.Begin()
	for _, p := range ps {
		if !te.receiver.Packet(route, te.build(route, &p)) {
			te.t.Fatalf("%+v is not uTP", p)
		}
	}
	te.receiver.End()
}

// build makes the datagram that p describes.
func (te *testEndpoint) build(route Route, p *packet) []byte {
	number := func(v any, def int) int {
		if n, ok := v.(int); ok {
			return n
		}
		return def
	}
	h := wire.Header{
		Type:          p.typ,
		ConnID:        uint16(number(p.id, 0)),
		Timestamp:     wire.TimestampAt(int64(time.Since(te.epoch) + time.Hour)),
		TimestampDiff: 5000,
		Window:        uint32(number(p.window, 1<<20)),
		SeqNr:         wire.SeqNr(number(p.seq, 0)),
		AckNr:         wire.SeqNr(number(p.ack, 0)),
	}
	if p.punch {
		h.TimestampDiff, h.Window = 0, 262144
	}
	b := make([]byte, wire.HeaderSize)
	if p.hello == true {
		var hello [wire.HelloSize]byte
		wire.Hello{Version: 1}.Put(hello[:])
		b = append(b, make([]byte, 2+wire.HelloSize)...)
		wire.PutExtension(b[wire.HeaderSize:], 0, hello[:])
		h.Put(b, wire.ExtBits)
	} else {
		h.Put(b, 0)
	}
	switch v := p.payload.(type) {
	case string:
		b = append(b, v...)
	case int:
		b = append(b, bytes.Repeat([]byte{'p'}, v)...)
	}
	te.w.note("recv", route, b)
	return b
}

// want takes the next datagram that was sent.
func (te *testEndpoint) want(why string, p packet) datagram {
	te.t.Helper()
	d := te.next(why, p.typ)
	if bad := p.mismatch(&d, int(d.SeqNr), int(d.AckNr)); bad != "" {
		te.t.Fatalf("%s: %v: %s", why, &d, bad)
	}
	return d
}

func (te *testEndpoint) next(why string, typ wire.Type) datagram {
	te.t.Helper()
	synctest.Wait()
	ds := te.w.take(1)
	if len(ds) == 0 {
		te.t.Fatalf("%s: want %v, nothing was sent", why, typ)
	}
	return ds[0]
}

// wantNothing checks that nothing was sent.
func (te *testEndpoint) wantNothing(why string) {
	te.t.Helper()
	synctest.Wait()
	if ds := te.w.take(-1); len(ds) > 0 {
		te.t.Fatalf("%s: want nothing, got %v", why, &ds[0])
	}
}

// wantAfter checks that for d nothing is sent, then p.
func (te *testEndpoint) wantAfter(d time.Duration, why string, p packet) datagram {
	te.t.Helper()
	te.wantNothing(why)
	te.advance(d - 1)
	te.wantNothing(why + ", not earlier")
	te.advance(1)
	return te.want(why, p)
}

// takeAll takes what was sent, whatever it is.
func (te *testEndpoint) takeAll() []datagram {
	synctest.Wait()
	return te.w.take(-1)
}

// ignore takes what was sent for the reason given.
func (te *testEndpoint) ignore(string) { te.takeAll() }

// dial dials the remote address of a route, whose local one it cannot know.
func (te *testEndpoint) dial(route Route) *async[*Conn] {
	return runAsync(te.t, func() (*Conn, error) { return te.Dial(te.t.Context(), route.unbound()) })
}

// listen starts listening.
func (te *testEndpoint) listen() *Listener {
	te.t.Helper()
	l, err := te.Listen()
	require.NoError(te.t, err)
	te.listener = l
	return l
}

// accept accepts a connection.
func (te *testEndpoint) accept() *async[*Conn] {
	return runAsync(te.t, func() (*Conn, error) {
		c, err := te.listener.Accept()
		if err != nil {
			return nil, err
		}
		return c.(*Conn), nil
	})
}

// async is a call that runs beside the test.
type async[T any] struct {
	t    *testing.T
	done chan struct{}
	v    T
	e    error
}

// errNotDone is the result of a call that has not returned.
var errNotDone = errors.New("not done")

func runAsync[T any](t *testing.T, f func() (T, error)) *async[T] {
	a := &async[T]{t: t, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.v, a.e = f()
	}()
	return a
}

// result returns what the call has returned, errNotDone if it has not.
func (a *async[T]) result() (T, error) {
	synctest.Wait()
	select {
	case <-a.done:
		return a.v, a.e
	default:
		var zero T
		return zero, errNotDone
	}
}

// value is the result of a call that must have succeeded.
func (a *async[T]) value(why string) T {
	a.t.Helper()
	v, err := a.result()
	if err != nil {
		a.t.Fatalf("%s: %v", why, err)
	}
	return v
}

// err is the error of a call that must have returned.
func (a *async[T]) err(why string) error {
	a.t.Helper()
	_, err := a.result()
	if err == errNotDone {
		a.t.Fatalf("%s: not done", why)
	}
	return err
}

// wantNotDone checks that the call goes on.
func (a *async[T]) wantNotDone(why string) {
	a.t.Helper()
	if v, err := a.result(); err != errNotDone {
		a.t.Fatalf("%s: want it to wait, got %v, %v", why, v, err)
	}
}
