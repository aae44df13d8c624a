package consumers

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tlsVersions are those that are in use.
var tlsVersions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// forTLSVersions runs a test for each version, with configurations of its own.
func forTLSVersions(t *testing.T, f func(t *testing.T, server, client *tls.Config)) {
	for _, version := range tlsVersions {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			server, client := certificate(t)
			client.MinVersion, client.MaxVersion = version, version
			f(t, server, client)
		})
	}
}

// TestTLS sends data both ways at once, and the end of each direction by itself.
func TestTLS(t *testing.T) {
	forTLSVersions(t, func(t *testing.T, serverConfig, clientConfig *tls.Config) {
		toServer, toClient := pattern(4<<20, 11), pattern(4<<20, 12)
		exchange := func(c net.Conn, send, want []byte) error {
			defer c.Close()
			sent := start(func() error {
				_, err := c.Write(send)
				return errors.Join(err, closeWrite(c))
			})
			got, err := io.ReadAll(c)
			if err == nil && !bytes.Equal(got, want) {
				err = fmt.Errorf("%d bytes that are not what was sent", len(got))
			}
			return errors.Join(err, <-sent)
		}
		ended := make(chan error, 1)
		l := serve(t, func(c net.Conn) { ended <- exchange(tls.Server(c, serverConfig), toClient, toServer) })
		c := tls.Client(dial(t, l.Addr()), clientConfig)
		require.NoError(t, exchange(c, toServer, toClient))
		require.NoError(t, receive(t, ended, "the server"))
		require.Equal(t, clientConfig.MinVersion, c.ConnectionState().Version)
	})
}

// TestTLSResumption connects again with what the first connection has left.
func TestTLSResumption(t *testing.T) {
	forTLSVersions(t, func(t *testing.T, serverConfig, clientConfig *tls.Config) {
		clientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		l := serve(t, func(c net.Conn) {
			secure := tls.Server(c, serverConfig)
			defer secure.Close()
			io.Copy(secure, secure)
		})
		for i := range 5 {
			c := tls.Client(dial(t, l.Addr()), clientConfig)
			_, err := c.Write([]byte("hello"))
			require.NoError(t, err)
			require.NoError(t, c.CloseWrite())
			got, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Equal(t, "hello", string(got))
			require.Equal(t, i > 0, c.ConnectionState().DidResume, "connection %d", i)
			require.NoError(t, c.Close())
		}
	})
}

// TestTLSKeepAlive is the test that a transport fails whose deadline errors are
// not as those of package net: http.Server interrupts its background read after
// each request, and crypto/tls takes any other error for the end.
func TestTLSKeepAlive(t *testing.T) {
	forTLSVersions(t, func(t *testing.T, serverConfig, clientConfig *tls.Config) {
		http1 := new(http.Protocols)
		http1.SetHTTP1(true)
		s := serveHTTP(t, &http.Server{Handler: http.HandlerFunc(echo), TLSConfig: serverConfig, Protocols: http1})
		client := newClient(t, func(tr *http.Transport) { tr.TLSClientConfig = clientConfig })
		for i := range 20 {
			require.NoError(t, checkEcho(client, s.url, pattern(1000*i, uint64(i))))
		}
		require.EqualValues(t, 1, s.listener.accepted.Load())
	})
}

// halfRecord is a connection that can keep back the second half of what is written.
type halfRecord struct {
	net.Conn
	armed bool
	rest  []byte
}

func (c *halfRecord) Write(b []byte) (int, error) {
	if !c.armed {
		return c.Conn.Write(b)
	}
	c.armed = false
	half := len(b) / 2
	c.rest = append(c.rest, b[half:]...)
	_, err := c.Conn.Write(b[:half])
	return len(b), err
}

// TestTLSReadDeadline has deadlines pass at the worst moments: before a record,
// and in the middle of one. The connection goes on, and nothing is lost.
func TestTLSReadDeadline(t *testing.T) {
	forTLSVersions(t, func(t *testing.T, serverConfig, clientConfig *tls.Config) {
		rawClient, rawServer := pair(t)
		half := &halfRecord{Conn: rawServer}
		server, client := tls.Server(half, serverConfig), tls.Client(rawClient, clientConfig)
		handshake := start(server.Handshake)
		require.NoError(t, client.Handshake())
		require.NoError(t, receive(t, handshake, "the handshake"))

		buf := make([]byte, 100)
		readFails := func(deadline time.Time) {
			t.Helper()
			require.NoError(t, client.SetReadDeadline(deadline))
			n, err := client.Read(buf)
			require.Zero(t, n)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			timeout, ok := err.(net.Error)
			require.True(t, ok && timeout.Timeout())
			require.NoError(t, client.SetReadDeadline(time.Now().Add(limit)))
		}
		for i := range 10 {
			message := pattern(len(buf), uint64(i))
			readFails(time.Now().Add(-time.Second))
			readFails(time.Now().Add(time.Millisecond))
			half.armed = true
			_, err := server.Write(message)
			require.NoError(t, err)
			readFails(time.Now().Add(-time.Second))
			readFails(time.Now().Add(10 * time.Millisecond))
			_, err = rawServer.Write(half.rest)
			require.NoError(t, err)
			half.rest = nil
			_, err = io.ReadFull(client, buf)
			require.NoError(t, err)
			require.Equal(t, message, buf)
		}
		require.NoError(t, client.Close())
		require.NoError(t, server.Close())
	})
}

// TestTLSClosePending closes a connection whose other end waits in the handshake,
// and one where Read is under way.
func TestTLSClosePending(t *testing.T) {
	forTLSVersions(t, func(t *testing.T, serverConfig, clientConfig *tls.Config) {
		rawClient, rawServer := pair(t)
		client := tls.Client(rawClient, clientConfig)
		handshake := start(client.Handshake)
		require.NoError(t, rawServer.Close())
		require.Error(t, receiveWithin(t, prompt, handshake, "the handshake to fail"))
		require.NoError(t, client.Close())

		rawClient, rawServer = pair(t)
		server := tls.Server(rawServer, serverConfig)
		client = tls.Client(rawClient, clientConfig)
		handshake = start(server.Handshake)
		require.NoError(t, client.Handshake())
		require.NoError(t, receive(t, handshake, "the handshake"))
		read := func(c net.Conn) func() error {
			return func() error {
				_, err := c.Read(make([]byte, 1))
				return err
			}
		}
		atClient, atServer := start(read(client)), start(read(server))
		require.NoError(t, client.Close())
		require.ErrorIs(t, receiveWithin(t, prompt, atClient, "Read to return"), net.ErrClosed)
		require.Equal(t, io.EOF, receiveWithin(t, prompt, atServer, "the end of the stream"))
		require.NoError(t, server.Close())
	})
}
