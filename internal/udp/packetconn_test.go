package udp

import (
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// listenWrapped is listen, but what the Conn is over does not say it is a socket.
func listenWrapped(t testing.TB) *Conn {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = pc.Close() })
	c, err := New(struct{ net.PacketConn }{pc})
	require.NoError(t, err)
	require.NoError(t, pc.SetDeadline(time.Now().Add(patience)))
	return c
}

func TestPacketConn(t *testing.T) {
	a, b := listenWrapped(t), listenWrapped(t)
	for range 2 { // with the receiver's address at hand, and without
		write(t, a, Transmit{Data: []byte("abcde"), Segment: 2, Remote: at(b, "127.0.0.1")})
		for _, want := range []string{"ab", "cd", "e"} {
			got := readOne(t, b)
			require.Equal(t, want, string(got.Data))
			require.Equal(t, at(a, "127.0.0.1"), got.Remote)
			require.Equal(t, netip.MustParseAddr("127.0.0.1"), got.Local)
		}
		write(t, a, Transmit{Data: []byte("x"), Remote: at(a, "127.0.0.1")})
		readOne(t, a)
	}
	n, err := a.TryWrite(&Transmit{Data: []byte("x"), Remote: at(b, "127.0.0.1")})
	require.Equal(t, ErrWouldBlock, err)
	require.Zero(t, n)
	require.Zero(t, a.Stats())
}

// scriptedConn is a PacketConn that reads what it is told to, and then nothing.
type scriptedConn struct {
	reads  []scriptedRead
	writes []error // what WriteTo returns, in turn; then nil
	sent   []string
	closed bool
}

type scriptedRead struct {
	data string
	from net.Addr
	err  error
}

func (c *scriptedConn) ReadFrom(b []byte) (int, net.Addr, error) {
	if c.closed || len(c.reads) == 0 {
		return 0, nil, io.ErrClosedPipe
	}
	r := c.reads[0]
	c.reads = c.reads[1:]
	return copy(b, r.data), r.from, r.err
}

func (c *scriptedConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if len(c.writes) > 0 {
		err := c.writes[0]
		c.writes = c.writes[1:]
		if err != nil {
			return 0, err
		}
	}
	c.sent = append(c.sent, string(b)+">"+to.String())
	return len(b), nil
}

func (c *scriptedConn) Close() error                     { c.closed = true; return nil }
func (c *scriptedConn) LocalAddr() net.Addr              { return textAddr("here") }
func (c *scriptedConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *scriptedConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *scriptedConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// textAddr is an address that is only text.
type textAddr string

func (textAddr) Network() string  { return "text" }
func (a textAddr) String() string { return string(a) }

// methodAddr is an address with the method, whose text says nothing.
type methodAddr struct{ addrPort netip.AddrPort }

func (methodAddr) Network() string            { return "method" }
func (methodAddr) String() string             { return "a peer" }
func (a methodAddr) AddrPort() netip.AddrPort { return a.addrPort }

func TestAddressesOfPacketConns(t *testing.T) {
	for _, test := range []struct {
		from net.Addr
		want string // "": dropped
	}{
		{&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5}, "192.0.2.1:5"},
		{&net.UDPAddr{IP: net.ParseIP("fe80::1"), Port: 5, Zone: "eth0"}, "[fe80::1%eth0]:5"},
		{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5}, "192.0.2.1:5"},
		{methodAddr{netip.MustParseAddrPort("[::ffff:192.0.2.1]:5")}, "192.0.2.1:5"},
		{textAddr("192.0.2.1:5"), "192.0.2.1:5"},
		{textAddr("[::ffff:192.0.2.1]:5"), "192.0.2.1:5"},
		{textAddr("[2001:db8::1]:5"), "[2001:db8::1]:5"},
		{nil, ""},
		{(*net.UDPAddr)(nil), ""},
		{&net.UDPAddr{Port: 5}, ""},
		{&net.IPAddr{IP: net.IPv4(192, 0, 2, 1)}, ""},
		{methodAddr{}, ""},
		{textAddr("relay.example:5"), ""},
		{textAddr(""), ""},
	} {
		pc := &scriptedConn{reads: []scriptedRead{
			{data: "odd", from: test.from},
			{data: "plain", from: textAddr("192.0.2.9:9")},
		}}
		c, err := New(pc)
		require.NoError(t, err)
		got := readOne(t, c)
		if test.want == "" {
			require.Equal(t, "plain", string(got.Data), "%#v is dropped", test.from)
			require.EqualValues(t, 1, c.Stats().ReadDropped)
			continue
		}
		require.Equal(t, "odd", string(got.Data), "%#v", test.from)
		require.Equal(t, test.want, got.Remote.String(), "%#v", test.from)
		require.False(t, got.Local.IsValid())
		require.Zero(t, c.Stats())
	}
}

func TestSoftReadErrors(t *testing.T) {
	const errors = 2*softErrorBurst + 1
	pc := &scriptedConn{}
	for range errors {
		pc.reads = append(pc.reads, scriptedRead{err: &net.OpError{Op: "read", Err: os.NewSyscallError("recvmsg", softError)}})
	}
	pc.reads = append(pc.reads, scriptedRead{data: "x", from: textAddr("192.0.2.9:9")})
	c, err := New(pc)
	require.NoError(t, err)

	start := time.Now()
	require.Equal(t, "x", string(readOne(t, c).Data))
	require.EqualValues(t, errors, c.Stats().ReadErrors)
	require.GreaterOrEqual(t, time.Since(start), 2*softErrorPause, "an error that stays must not take a CPU")
}

func TestHardReadErrors(t *testing.T) {
	for _, want := range []error{io.ErrUnexpectedEOF, os.ErrDeadlineExceeded, syscall.EBADF, net.ErrClosed} {
		c, err := New(&scriptedConn{reads: []scriptedRead{{err: want}}})
		require.NoError(t, err)
		_, err = c.Read(make([]Datagram, 1))
		require.ErrorIs(t, err, want)
		require.ErrorAs(t, err, new(*net.OpError))
		require.Zero(t, c.Stats())
	}
}

// TestErrorAfterClose is about a PacketConn with an error of its own for that.
func TestErrorAfterClose(t *testing.T) {
	c, err := New(&scriptedConn{})
	require.NoError(t, err)
	_, err = c.Read(make([]Datagram, 1))
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.NoError(t, c.Close())
	_, err = c.Read(make([]Datagram, 1))
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestWriteErrorsOfPacketConns(t *testing.T) {
	remote := netip.MustParseAddrPort("192.0.2.1:5")
	pc := &scriptedConn{writes: []error{nil, pendingError, nil, io.ErrShortWrite}}
	c, err := New(pc)
	require.NoError(t, err)
	n, err := c.Write(&Transmit{Data: []byte("aabbcc"), Segment: 2, Remote: remote})
	require.ErrorIs(t, err, io.ErrShortWrite)
	require.Equal(t, 4, n)
	require.Equal(t, []string{"aa>192.0.2.1:5", "bb>192.0.2.1:5"}, pc.sent)
	require.Equal(t, Stats{WriteErrors: 1, WriteRetries: 1}, c.Stats())
}
