//go:build !race

package udp

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAllocations cannot be with the race detector, which makes sync.Pool forget,
// on purpose.
func TestAllocations(t *testing.T) {
	needIPv6(t)
	for _, test := range []struct{ address, host string }{
		{"0.0.0.0:0", "127.0.0.1"},
		{"127.0.0.1:0", "127.0.0.1"},
		{"[::]:0", "127.0.0.1"},
		{"[::]:0", "::1"},
	} {
		for _, fragment := range []bool{false, true} {
			network := "udp"
			if test.address == "0.0.0.0:0" {
				network = "udp4"
			}
			c := listen(t, network, test.address)
			d := make([]Datagram, 1)
			data := make([]byte, 3000)
			remote, local := at(c, test.host), netip.MustParseAddr(test.host)
			read := func() {
				for n := 0; n < len(data); n += len(d[0].Data) {
					if _, err := c.Read(d); err != nil || d[0].Remote != remote || d[0].Local != local {
						t.Fatal(err)
					}
				}
			}
			write := func() {
				// Transmit is made here, to see that it stays on the stack.
				msg := Transmit{Data: data, Segment: 1448, Remote: remote, Local: local, TTL: 64, Fragment: fragment}
				if _, err := c.Write(&msg); err != nil {
					t.Fatal(err)
				}
				read()
			}
			tryWrite := func() {
				msg := Transmit{Data: data, Segment: 1448, Remote: remote, Local: local, TTL: 64, Fragment: fragment}
				if _, err := c.TryWrite(&msg); err != nil {
					t.Fatal(err)
				}
				read()
			}
			require.Zero(t, testing.AllocsPerRun(100, write), "Write, %+v, fragment %v", test, fragment)
			require.Zero(t, testing.AllocsPerRun(100, tryWrite), "TryWrite, %+v, fragment %v", test, fragment)
		}
	}
}
