package utppunch_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"utppunch"
	"utppunch/internal/simnet"
	"utppunch/utp"
)

// patience bounds the waiting for what will happen, but on a busy machine nobody can say when.
const patience = 20 * time.Second

// open returns a Transport that ends with the test.
func open(t testing.TB, network, address string) *utppunch.Transport {
	t.Helper()
	return openConfig(t, network, address, nil)
}

func openConfig(t testing.TB, network, address string, config *utppunch.Config) *utppunch.Transport {
	t.Helper()
	tr, err := utppunch.Open(network, address, config)
	require.NoError(t, err)
	t.Cleanup(func() { tr.Close() })
	return tr
}

// openPair returns two Transports on the loopback interface.
func openPair(t testing.TB) (server, client *utppunch.Transport) {
	t.Helper()
	return open(t, "utp4", "127.0.0.1:0"), open(t, "utp4", "127.0.0.1:0")
}

// wrap returns a Transport over pc that ends with the test.
func wrap(t testing.TB, pc net.PacketConn, config *utppunch.Config) *utppunch.Transport {
	t.Helper()
	tr, err := utppunch.New(pc, config)
	require.NoError(t, err)
	t.Cleanup(func() { tr.Close() })
	return tr
}

// listen starts listening on tr; it ends with the test.
func listen(t testing.TB, tr *utppunch.Transport) *utppunch.Listener {
	t.Helper()
	l, err := tr.Listen()
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// listenOn is the one-liner: the port ends with the test.
func listenOn(t testing.TB, network, address string) *utppunch.Listener {
	t.Helper()
	l, err := utppunch.Listen(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// simulated returns two Transports on a simulated network, whose links are all alike. A test that fails prints what
// became of the last datagrams.
func simulated(t testing.TB, seed uint64, link simnet.Link, config *utppunch.Config) (a, b *utppunch.Transport, n *simnet.Network) {
	t.Helper()
	n = simnet.New(seed)
	t.Cleanup(func() {
		n.Close()
		if t.Failed() {
			t.Log(n.Log())
		}
	})
	on := func(addr string) *utppunch.Transport {
		pc, err := n.Listen(netip.MustParseAddrPort(addr), link, link)
		require.NoError(t, err)
		return wrap(t, pc, config)
	}
	return on("10.0.0.1:1000"), on("10.0.0.2:2000"), n
}

// connect has client dial server at its address, or at 127.0.0.1 if that is a wildcard, and returns both ends.
func connect(server, client *utppunch.Transport) (dialled, accepted *utp.Conn, err error) {
	address := addrPort(server.Addr())
	if address.Addr().IsUnspecified() {
		address = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), address.Port())
	}
	return connectTo(server, client, address.String())
}

func connectTo(server, client *utppunch.Transport, address string) (dialled, accepted *utp.Conn, err error) {
	l, err := server.Listen()
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	d, err := client.DialContext(ctx, "utp", address)
	if err != nil {
		return nil, nil, err
	}
	a, err := l.Accept()
	if err != nil {
		d.Close()
		return nil, nil, err
	}
	return d.(*utp.Conn), a.(*utp.Conn), nil
}

// mustConnect is connect for the test's goroutine.
func mustConnect(t testing.TB, server, client *utppunch.Transport) (dialled, accepted *utp.Conn) {
	t.Helper()
	dialled, accepted, err := connect(server, client)
	require.NoError(t, err)
	return dialled, accepted
}

func addrPort(a net.Addr) netip.AddrPort {
	return a.(interface{ AddrPort() netip.AddrPort }).AddrPort()
}

// dial connects tr to address; the connection ends with tr.
func dial(t testing.TB, tr *utppunch.Transport, address string) *utp.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := tr.DialContext(ctx, "utp", address)
	require.NoError(t, err)
	return c.(*utp.Conn)
}

// accept returns the next connection of l.
func accept(t testing.TB, l net.Listener) *utp.Conn {
	t.Helper()
	c, err := l.Accept()
	require.NoError(t, err)
	return c.(*utp.Conn)
}

// echo accepts connections until l is closed and sends back what comes, the end of the stream too.
func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go echoConn(c)
	}
}

func echoConn(c net.Conn) {
	io.Copy(c, c)
	c.Close()
}

// requireEcho sends a few bytes to an echo and has them back.
func requireEcho(t testing.TB, c net.Conn, text string) {
	t.Helper()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
	got := make([]byte, len(text))
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.True(t, text == string(got), "%d bytes came back as they were sent", len(text))
}

// random returns n bytes that follow from seed.
func random(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// waitFor polls for what nobody can be told about.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(start) > patience {
			require.FailNow(t, "it did not happen: "+what)
		}
	}
}

// waitIdle waits until no connection is left on any of the Transports.
func waitIdle(t testing.TB, transports ...*utppunch.Transport) {
	t.Helper()
	for _, tr := range transports {
		waitFor(t, "the connections of "+tr.Addr().String()+" end", func() bool { return tr.Stats().Conns == 0 })
	}
}

// needIPv6 skips the test on a machine without, which CI's must not be.
func needIPv6(t testing.TB) {
	t.Helper()
	if nettest.SupportsIPv6() {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("this machine has no IPv6")
	}
	t.Skip("this machine has no IPv6")
}
