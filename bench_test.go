package utppunch_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkThroughput is one direction over the loopback interface.
func BenchmarkThroughput(b *testing.B) {
	const size = 1 << 20
	server, client := openPair(b)
	c, peer := mustConnect(b, server, client)
	b.SetBytes(size)
	b.ReportAllocs()
	buf := make([]byte, size)
	received := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, struct{ io.Reader }{peer}, int64(size*b.N))
		received <- err
	}()
	b.ResetTimer()
	for range b.N {
		_, err := c.Write(buf)
		require.NoError(b, err)
	}
	require.NoError(b, <-received)
}

// BenchmarkPingPong64 is a round trip of 64 bytes over the loopback interface.
func BenchmarkPingPong64(b *testing.B) {
	server, client := openPair(b)
	c, peer := mustConnect(b, server, client)
	go func() {
		buf := make([]byte, 64)
		for {
			if _, err := io.ReadFull(peer, buf); err != nil {
				return
			}
			if _, err := peer.Write(buf); err != nil {
				return
			}
		}
	}()
	b.ReportAllocs()
	buf := make([]byte, 64)
	for b.Loop() {
		_, err := c.Write(buf)
		require.NoError(b, err)
		_, err = io.ReadFull(c, buf)
		require.NoError(b, err)
	}
	require.NoError(b, c.Close())
}

// BenchmarkDial is a connection from its beginning to its end, on both sides.
func BenchmarkDial(b *testing.B) {
	server, client := openPair(b)
	l := listen(b, server)
	address := server.Addr().String()
	go echo(l)
	b.ReportAllocs()
	for b.Loop() {
		c := dial(b, client, address)
		require.NoError(b, c.CloseWrite())
		_, err := c.Read(make([]byte, 1))
		require.Equal(b, io.EOF, err)
		require.NoError(b, c.Close())
	}
}
