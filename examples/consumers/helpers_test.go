package consumers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch"
	"utppunch/examples/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const (
	// limit is how long anything may take that does not wait for the test. It is
	// much more than it takes, and only tells a hang from a machine that is busy.
	limit = 2 * time.Minute
	// prompt is how long it may take until the other side, or who waits, is told.
	// It is less than the 5 s after which a closed connection is given up.
	prompt = 4 * time.Second
)

// open opens a port on loopback. It has to end by itself when the test does: a
// connection that is left open, or data that does not get delivered, fails it.
func open(t testing.TB) *utppunch.Transport {
	t.Helper()
	transport, err := utppunch.Open("utp4", "127.0.0.1:0", nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := transport.Shutdown(ctx); err != nil {
			t.Errorf("%v: %+v", err, transport.Stats())
			transport.Close()
		}
	})
	return transport
}

// listener is a net.Listener on a port of its own that counts.
type listener struct {
	net.Listener
	accepted atomic.Int64
}

// listen opens a port and listens there until the test ends.
func listen(t testing.TB) *listener {
	t.Helper()
	l, err := open(t).Listen()
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return &listener{Listener: l}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return c, err
}

// dial connects to an address from a new port. The connection is closed when the
// test ends, and does not outlive the limit.
func dial(t testing.TB, address net.Addr) net.Conn {
	t.Helper()
	c, err := open(t).DialContext(t.Context(), "tcp", address.String())
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(limit)))
	t.Cleanup(func() { c.Close() })
	return c
}

// pair returns the two ends of a connection, which are closed when the test ends.
func pair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l := listen(t)
	client = dial(t, l.Addr())
	server, err := l.Accept()
	require.NoError(t, err)
	require.NoError(t, server.SetDeadline(time.Now().Add(limit)))
	t.Cleanup(func() { server.Close() })
	return client, server
}

// serve accepts connections until the test ends, and then waits until all of them
// have been handled.
func serve(t testing.TB, handle func(net.Conn)) *listener {
	t.Helper()
	l := listen(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		handled := make(chan struct{})
		n := 0
		for ; ; n++ {
			c, err := l.Accept()
			if err != nil {
				break
			}
			go func() {
				handle(c)
				handled <- struct{}{}
			}()
		}
		for range n {
			<-handled
		}
	}()
	t.Cleanup(func() {
		l.Close()
		receive(t, ended, "the server to end")
	})
	return l
}

// closeWrite ends the stream of a connection, or of what runs on one.
func closeWrite(c any) error { return c.(interface{ CloseWrite() error }).CloseWrite() }

// receive returns what a channel delivers, and fails the test if that takes too long.
func receive[T any](t testing.TB, from <-chan T, what string) (v T) {
	t.Helper()
	return receiveWithin(t, limit, from, what)
}

func receiveWithin[T any](t testing.TB, patience time.Duration, from <-chan T, what string) (v T) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v = <-from:
	case <-timer.C:
		require.FailNow(t, "waited in vain for "+what)
	}
	return v
}

// start runs f and returns the channel that its result is sent to.
func start[T any](f func() T) <-chan T {
	result := make(chan T, 1)
	go func() { result <- f() }()
	return result
}

// launch runs f n times, at the same time; await waits for them.
func launch(n int, f func(i int) error) <-chan error {
	results := make(chan error, n)
	for i := range n {
		go func() { results <- f(i) }()
	}
	return results
}

// await waits for all that was launched and fails the test if an error is among
// the results.
func await(t testing.TB, results <-chan error) {
	t.Helper()
	failed := 0
	for range cap(results) {
		if err := receive(t, results, "everything that was launched"); err != nil {
			if failed++; failed <= 3 {
				t.Errorf("launched: %v", err)
			}
		}
	}
	require.Zero(t, failed, "of %d that were launched", cap(results))
}

// pattern returns n bytes without regularity, others for each seed.
func pattern(n int, seed uint64) []byte {
	b := make([]byte, n)
	randomBytes(seed).Read(b)
	return b
}

func randomBytes(seed uint64) *mathrand.ChaCha8 {
	var s [32]byte
	for i := range 8 {
		s[i] = byte(seed >> (8 * i))
	}
	return mathrand.NewChaCha8(s)
}

// certificate makes a certificate for 127.0.0.1 and the two configurations that
// go with it.
func certificate(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}
