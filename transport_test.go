package utppunch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch"
	"utppunch/internal/simnet"
	"utppunch/utp"
)

// TestOnePort: one port listens, dials itself and others, is dialled, and passes datagrams on, all at once.
func TestOnePort(t *testing.T) {
	checkGoroutines(t)
	a, b := openPair(t)
	for _, tr := range []*utppunch.Transport{a, b} {
		l := listen(t, tr)
		go echo(l)
		go echoDatagrams(tr.PacketConn())
	}
	var wg sync.WaitGroup
	for _, from := range []*utppunch.Transport{a, b} {
		for _, to := range []*utppunch.Transport{a, b} {
			for i := range 10 {
				wg.Go(func() {
					data := random(byte(i), 300_000)
					c, err := from.DialContext(t.Context(), "utp", to.Addr().String())
					if !assert.NoError(t, err) {
						return
					}
					defer c.Close()
					assert.Equal(t, from.Addr(), c.LocalAddr())
					assert.Equal(t, to.Addr(), c.RemoteAddr())
					wg.Go(func() {
						_, err := c.Write(data)
						assert.NoError(t, err)
						assert.NoError(t, c.(*utp.Conn).CloseWrite())
					})
					got, err := io.ReadAll(c)
					assert.NoError(t, err)
					assert.True(t, string(got) == string(data), "the data came back as it was sent")
				})
			}
		}
	}
	outsider, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer outsider.Close()
	for i := range 50 {
		requireDatagramEcho(t, outsider, a.PacketConn().LocalAddr(), string(random(byte(i), 30+20*i)))
	}
	wg.Wait()
	waitIdle(t, a, b)
	require.EqualValues(t, 20, a.Stats().Accepted)
	require.EqualValues(t, 20, a.Stats().Dialed)
	require.EqualValues(t, 20, b.Stats().Accepted)
	require.EqualValues(t, 20, b.Stats().Dialed)
	require.EqualValues(t, 50, a.Stats().Foreign)
}

// plainPacketConn hides what a PacketConn can do beside its interface.
type plainPacketConn struct{ net.PacketConn }

// TestNew takes any net.PacketConn.
func TestNew(t *testing.T) {
	checkGoroutines(t)
	listenUDP := func(network, address string) net.PacketConn {
		pc, err := net.ListenPacket(network, address)
		require.NoError(t, err)
		return pc
	}
	network := simnet.New(1)
	defer network.Close()
	listenSim := func(address string) net.PacketConn {
		pc, err := network.Listen(netip.MustParseAddrPort(address), simnet.Link{}, simnet.Link{})
		require.NoError(t, err)
		return pc
	}
	for name, pcs := range map[string][2]net.PacketConn{
		"*net.UDPConn": {listenUDP("udp4", "127.0.0.1:0"), listenUDP("udp4", "127.0.0.1:0")},
		"wildcard":     {listenUDP("udp", ":0"), listenUDP("udp", ":0")},
		"a wrapper":    {plainPacketConn{listenUDP("udp4", "127.0.0.1:0")}, plainPacketConn{listenUDP("udp4", "127.0.0.1:0")}},
		"one of each":  {listenUDP("udp4", "127.0.0.1:0"), plainPacketConn{listenUDP("udp4", "127.0.0.1:0")}},
		"simnet":       {listenSim("10.0.0.1:1"), listenSim("10.0.0.2:2")},
		"simnet, IPv6": {listenSim("[2001:db8::1]:1"), listenSim("[2001:db8::2]:2")},
	} {
		server, client := wrap(t, pcs[0], nil), wrap(t, pcs[1], nil)
		require.Equal(t, pcs[0].LocalAddr().String(), server.Addr().String(), name)
		c, peer := mustConnect(t, server, client)
		go echoConn(peer)
		requireEcho(t, c, strings.Repeat(name, 10_000))
		require.NoError(t, server.Close(), name)
		_, err := pcs[0].WriteTo([]byte("x"), pcs[1].LocalAddr())
		require.ErrorIs(t, err, net.ErrClosed, "%s: the Transport owned it", name)
		require.NoError(t, client.Close(), name)
	}
}

func TestNewRefuses(t *testing.T) {
	closed, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	connected, err := net.Dial("udp4", "127.0.0.1:1")
	require.NoError(t, err)
	defer connected.Close()
	usable, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer usable.Close()

	for _, tc := range []struct {
		name   string
		pc     net.PacketConn
		config *utppunch.Config
		want   string
		is     error
	}{
		{name: "nil", pc: nil, want: "PacketConn is nil"},
		{name: "typed nil", pc: (*net.UDPConn)(nil), want: "UDPConn is nil"},
		{name: "closed", pc: closed, want: "use of closed network connection", is: net.ErrClosed},
		{name: "closed, wrapped", pc: plainPacketConn{closed}, want: "use of closed network connection", is: net.ErrClosed},
		{name: "connected", pc: connected.(*net.UDPConn), want: "connected, to 127.0.0.1:1"},
		{name: "bad config", pc: usable, config: &utppunch.Config{UTP: utp.Config{MaxDatagram: 7}}, want: "MaxDatagram is 7"},
	} {
		tr, err := utppunch.New(tc.pc, tc.config)
		require.Nil(t, tr, tc.name)
		require.ErrorContains(t, err, tc.want, tc.name)
		require.ErrorContains(t, err, "listen utp", tc.name)
		if tc.is != nil {
			require.ErrorIs(t, err, tc.is, tc.name)
		}
		var op *net.OpError
		require.ErrorAs(t, err, &op, tc.name)
	}
	_, err = usable.WriteTo([]byte("x"), usable.LocalAddr())
	require.NoError(t, err, "it still belongs to the caller")
}

// TestBadInput: what cannot work fails at once, and says what is wrong with what.
func TestBadInput(t *testing.T) {
	checkGoroutines(t)
	tr := open(t, "utp4", "127.0.0.1:0")
	l := listen(t, tr)
	address := tr.Addr().String()
	ctx := t.Context()
	for _, tc := range []struct {
		name string
		call func() error
		want string // contained in the error
		is   error
	}{
		{"unknown network", func() error { _, err := utppunch.Open("carrier pigeon", ":0", nil); return err }, "carrier pigeon", net.UnknownNetworkError("carrier pigeon")},
		{"no network", func() error { _, err := utppunch.Listen("", ":0"); return err }, "unknown network", net.UnknownNetworkError("")},
		{"port too high", func() error { _, err := utppunch.Open("utp", ":65536", nil); return err }, "65536", nil},
		{"port below zero", func() error { _, err := utppunch.Open("utp", ":-1", nil); return err }, "-1", nil},
		{"port without a name", func() error { _, err := utppunch.Open("utp", ":nosuchservice", nil); return err }, "nosuchservice", nil},
		{"no port", func() error { _, err := utppunch.Listen("utp", "127.0.0.1"); return err }, "missing port", nil},
		{"host of another family", func() error { _, err := utppunch.Listen("utp6", "127.0.0.1:0"); return err }, "127.0.0.1", nil},
		{"port in use", func() error { _, err := utppunch.Open("utp4", address, nil); return err }, address, syscall.EADDRINUSE},
		{"not our address", func() error { _, err := utppunch.Open("utp4", "192.0.2.1:0", nil); return err }, "192.0.2.1", syscall.EADDRNOTAVAIL},
		{"bad config", func() error {
			_, err := utppunch.Open("utp4", "127.0.0.1:0", &utppunch.Config{UTP: utp.Config{RecvBuffer: 7}})
			return err
		}, "RecvBuffer is 7", nil},
		{"second Listen", func() error { _, err := tr.Listen(); return err }, address, utp.ErrListening},
		{"dial, unknown network", func() error { _, err := tr.DialContext(ctx, "carrier pigeon", address); return err }, "carrier pigeon", net.UnknownNetworkError("carrier pigeon")},
		{"dial, port 0", func() error { _, err := tr.DialContext(ctx, "utp", "127.0.0.1:0"); return err }, "port 0", nil},
		{"dial, port too high", func() error { _, err := tr.DialContext(ctx, "utp", "127.0.0.1:65536"); return err }, "65536", nil},
		{"dial, no port", func() error { _, err := tr.DialContext(ctx, "utp", "127.0.0.1"); return err }, "missing port", nil},
		{"dial, other family than asked for", func() error { _, err := tr.DialContext(ctx, "utp4", "[::1]:1"); return err }, "::1", nil},
		{"dial, family that the port has not", func() error { _, err := tr.DialContext(ctx, "utp6", "[::1]:1"); return err }, "[::1]:1", nil},
		{"dial, host that the port cannot reach", func() error { _, err := tr.DialContext(ctx, "utp", "[::1]:1"); return err }, "::1", nil},
	} {
		start := time.Now()
		err := tc.call()
		require.ErrorContains(t, err, tc.want, tc.name)
		assert.Less(t, time.Since(start), 5*time.Second, tc.name)
		var op *net.OpError
		if assert.ErrorAs(t, err, &op, tc.name) {
			assert.Equal(t, "utp", op.Net, tc.name)
		}
		if tc.is != nil {
			assert.ErrorIs(t, err, tc.is, tc.name)
		}
		assert.False(t, isTemporary(err), "%s: it will not go away", tc.name)
	}
	require.NoError(t, l.Close())
}

func isTemporary(err error) bool {
	e, ok := err.(interface{ Temporary() bool })
	return ok && e.Temporary()
}

// TestUseAfterClose: everything says net.ErrClosed, or what it always says.
func TestUseAfterClose(t *testing.T) {
	checkGoroutines(t)
	tr, other := openPair(t)
	outbound, _ := mustConnect(t, other, tr)
	l := listen(t, tr)
	pc := tr.PacketConn()
	ctx := t.Context()
	addr := tr.Addr()

	// What is blocked comes back.
	blocked := make(chan error)
	for _, call := range []func() error{
		func() error { return acceptCall(l).err },
		func() error { return read(outbound).err },
		func() error { return write(outbound, large).err },
		func() error { _, _, err := pc.ReadFrom(make([]byte, 10)); return err },
		func() error { _, err := tr.DialContext(ctx, "utp", silentAddress(t)); return err },
	} {
		go func() { blocked <- call() }()
	}
	waitFor(t, "the dial is under way", func() bool { return tr.Stats().Conns == 2 })
	require.NoError(t, tr.Close())
	for range 5 {
		require.ErrorIs(t, <-blocked, net.ErrClosed)
	}

	for name, call := range map[string]func() error{
		"Transport.Listen":      func() error { _, err := tr.Listen(); return err },
		"Transport.DialContext": func() error { _, err := tr.DialContext(ctx, "utp", other.Addr().String()); return err },
		"Accept":                func() error { return acceptCall(l).err },
		"Listener.Close":        l.Close,
		"Conn.Read":             func() error { return read(outbound).err },
		"Conn.Write":            func() error { return write(outbound, 1).err },
		"Conn.Close":            outbound.Close,
		"ReadFrom":              func() error { _, _, err := pc.ReadFrom(make([]byte, 10)); return err },
		"WriteTo":               func() error { _, err := pc.WriteTo([]byte("x"), pc.LocalAddr()); return err },
		"SetReadDeadline":       func() error { return pc.SetReadDeadline(time.Now()) },
		"PacketConn.Close":      pc.Close,
		"PacketConn again":      func() error { _, _, err := tr.PacketConn().ReadFrom(make([]byte, 10)); return err },
	} {
		require.ErrorIs(t, call(), net.ErrClosed, name)
	}
	require.NoError(t, tr.Close(), "a second Close does nothing")
	require.NoError(t, tr.Shutdown(ctx))
	require.Equal(t, addr, tr.Addr())
	require.Equal(t, addr, l.Addr())
	require.Equal(t, addr, outbound.LocalAddr())
	require.Equal(t, addr.String(), pc.LocalAddr().String())
	require.Zero(t, tr.Stats().Conns)
}

// silentAddress is where nobody answers.
func silentAddress(t *testing.T) string { return utpStack{}.silent(t) }

// TestShutdown waits for what the program has closed, and for what it has not, and gives up with its context.
func TestShutdown(t *testing.T) {
	checkGoroutines(t)
	server, client := openPair(t)
	c, peer := mustConnect(t, server, client)
	l := listen(t, client)

	ctx, cancel := context.WithCancel(t.Context())
	down := make(chan error, 1)
	go func() { down <- client.Shutdown(ctx) }()
	require.ErrorIs(t, acceptCall(l).err, net.ErrClosed, "it stops listening")
	waitFor(t, "it stops dialling", func() bool {
		_, err := client.DialContext(t.Context(), "utp", server.Addr().String())
		return errors.Is(err, net.ErrClosed)
	})
	cancel()
	err := <-down
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, client.Addr().String())

	go echoConn(peer)
	requireEcho(t, c, "the connection goes on")
	ctx, cancel = context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { down <- client.Shutdown(ctx) }()
	require.NoError(t, c.Close())
	require.NoError(t, <-down)
	waitIdle(t, server)
}

func TestStats(t *testing.T) {
	server, client := openPair(t)
	require.Equal(t, utppunch.Stats{}, server.Stats())
	l := listen(t, server)
	c := dial(t, client, server.Addr().String())
	peer := accept(t, l)
	require.Equal(t, 1, server.Stats().Conns)
	require.Equal(t, 1, client.Stats().Conns)
	require.EqualValues(t, 1, server.Stats().Accepted)
	require.EqualValues(t, 0, server.Stats().Dialed)
	require.EqualValues(t, 0, client.Stats().Accepted)
	require.EqualValues(t, 1, client.Stats().Dialed)

	go echoConn(peer)
	requireEcho(t, c, "12345")
	s := c.Stats()
	require.EqualValues(t, 5, s.BytesSent)
	require.EqualValues(t, 5, s.BytesReceived)
	require.True(t, s.OwnKind)
	require.Positive(t, s.SRTT)
	require.NoError(t, c.Close())
	waitIdle(t, server, client)

	require.NoError(t, l.Close())
	_, err := client.DialContext(t.Context(), "utp", server.Addr().String())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.EqualValues(t, 1, server.Stats().Unroutable)
	require.EqualValues(t, 1, server.Stats().ResetsSent)
}

func TestSyscallConn(t *testing.T) {
	tr := open(t, "utp4", "127.0.0.1:0")
	raw, err := tr.SyscallConn()
	require.NoError(t, err)
	called := false
	require.NoError(t, raw.Control(func(uintptr) { called = true }))
	require.True(t, called)

	a, _, _ := simulated(t, 1, simnet.Link{}, nil)
	_, err = a.SyscallConn()
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// failingPacketConn is a socket that breaks.
type failingPacketConn struct {
	net.PacketConn
	broken chan struct{}
}

func (c failingPacketConn) ReadFrom([]byte) (int, net.Addr, error) {
	<-c.broken
	return 0, nil, errors.New("the cat has eaten the cable")
}

// TestSocketFailure ends the Transport, and the Logger is told why.
func TestSocketFailure(t *testing.T) {
	checkGoroutines(t)
	var logged lockedBuffer
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	broken := failingPacketConn{pc, make(chan struct{})}
	tr := wrap(t, broken, &utppunch.Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	l := listen(t, tr)
	close(broken.broken)
	require.ErrorIs(t, acceptCall(l).err, net.ErrClosed)
	require.NoError(t, tr.Close(), "it waits for the end")
	require.Contains(t, logged.String(), "the cat has eaten the cable")
	require.Contains(t, logged.String(), tr.Addr().String())
}

// slowPacketConn takes its time to notice that it is closed.
type slowPacketConn struct {
	net.PacketConn
	reading *atomic.Bool
}

func (c slowPacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.reading.Store(true)
	n, addr, err := c.PacketConn.ReadFrom(b)
	if err != nil {
		time.Sleep(pause)
	}
	c.reading.Store(false)
	return n, addr, err
}

// TestCloseWaitsForReader: nobody uses the socket any more when Close returns.
func TestCloseWaitsForReader(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	slow := slowPacketConn{pc, new(atomic.Bool)}
	tr := wrap(t, slow, nil)
	waitFor(t, "it reads", slow.reading.Load)
	require.NoError(t, tr.Close())
	require.False(t, slow.reading.Load())
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestClosedTransportIsForgotten: no timer holds on to a Transport or its connections.
func TestClosedTransportIsForgotten(t *testing.T) {
	collected := make(chan string, 4)
	func() {
		server, err := utppunch.Open("utp4", "127.0.0.1:0", nil)
		require.NoError(t, err)
		client, err := utppunch.Open("utp4", "127.0.0.1:0", nil)
		require.NoError(t, err)
		c, peer := mustConnect(t, server, client)
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Hour)))
		require.NoError(t, client.PacketConn().SetReadDeadline(time.Now().Add(time.Hour)))
		write(c, 1000)
		read(peer)
		runtime.AddCleanup(server, func(name string) { collected <- name }, "server")
		runtime.AddCleanup(client, func(name string) { collected <- name }, "client")
		runtime.AddCleanup(c, func(name string) { collected <- name }, "dialled")
		runtime.AddCleanup(peer, func(name string) { collected <- name }, "accepted")
		require.NoError(t, client.Close())
		require.NoError(t, server.Close())
	}()
	waitFor(t, "all is collected", func() bool {
		runtime.GC()
		return len(collected) == cap(collected)
	})
}

// echoDatagrams sends datagrams back until pc is closed.
func echoDatagrams(pc net.PacketConn) {
	b := make([]byte, 64<<10)
	for {
		n, from, err := pc.ReadFrom(b)
		if err != nil {
			return
		}
		pc.WriteTo(b[:n], from)
	}
}

// requireDatagramEcho sends one datagram and has it back, or sends it again: UDP promises nothing.
func requireDatagramEcho(t testing.TB, pc net.PacketConn, to net.Addr, text string) {
	t.Helper()
	b := make([]byte, 64<<10)
	for range 10 {
		_, err := pc.WriteTo([]byte(text), to)
		require.NoError(t, err)
		require.NoError(t, pc.SetReadDeadline(time.Now().Add(patience/10)))
		n, from, err := pc.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, to.String(), from.String())
		require.True(t, text == string(b[:n]), "the datagram came back as it was sent")
		return
	}
	require.FailNow(t, "no answer to the datagram")
}
