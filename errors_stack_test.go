package utppunch_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch"
	"utppunch/utp"
)

// errorStack is TCP or uTP as the error table sees it. Addresses are of IPv4.
type errorStack interface {
	// pair returns a connection and its other end.
	pair(t *testing.T) (c, peer streamConn)
	// listen and dial take the network's name without its first letter: "cp", "tp4".
	listen(t *testing.T, network, address string) (net.Listener, error)
	dial(ctx context.Context, t *testing.T, network, address string) (net.Conn, error)
	// closed is an address that nobody has, and refusing one of which the owner does not listen.
	closed(t *testing.T) string
	refusing(t *testing.T) string
	// silent is an address that does not answer a dial.
	silent(t *testing.T) string
	// dying returns a connection that has written, and gives up soon, for nothing arrives at its peer any more.
	dying(t *testing.T) streamConn
}

// streamConn is what *net.TCPConn and *utp.Conn have in common.
type streamConn interface {
	net.Conn
	CloseWrite() error
	CloseRead() error
	SetLinger(sec int) error
	SetNoDelay(noDelay bool) error
}

var (
	_ streamConn = (*net.TCPConn)(nil)
	_ streamConn = (*utp.Conn)(nil)
)

// dyingTimeout is how long dying waits for an acknowledgement.
const dyingTimeout = 300 * time.Millisecond

type tcpStack struct{}

func (tcpStack) listen(t *testing.T, network, address string) (net.Listener, error) {
	l, err := net.Listen("t"+network, address)
	if err == nil {
		t.Cleanup(func() { l.Close() })
	}
	return l, err
}

func (tcpStack) dial(ctx context.Context, t *testing.T, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "t"+network, address)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func (s tcpStack) pair(t *testing.T) (c, peer streamConn) {
	t.Helper()
	l, err := s.listen(t, "cp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	dialled, err := s.dial(t.Context(), t, "cp4", l.Addr().String())
	require.NoError(t, err)
	accepted, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { accepted.Close() })
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

func (s tcpStack) refusing(t *testing.T) string { return s.closed(t) }

func (s tcpStack) closed(t *testing.T) string {
	t.Helper()
	l, err := s.listen(t, "cp4", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func (s tcpStack) silent(t *testing.T) string {
	t.Helper()
	l, err := s.listen(t, "cp4", "127.0.0.1:0")
	require.NoError(t, err)
	// Its queue is full with one; SYNs are then dropped.
	shrinkBacklog(t, l.(*net.TCPListener))
	_, err = s.dial(t.Context(), t, "cp4", l.Addr().String())
	require.NoError(t, err)
	return l.Addr().String()
}

func (s tcpStack) dying(t *testing.T) streamConn {
	t.Helper()
	c, peer := s.pair(t)
	cutTCP(t, c.(*net.TCPConn), peer.(*net.TCPConn))
	write(c, 5)
	return c
}

type utpStack struct{}

func (utpStack) listen(t *testing.T, network, address string) (net.Listener, error) {
	l, err := utppunch.Listen(utpNetwork(network), address)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { l.Close() })
	return l, err
}

func (utpStack) dial(ctx context.Context, t *testing.T, network, address string) (net.Conn, error) {
	return open(t, "utp4", "127.0.0.1:0").DialContext(ctx, utpNetwork(network), address)
}

// utpNetwork is the name of the network that TCP calls "t" + name.
func utpNetwork(name string) string {
	if name == "cp4" {
		return "utp4"
	}
	return "t" + name // unknown to both
}

func (utpStack) pair(t *testing.T) (c, peer streamConn) {
	t.Helper()
	server, client := openPair(t)
	return mustConnect(t, server, client)
}

func (utpStack) refusing(t *testing.T) string {
	return open(t, "utp4", "127.0.0.1:0").Addr().String()
}

func (utpStack) closed(t *testing.T) string {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, pc.Close())
	return pc.LocalAddr().String()
}

func (utpStack) silent(t *testing.T) string {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { pc.Close() })
	return pc.LocalAddr().String()
}

func (utpStack) dying(t *testing.T) streamConn {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	cable := &cable{PacketConn: pc}
	client := wrap(t, cable, &utppunch.Config{UTP: utp.Config{Timeout: dyingTimeout}})
	c, _ := mustConnect(t, open(t, "utp4", "127.0.0.1:0"), client)
	cable.cut.Store(true)
	write(c, 5)
	return c
}

// cable is a PacketConn that can be cut: what is sent then arrives nowhere.
type cable struct {
	net.PacketConn
	cut atomic.Bool
}

func (c *cable) WriteTo(b []byte, addr net.Addr) (int, error) {
	if c.cut.Load() {
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, addr)
}
