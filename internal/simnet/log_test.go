package simnet_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"utppunch/internal/simnet"
)

func TestLogKeepsTheLatest(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Latency: 2 * ms})
		n.sendNumbered(a, bob, 1500, 100)
		require.Empty(t, n.Log(), "all are on their way")
		n.drain(b)
		log := n.Log()
		require.Len(t, log, 1024)
		for i, e := range log {
			require.Equal(t, simnet.Entry{
				Sent: 0, Ended: 2 * ms, From: alice, To: bob,
				Size: 100, Head: fmt.Appendf(nil, "%-24d", 476+i), Fate: simnet.Delivered,
			}, e)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		require.Len(t, lines, 1025)
		require.Contains(t, lines[1024], "10.0.0.1:1000 > 10.0.0.2:2000  100 bytes  delivered  31343939")

		head := string(log[0].Head)
		n.sendNumbered(a, bob, 1500, 50)
		n.drain(b)
		require.Equal(t, head, string(log[0].Head), "a Log that was taken stays as it is")
	})
}
