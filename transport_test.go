package utppunch_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch"
)

func TestEcho(t *testing.T) {
	l, err := utppunch.Listen("utp4", "127.0.0.1:0")
	require.NoError(t, err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	c, err := utppunch.Dial("utp", l.Addr().String())
	require.NoError(t, err)
	start := time.Now()
	const n = 256 << 20
	go func() {
		buf := make([]byte, 64<<10)
		for range n / len(buf) {
			c.Write(buf)
		}
		c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	m, err := io.Copy(io.Discard, c)
	require.NoError(t, err)
	require.EqualValues(t, n, m)
	t.Logf("%v", time.Since(start))
	require.NoError(t, c.Close())
	require.NoError(t, utppunch.Shutdown(context.Background()))
	require.NoError(t, l.Close())
}
