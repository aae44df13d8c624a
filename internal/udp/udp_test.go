package udp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience is when a test that should have been over gives up.
const patience = 10 * time.Second

// listen opens a port that is closed with the test, and whose Reads and Writes
// fail rather than hang.
func listen(t testing.TB, network, address string) *Conn {
	t.Helper()
	c, err := Listen(network, address)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = c.Close()
		unread.Delete(c)
	})
	require.NoError(t, c.PacketConn().SetDeadline(time.Now().Add(patience)))
	return c
}

// at is the address of c, on host.
func at(c *Conn, host string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(host), c.LocalAddr().(*net.UDPAddr).AddrPort().Port())
}

// unread has, by Conn, the datagrams of a run that readOne has yet to return.
var unread sync.Map

// readOne reads one datagram, be it one of a run. Its Data is the test's to keep.
func readOne(t testing.TB, c *Conn) Datagram {
	t.Helper()
	d := make([]Datagram, 1)
	if rest, ok := unread.LoadAndDelete(c); ok {
		d[0] = rest.(Datagram)
	} else {
		n, err := c.Read(d)
		require.NoError(t, err)
		require.Equal(t, 1, n)
	}
	got := d[0]
	if got.Segment != 0 {
		rest := got
		got.Data, rest.Data = got.Data[:got.Segment], got.Data[got.Segment:]
		require.NotEmpty(t, rest.Data, "a run is more than one datagram")
		if len(rest.Data) <= rest.Segment {
			rest.Segment = 0
		}
		unread.Store(c, rest)
		got.Segment = 0
	}
	return got
}

func write(t testing.TB, c *Conn, msg Transmit) {
	t.Helper()
	n, err := c.Write(&msg)
	require.NoError(t, err)
	require.Equal(t, len(msg.Data), n)
}

func needIPv6(t testing.TB) {
	t.Helper()
	pc, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		skip(t, "no IPv6 here: ", err)
	}
	_ = pc.Close()
}

// skip skips a test for what this system does not have. CI's Linux has it all.
func skip(t testing.TB, why ...any) {
	t.Helper()
	if runtime.GOOS == "linux" && os.Getenv("CI") == "true" {
		t.Fatal(why...)
	}
	t.Skip(why...)
}

func TestRoundTrip(t *testing.T) {
	for _, test := range []struct {
		network, address string
		host             string // as the peer sees it, and as the peer is
	}{
		{"udp", "127.0.0.1:0", "127.0.0.1"},
		{"udp4", "127.0.0.1:0", "127.0.0.1"},
		{"udp4", "0.0.0.0:0", "127.0.0.1"},
		{"udp", "localhost:0", ""},
		{"udp", "[::1]:0", "::1"},
		{"udp6", "[::1]:0", "::1"},
		{"udp6", "[::]:0", "::1"},
		{"udp", ":0", "127.0.0.1"},
		{"udp", "[::]:0", "127.0.0.1"},
		{"udp", "[::]:0", "::1"},
	} {
		t.Run(fmt.Sprintf("%s,%s,%s", test.network, test.address, test.host), func(t *testing.T) {
			if bytes.Contains([]byte(test.address+test.host), []byte("::")) {
				needIPv6(t)
			}
			a := listen(t, test.network, test.address)
			if test.host == "" {
				test.host = a.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().String()
			}
			b := listen(t, "udp", net.JoinHostPort(test.host, "0"))

			write(t, b, Transmit{Data: []byte("there"), Remote: at(a, test.host)})
			got := readOne(t, a)
			require.Equal(t, "there", string(got.Data))
			require.Equal(t, at(b, test.host), got.Remote)
			if got.Local.IsValid() { // it need not be, on a wildcard
				require.Equal(t, netip.MustParseAddr(test.host), got.Local)
			}

			write(t, a, Transmit{Data: []byte("and back"), Remote: got.Remote, Local: got.Local})
			got = readOne(t, b)
			require.Equal(t, "and back", string(got.Data))
			require.Equal(t, at(a, test.host), got.Remote)
			require.Equal(t, netip.MustParseAddr(test.host), got.Local,
				"a port that is bound to one address knows it everywhere")
		})
	}
}

func TestMappedAddressesAreAccepted(t *testing.T) {
	needIPv6(t)
	a, b := listen(t, "udp", "[::]:0"), listen(t, "udp4", "127.0.0.1:0")
	mapped := netip.MustParseAddr("::ffff:127.0.0.1")
	write(t, a, Transmit{Data: []byte("x"), Remote: at(b, mapped.String()), Local: mapped})
	require.Equal(t, at(a, "127.0.0.1"), readOne(t, b).Remote)
}

func TestSegments(t *testing.T) {
	a, b := listen(t, "udp4", "127.0.0.1:0"), listen(t, "udp4", "127.0.0.1:0")
	for _, test := range []struct {
		data    string
		segment int
		want    []string
	}{
		{"abcdef", 0, []string{"abcdef"}},
		{"abcdef", 2, []string{"ab", "cd", "ef"}},
		{"abcdef", 4, []string{"abcd", "ef"}},
		{"abcdef", 6, []string{"abcdef"}},
		{"abcdef", 9, []string{"abcdef"}},
		{"abcdef", -1, []string{"abcdef"}},
		{"", 0, []string{""}},
		{"", 2, []string{""}},
	} {
		write(t, a, Transmit{Data: []byte(test.data), Segment: test.segment, Remote: at(b, "127.0.0.1")})
		for _, want := range test.want {
			require.Equal(t, want, string(readOne(t, b).Data), "%+v", test)
		}
	}
}

func TestLargestDatagramIsNotTruncated(t *testing.T) {
	a, b := listen(t, "udp4", "127.0.0.1:0"), listen(t, "udp4", "127.0.0.1:0")
	data := bytes.Repeat([]byte("0123456789"), 6550)
	n, err := a.Write(&Transmit{Data: data, Remote: at(b, "127.0.0.1")})
	if errors.Is(err, ErrTooBig) {
		skip(t, "the system sends no datagrams this large")
	}
	require.NoError(t, err)
	require.Equal(t, len(data), n)
	require.Equal(t, data, readOne(t, b).Data)
}

func TestTooBig(t *testing.T) {
	a := listen(t, "udp4", "127.0.0.1:0")
	data := make([]byte, 65508) // with its headers one byte more than an IPv4 packet can be
	n, err := a.Write(&Transmit{Data: data, Remote: at(a, "127.0.0.1")})
	require.ErrorIs(t, err, ErrTooBig)
	require.Zero(t, n)
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	require.Equal(t, "write", op.Op)
	require.EqualValues(t, 1, a.Stats().WriteErrors)

	n, err = a.TryWrite(&Transmit{Data: data, Remote: at(a, "127.0.0.1")})
	require.Zero(t, n)
	if err != ErrWouldBlock { // where nothing is sent without waiting
		require.ErrorIs(t, err, ErrTooBig)
	}
}

func TestMemoryOfSlots(t *testing.T) {
	a := listen(t, "udp4", "127.0.0.1:0")
	d := make([]Datagram, 2)
	read := func(data string) {
		write(t, a, Transmit{Data: []byte(data), Remote: at(a, "127.0.0.1")})
		n, err := a.Read(d)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, data, string(d[0].Data))
	}
	read("first")
	first := d[0].Data
	require.Nil(t, d[1].Data, "memory is for slots that are used")
	read("again")
	require.Equal(t, "again", string(first), "the memory of a slot is used again")
	d[0].Data = nil
	read("other")
	require.Equal(t, "again", string(first), "what was taken away is not")
}

func TestReadOfNoSlots(t *testing.T) {
	n, err := listen(t, "udp4", "127.0.0.1:0").Read(nil)
	require.NoError(t, err)
	require.Zero(t, n)
}

// TestConcurrentWrites is for the race detector, and for the lock of Fragment.
func TestConcurrentWrites(t *testing.T) {
	const writers, each = 8, 40
	a, b := listen(t, "udp4", "0.0.0.0:0"), listen(t, "udp4", "127.0.0.1:0")
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			for j := range each {
				msg := Transmit{
					Data:     []byte{byte(i), byte(j), byte(i), byte(j)},
					Segment:  2,
					Remote:   at(b, "127.0.0.1"),
					Local:    netip.MustParseAddr("127.0.0.1"),
					Fragment: i == 0,
				}
				n, err := 0, ErrWouldBlock
				if i%2 == 0 {
					n, err = a.TryWrite(&msg)
				}
				if err == ErrWouldBlock {
					msg.Data = msg.Data[n:]
					_, err = a.Write(&msg)
				}
				assert.NoError(t, err)
			}
		})
	}
	count := make(map[string]int)
	for range writers * each * 2 {
		count[string(readOne(t, b).Data)]++
	}
	group.Wait()
	require.Len(t, count, writers*each)
	for data, n := range count {
		require.Equal(t, 2, n, "%x", data)
	}
}

func TestCloseEndsRead(t *testing.T) {
	a := listen(t, "udp4", "127.0.0.1:0")
	started, done := make(chan struct{}), make(chan error)
	go func() {
		close(started)
		_, err := a.Read(make([]Datagram, 1))
		done <- err
	}()
	<-started
	require.NoError(t, a.Close())
	require.ErrorIs(t, <-done, net.ErrClosed)
}

func TestAfterClose(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(t *testing.T) *Conn
	}{
		{"UDPConn", func(t *testing.T) *Conn { return listen(t, "udp4", "127.0.0.1:0") }},
		{"PacketConn", func(t *testing.T) *Conn { return listenWrapped(t) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := test.make(t)
			local := a.LocalAddr().String()
			msg := Transmit{Data: []byte("x"), Remote: at(a, "127.0.0.1")}
			require.NoError(t, a.Close())

			again, err := net.ListenPacket("udp4", local)
			require.NoError(t, err, "the port is free")
			_ = again.Close()

			_, err = a.Read(make([]Datagram, 1))
			require.ErrorIs(t, err, net.ErrClosed)
			_, err = a.Write(&msg)
			require.ErrorIs(t, err, net.ErrClosed)
			_, err = a.TryWrite(&msg)
			require.ErrorIs(t, err, net.ErrClosed)
			require.ErrorIs(t, a.Close(), net.ErrClosed)
			require.Equal(t, local, a.LocalAddr().String())
		})
	}
}

// TestClosedBelow is about a PacketConn that its owner has closed.
func TestClosedBelow(t *testing.T) {
	a := listen(t, "udp4", "127.0.0.1:0")
	require.NoError(t, a.PacketConn().Close())
	_, err := a.Read(make([]Datagram, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = a.Write(&Transmit{Remote: at(a, "127.0.0.1")})
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestListenErrors(t *testing.T) {
	for _, network := range []string{"", "tcp", "udp5", "unixgram", "ip4:udp"} {
		_, err := Listen(network, "127.0.0.1:0")
		require.ErrorAs(t, err, new(net.UnknownNetworkError), network)
	}
	_, err := Listen("udp", "127.0.0.1:65536")
	require.Error(t, err)
	a := listen(t, "udp4", "127.0.0.1:0")
	_, err = Listen("udp4", a.LocalAddr().String())
	require.Error(t, err, "in use")
}

func TestNewErrors(t *testing.T) {
	_, err := New(nil)
	require.ErrorContains(t, err, "nil")
	_, err = New((*net.UDPConn)(nil))
	require.ErrorContains(t, err, "nil")
	_, err = New(&net.UDPConn{})
	require.Error(t, err)

	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, pc.Close())
	_, err = New(pc)
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = New(struct{ net.PacketConn }{pc})
	require.ErrorIs(t, err, net.ErrClosed)

	connected, err := net.Dial("udp4", "127.0.0.1:9")
	require.NoError(t, err)
	_, err = New(connected.(*net.UDPConn))
	require.ErrorContains(t, err, "connected")
	require.NoError(t, connected.Close(), "it is still the caller's")
}

func TestNewClearsDeadlines(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, pc.SetDeadline(time.Unix(1, 0)))
	a, err := New(pc)
	require.NoError(t, err)
	defer a.Close()
	require.Same(t, pc, a.PacketConn())
	write(t, a, Transmit{Data: []byte("x"), Remote: at(a, "127.0.0.1")})
	readOne(t, a)
}

func TestWriteErrors(t *testing.T) {
	a := listen(t, "udp4", "127.0.0.1:0")
	for _, remote := range []netip.AddrPort{{}, netip.MustParseAddrPort("[::1]:9")} {
		_, err := a.Write(&Transmit{Data: []byte("x"), Remote: remote})
		require.ErrorAs(t, err, new(*net.AddrError), remote)
	}
	require.EqualValues(t, 2, a.Stats().WriteErrors)
}

func TestSyscallConn(t *testing.T) {
	raw, err := listen(t, "udp4", "127.0.0.1:0").SyscallConn()
	require.NoError(t, err)
	called := false
	require.NoError(t, raw.Control(func(uintptr) { called = true }))
	require.True(t, called)

	_, err = listenWrapped(t).SyscallConn()
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// TestUnreachablePeer has a peer's ICMP message come back to a port. Neither
// reading nor sending may fail by it.
func TestUnreachablePeer(t *testing.T) {
	a, gone := listen(t, "udp4", "127.0.0.1:0"), listen(t, "udp4", "127.0.0.1:0")
	require.NoError(t, gone.Close())
	for range 3 {
		write(t, a, Transmit{Data: []byte("x"), Remote: at(gone, "127.0.0.1")})
	}
	write(t, a, Transmit{Data: []byte("y"), Remote: at(a, "127.0.0.1")})
	require.Equal(t, "y", string(readOne(t, a).Data))
}
