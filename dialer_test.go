package utppunch_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch"
	"utppunch/internal/simnet"
	"utppunch/utp"
)

// TestDialHosts: names, and the many ways to say "this host".
func TestDialHosts(t *testing.T) {
	needIPv6(t)
	server := open(t, "utp", ":0")
	l := listen(t, server)
	go echo(l)
	port := strconv.Itoa(int(addrPort(server.Addr()).Port()))
	client := open(t, "utp", ":0")
	for _, tc := range []struct{ network, host, want string }{
		{"utp", "127.0.0.1", "127.0.0.1"},
		{"utp", "::1", "::1"},
		{"utp4", "localhost", "127.0.0.1"},
		{"tcp4", "localhost", "127.0.0.1"},
		{"udp4", "LOCALHOST", "127.0.0.1"},
		{"utp", "localhost", ""},
		{"tcp", "localhost", ""},
		{"utp", "", "127.0.0.1"},
		{"utp4", "", "127.0.0.1"},
		{"utp6", "", "::1"},
		{"utp", "0.0.0.0", "127.0.0.1"},
		{"utp", "::", "::1"},
		{"utp4", "::", "127.0.0.1"},
		{"utp6", "0.0.0.0", "::1"},
	} {
		c, err := client.DialContext(t.Context(), tc.network, net.JoinHostPort(tc.host, port))
		require.NoError(t, err, "%+v", tc)
		remote := addrPort(c.RemoteAddr())
		assert.Equal(t, addrPort(server.Addr()).Port(), remote.Port(), "%+v", tc)
		assert.True(t, remote.Addr().IsLoopback(), "%+v", tc)
		if tc.want != "" {
			assert.Equal(t, tc.want, remote.Addr().String(), "%+v", tc)
		}
		requireEcho(t, c, "hello")
		require.NoError(t, c.Close())
	}
	waitIdle(t, client, server)

	_, err := client.DialContext(t.Context(), "utp", "not a name:1") // nor is DNS asked
	require.ErrorContains(t, err, "not a name")
	var dns *net.DNSError
	require.ErrorAs(t, err, &dns)
}

// TestHappyEyeballs: a host of which only one address works is reached, soon, and the other attempt leaves nothing.
func TestHappyEyeballs(t *testing.T) {
	needIPv6(t)
	checkGoroutines(t)
	for _, tc := range []struct {
		name, alive, host string
		refuses           string // somebody is at the other address, but does not listen
	}{
		{name: "IPv4 is silent", alive: "::1", host: "0.0.0.0"}, // which is 127.0.0.1, then ::1
		{name: "IPv6 is silent", alive: "127.0.0.1", host: "::"},
		{name: "IPv4 refuses", alive: "::1", host: "0.0.0.0", refuses: "127.0.0.1"},
		{name: "IPv6 refuses", alive: "127.0.0.1", host: "::", refuses: "::1"},
	} {
		hosts := []string{tc.alive}
		if tc.refuses != "" {
			hosts = append(hosts, tc.refuses)
		}
		transports, port := openSamePort(t, hosts...)
		server := transports[0]
		l := listen(t, server)
		client := open(t, "utp", ":0")
		start := time.Now()
		c := dial(t, client, net.JoinHostPort(tc.host, port))
		took := time.Since(start)
		require.Equal(t, tc.alive, addrPort(c.RemoteAddr()).Addr().String(), tc.name)
		require.Less(t, took, time.Second, "%s: sooner than a SYN is repeated", tc.name)
		go echoConn(accept(t, l))
		requireEcho(t, c, "hello")
		waitFor(t, "the other attempt ends", func() bool { return client.Stats().Conns == 1 })
		require.NoError(t, c.Close())
		waitIdle(t, client, server)
		require.NoError(t, server.Close())
	}

	// If no address works, one says why.
	_, port := openSamePort(t, "127.0.0.1", "::1")
	_, err := open(t, "utp", ":0").DialContext(t.Context(), "utp", net.JoinHostPort("::", port))
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// openSamePort returns a Transport on each host, all with the same port.
func openSamePort(t *testing.T, hosts ...string) (transports []*utppunch.Transport, port string) {
	t.Helper()
	for range 20 {
		port = "0"
		for _, host := range hosts {
			tr, err := utppunch.Open("utp", net.JoinHostPort(host, port), nil)
			if errors.Is(err, syscall.EADDRINUSE) {
				break // somebody else has it there
			}
			require.NoError(t, err)
			t.Cleanup(func() { tr.Close() })
			transports = append(transports, tr)
			port = strconv.Itoa(int(addrPort(tr.Addr()).Port()))
		}
		if len(transports) == len(hosts) {
			return transports, port
		}
		transports = nil
	}
	require.FailNow(t, "no port is free on all of these hosts")
	return nil, ""
}

func TestDialTimeout(t *testing.T) {
	checkGoroutines(t)
	silent := silentAddress(t)
	for name, d := range map[string]*utppunch.Dialer{
		"own Transport":    {Transport: open(t, "utp4", "127.0.0.1:0"), Timeout: 20 * time.Millisecond},
		"shared Transport": {Timeout: 20 * time.Millisecond},
	} {
		start := time.Now()
		_, err := d.DialContext(t.Context(), "utp", silent)
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.True(t, err.(net.Error).Timeout(), name)
		require.ErrorContains(t, err, silent, name)
		require.GreaterOrEqual(t, time.Since(start), 20*time.Millisecond, name)
		require.Less(t, time.Since(start), patience, name)
		if d.Transport != nil {
			require.Zero(t, d.Transport.Stats().Conns, "nothing is left when DialContext returns")
		}
	}
	require.NoError(t, utppunch.Shutdown(t.Context()))
}

// TestDialGivesUp is the time that dials take, to the nanosecond.
func TestDialGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _, _ := simulated(t, 1, simnet.Link{Latency: 5 * time.Millisecond}, nil)
		dial := func(ctx context.Context, d utppunch.Dialer) (time.Duration, error) {
			d.Transport = client
			start := time.Now()
			c, err := d.DialContext(ctx, "utp", "10.0.0.9:9")
			require.Nil(t, c)
			require.Zero(t, client.Stats().Conns)
			return time.Since(start), err
		}

		took, err := dial(t.Context(), utppunch.Dialer{})
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		require.Equal(t, 30*time.Second, took)

		took, err = dial(t.Context(), utppunch.Dialer{Timeout: 7 * time.Second})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 7*time.Second, took)

		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		took, err = dial(ctx, utppunch.Dialer{Timeout: 7 * time.Second})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, took)

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, cancel)
		took, err = dial(ctx, utppunch.Dialer{})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 2*time.Second, took)

		took, err = dial(ctx, utppunch.Dialer{}) // ended before
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, took)

		cause := errors.New("the user has gone home")
		ctx, because := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { because(cause) })
		took, err = dial(ctx, utppunch.Dialer{})
		require.ErrorIs(t, err, cause)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, time.Second, took)
	})
}

// TestCancelledDials: 1,000 dials that end after a millisecond leave nothing behind, neither here nor at the other end,
// whether they were answered or not.
func TestCancelledDials(t *testing.T) {
	checkGoroutines(t)
	for _, tc := range []struct {
		name   string
		listen bool
	}{{"somebody answers", true}, {"nobody answers", false}} {
		server, client := openPair(t)
		address := silentAddress(t)
		if tc.listen {
			address = server.Addr().String()
			l := listen(t, server)
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					c.Close()
				}
			}()
		}
		// Slower than the round trip, now and then faster than the goroutines: some dials succeed, some do not.
		var succeeded atomic.Int32
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
					c, err := client.DialContext(ctx, "utp", address)
					cancel()
					if err != nil {
						assert.ErrorIs(t, err, context.DeadlineExceeded)
						continue
					}
					succeeded.Add(1)
					assert.NoError(t, c.Close())
				}
			})
		}
		wg.Wait()
		waitIdle(t, client, server)
		require.Zero(t, server.Stats().HalfOpen)
		t.Logf("%s: %d dials succeeded", tc.name, succeeded.Load())
		if !tc.listen {
			require.Zero(t, succeeded.Load())
		}
	}
}

func TestDialAddr(t *testing.T) {
	server, client := openPair(t)
	go echo(listen(t, server))
	d := &utppunch.Dialer{Transport: client}
	var fitsGRPC func(context.Context, string) (net.Conn, error) = d.DialAddr
	c, err := fitsGRPC(t.Context(), server.Addr().String())
	require.NoError(t, err)
	require.IsType(t, (*utp.Conn)(nil), c)
	requireEcho(t, c, "hello")
	require.Equal(t, client.Addr(), c.LocalAddr())

	_, err = d.DialAddr(t.Context(), "127.0.0.1")
	require.ErrorContains(t, err, "missing port")
}

// TestSharedTransports: who has no Transport dials from a port that is shared, one a family, until Shutdown.
func TestSharedTransports(t *testing.T) {
	needIPv6(t)
	checkGoroutines(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, utppunch.Shutdown(ctx))
	require.NoError(t, utppunch.Shutdown(ctx), "there is nothing to end")

	server := open(t, "utp", ":0")
	l := listen(t, server)
	port := strconv.Itoa(int(addrPort(server.Addr()).Port()))
	v4, v6 := net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port)
	dialOne := func(address string, how func(network, address string) (net.Conn, error)) (net.Conn, netip.AddrPort) {
		c, err := how("tcp", address)
		require.NoError(t, err)
		peer := accept(t, l)
		go echoConn(peer)
		requireEcho(t, c, "hello")
		return c, addrPort(peer.RemoteAddr())
	}
	withContext := func(network, address string) (net.Conn, error) { return utppunch.DialContext(ctx, network, address) }
	byDialer := func(network, address string) (net.Conn, error) {
		return new(utppunch.Dialer).DialContext(ctx, network, address)
	}
	c1, from1 := dialOne(v4, utppunch.Dial)
	c2, from2 := dialOne(v4, withContext)
	c3, from3 := dialOne(v4, byDialer)
	c4, from4 := dialOne(v6, utppunch.Dial)
	require.Equal(t, from1, from2)
	require.Equal(t, from1, from3)
	require.True(t, from4.Addr().Is6())

	down := make(chan error, 1)
	go func() { down <- utppunch.Shutdown(ctx) }()
	for _, c := range []net.Conn{c1, c2, c3, c4} {
		requireEcho(t, c, "Shutdown waits for us")
		require.Empty(t, down)
		require.NoError(t, c.Close())
	}
	require.NoError(t, <-down)

	again, from := dialOne(v4, utppunch.Dial)
	require.NotEqual(t, from1.Port(), from.Port(), "a new port")
	require.NoError(t, again.Close())
	require.NoError(t, utppunch.Shutdown(ctx))
	waitIdle(t, server)
}
