package simnet_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch/internal/simnet"
)

func TestFilter(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Latency: ms})
		n.SetFilter(func(p simnet.Packet) simnet.Verdict {
			assert.Equal(t, alice, p.From)
			assert.Equal(t, bob, p.To)
			switch string(p.Data) {
			case "drop":
				return simnet.Drop
			case "twice":
				return simnet.Duplicate
			}
			return simnet.Pass
		})
		for _, payload := range []string{"once", "drop", "twice"} {
			n.send(a, bob, payload)
		}
		require.Equal(t, []arrival{{"once", ms}, {"twice", ms}, {"twice", ms}}, n.drain(b))
		require.Equal(t, 1, fates(n.Log())[simnet.Filtered])

		n.SetFilter(nil)
		n.send(a, bob, "drop")
		require.Len(t, n.drain(b), 1, "the filter is gone")
	})
}

func TestFilterMaySend(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{})
		var injected atomic.Bool
		n.SetFilter(func(simnet.Packet) simnet.Verdict {
			if !injected.Swap(true) {
				n.send(a, bob, "first")
			}
			return simnet.Pass
		})
		n.send(a, bob, "second")
		n.want("the filter's own datagram overtakes", b, "first", 0)
		n.want("what it was asked about", b, "second", 0)
	})
}
