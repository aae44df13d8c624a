package utppunch_test

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch"
)

// TestPortIsFreeAgain: when Close or Shutdown returns, the port can be opened again; its new owner has nothing to do
// with the connections of the last one.
func TestPortIsFreeAgain(t *testing.T) {
	checkGoroutines(t)
	client := open(t, "utp4", "127.0.0.1:0")
	address := "127.0.0.1:0"
	for i := range 20 {
		server, err := utppunch.Open("utp4", address, nil)
		require.NoError(t, err, "round %d", i)
		address = server.Addr().String()
		l, err := server.Listen()
		require.NoError(t, err)
		go echo(l)
		open1, open2 := dial(t, client, address), dial(t, client, address)
		requireEcho(t, open1, "hello")
		requireEcho(t, open2, "hello again")
		if i%2 == 0 {
			require.NoError(t, server.Close())
			_, err := open1.Read(make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			continue
		}
		require.NoError(t, open1.Close())
		require.NoError(t, open2.Close())
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		require.NoError(t, server.Shutdown(ctx))
		cancel()
	}
	waitFor(t, "the client has no connection left", func() bool { return client.Stats().Conns == 0 })
}

func TestListenerCloseLeavesConnections(t *testing.T) {
	checkGoroutines(t)
	server, client := openPair(t)
	c, peer := mustConnect(t, server, client) // closes its Listener
	for range 2 {
		_, err := client.DialContext(t.Context(), "utp", server.Addr().String())
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	}
	go echoConn(peer)
	requireEcho(t, c, "hello")

	// One can listen again, as often as one likes.
	for range 3 {
		l := listen(t, server)
		d := dial(t, client, server.Addr().String())
		accept(t, l).Close()
		d.Close()
		require.NoError(t, l.Close())
		require.ErrorIs(t, l.Close(), net.ErrClosed)
	}
}

// TestListenerCloseResetsWaiting: connections that nobody has accepted are reset.
func TestListenerCloseResetsWaiting(t *testing.T) {
	server, client := openPair(t)
	l := listen(t, server)
	c := dial(t, client, server.Addr().String())
	waitFor(t, "the connection waits for Accept", func() bool { return server.Stats().Accepted == 1 })
	require.NoError(t, l.Close())
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	waitIdle(t, server, client)
}

// TestListenOwnsItsPort: what the one-liner opened is closed after the Listener and the last connection are.
func TestListenOwnsItsPort(t *testing.T) {
	checkGoroutines(t)
	client := open(t, "utp4", "127.0.0.1:0")

	l := listenOn(t, "utp4", "127.0.0.1:0")
	address := l.Addr().String()
	require.NoError(t, l.Close())
	l = listenOn(t, "utp4", address) // at once: there was no connection

	c := dial(t, client, address)
	peer := accept(t, l)
	require.NoError(t, l.Close())
	_, err := utppunch.Listen("utp4", address)
	require.ErrorIs(t, err, syscall.EADDRINUSE, "the connection still needs the port")
	go echoConn(peer)
	requireEcho(t, c, "still there")

	require.NoError(t, c.Close()) // and then so does the echo
	waitFor(t, "the port is free", func() bool {
		l, err := utppunch.Listen("utp4", address)
		if err == nil {
			require.NoError(t, l.Close())
		}
		return err == nil
	})
}

// TestShutdownSendsTheLastWord: when Shutdown returns the last acknowledgement has left, so the peer does not wait for
// it until it gives up, even if another goroutine was sending at the time.
func TestShutdownSendsTheLastWord(t *testing.T) {
	server := open(t, "utp4", "127.0.0.1:0")
	for range 100 {
		client := open(t, "utp4", "127.0.0.1:0")
		c, peer := mustConnect(t, server, client)
		go echoConn(peer)
		requireEcho(t, c, "hello")
		down := make(chan error, 1)
		go func() { down <- client.Shutdown(t.Context()) }()
		require.NoError(t, c.Close())
		require.NoError(t, <-down)
		start := time.Now()
		waitIdle(t, server)
		require.Less(t, time.Since(start), 4*time.Second, "less than Linger")
	}
}
