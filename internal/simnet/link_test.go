package simnet_test

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/internal/simnet"
)

const ms = time.Millisecond

func TestLatencyOfBothLinksAddsUp(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a := n.listen(alice, simnet.Link{Latency: 10 * ms}, simnet.Link{Latency: 1 * ms})
		b := n.listen(bob, simnet.Link{Latency: 100 * ms}, simnet.Link{Latency: 5*ms + 1})
		n.send(a, bob, "there")
		n.want("up 10 ms, down 5 ms and 1 ns", b, "there", 15*ms+1)
		n.send(b, alice, "back")
		n.want("up 100 ms, down 1 ms", a, "back", 116*ms+1)
	})
}

func TestSameDelayKeepsOrder(t *testing.T) {
	for _, up := range []simnet.Link{{}, {Latency: ms}, {Latency: ms, Rate: 1e6}} {
		inBubble(t, func(n *testNet) {
			a, b := n.pair(up)
			n.sendNumbered(a, bob, 100, 100)
			require.Equal(t, numbers(100), numbersOf(t, n.drain(b)))
		})
	}
}

func TestJitterIsBounded(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Latency: 20 * ms, Jitter: 4 * ms})
		n.sendNumbered(a, bob, 1000, 10)
		arrivals := n.drain(b)
		require.Len(t, arrivals, 1000)
		var sum time.Duration
		for _, got := range arrivals {
			require.GreaterOrEqual(t, got.at, 20*ms)
			require.LessOrEqual(t, got.at, 24*ms)
			sum += got.at
		}
		require.InDelta(t, 22*ms, sum/1000, float64(ms/5), "jitter is uniform")
		require.NotEqual(t, numbers(1000), numbersOf(t, arrivals), "jitter reorders what is sent at once")
	})
}

func TestRateSerialises(t *testing.T) {
	inBubble(t, func(n *testNet) {
		// 1,000 bytes are 8,000 bits, which take 8 ms at 1 Mbit/s.
		a, b := n.pair(simnet.Link{Latency: 50 * ms, Rate: 1e6})
		n.send(a, bob, strings.Repeat("1", 1000))
		n.send(a, bob, strings.Repeat("2", 500))
		n.want("8 ms on the line and 50 ms under way", b, strings.Repeat("1", 1000), 58*ms)
		n.want("4 ms behind the first, which it waited for", b, strings.Repeat("2", 500), 62*ms)
		n.send(a, bob, strings.Repeat("3", 1000))
		n.want("an idle line saves nothing up", b, strings.Repeat("3", 1000), 62*ms+58*ms)
	})
}

func TestFlowsShareTheDownLink(t *testing.T) {
	inBubble(t, func(n *testNet) {
		carol := alice.Addr().Next().Next()
		a := n.listen(alice, simnet.Link{}, simnet.Link{})
		c := n.listen(addrPort(carol, 1), simnet.Link{}, simnet.Link{})
		b := n.listen(bob, simnet.Link{}, simnet.Link{Rate: 1e6})
		n.send(a, bob, strings.Repeat("a", 1000))
		n.send(c, bob, strings.Repeat("c", 1000))
		n.want("alice's came first", b, strings.Repeat("a", 1000), 8*ms)
		n.want("carol's had to wait for it", b, strings.Repeat("c", 1000), 16*ms)
	})
}

func TestFullQueueDropsTheTail(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Rate: 1e6, Queue: 3000})
		n.sendNumbered(a, bob, 5, 1000)
		require.Equal(t, []int{0, 1, 2}, numbersOf(t, n.drain(b)), "3,000 bytes fit")
		require.Equal(t, 2, fates(n.Log())[simnet.QueueFull])
	})
}

func TestQueueDrainsAtTheRate(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Rate: 1e6, Queue: 3000})
		n.sendNumbered(a, bob, 3, 1000)
		time.Sleep(8*ms - 1)
		n.send(a, bob, strings.Repeat("x", 1000))
		time.Sleep(time.Nanosecond)
		n.send(a, bob, strings.Repeat("y", 1000))
		arrivals := n.drain(b)
		require.Len(t, arrivals, 4, "there is room again when the first datagram has left, and not before")
		require.Equal(t, arrival{strings.Repeat("y", 1000), 32 * ms}, arrivals[3])
	})
}

func TestIdleLinkTakesMoreThanItsQueue(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Rate: 8e6, Queue: 1})
		n.send(a, bob, strings.Repeat("x", 1000))
		n.want("nothing was ahead of it", b, strings.Repeat("x", 1000), ms)
	})
}

func TestDefaultQueue(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Rate: 1e6})
		n.sendNumbered(a, bob, 300, 1024)
		require.Equal(t, numbers(256), numbersOf(t, n.drain(b)), "256 KiB")
	})
}

func TestLoss(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Loss: 0.1})
		n.sendNumbered(a, bob, 10_000, 10)
		// The standard deviation is 30.
		require.InDelta(t, 9000, len(n.drain(b)), 120)
	})
}

func TestCertainLoss(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Loss: 1})
		n.sendNumbered(a, bob, 100, 10)
		n.wantIdle("all are lost", b)
		require.Equal(t, 100, fates(n.Log())[simnet.Lost])
	})
}

func TestLostDatagramsUseBandwidth(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Rate: 1e6, Loss: 0.5})
		n.sendNumbered(a, bob, 100, 1000)
		arrivals := n.drain(b)
		require.NotEmpty(t, arrivals)
		for i, number := range numbersOf(t, arrivals) {
			require.Equal(t, time.Duration(number+1)*8*ms, arrivals[i].at)
		}
	})
}

func TestDuplicate(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Duplicate: 0.25})
		n.sendNumbered(a, bob, 10_000, 10)
		// The standard deviation is 43.
		require.InDelta(t, 12_500, len(n.drain(b)), 170)
	})
}

func TestReorder(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Latency: ms, Reorder: 0.1, ReorderDelay: 5 * ms})
		n.sendNumbered(a, bob, 1000, 10)
		arrivals := n.drain(b)
		late := 0
		for _, got := range arrivals {
			if got.at != ms {
				require.Equal(t, 6*ms, got.at)
				late++
			}
		}
		// The standard deviation is 9.5.
		require.InDelta(t, 100, late, 40)
		require.Len(t, arrivals, 1000, "held back is not lost")
	})
}

func TestDefaultReorderDelay(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{Reorder: 1})
		n.send(a, bob, "x")
		n.want("held back by the default", b, "x", 10*ms)
	})
}

func TestMTU(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a := n.listen(alice, simnet.Link{MTU: 1400}, simnet.Link{})
		b := n.listen(bob, simnet.Link{}, simnet.Link{MTU: 1300})
		for _, size := range []int{1401, 1400, 1301, 1300} {
			n.send(a, bob, strings.Repeat("x", size))
		}
		n.want("the smaller of both counts", b, strings.Repeat("x", 1300), 0)
		n.wantIdle("larger ones vanish", b)
		require.Equal(t, 3, fates(n.Log())[simnet.TooBig])
	})
}

func TestLargestDatagram(t *testing.T) {
	inBubble(t, func(n *testNet) {
		a, b := n.pair(simnet.Link{})
		n.send(a, bob, strings.Repeat("x", 65508))
		n.send(a, bob, strings.Repeat("x", 65507))
		n.want("as large as UDP allows", b, strings.Repeat("x", 65507), 0)
		n.send(a, bob, "")
		n.want("or empty", b, "", 0)
	})
}

func TestListenRefusesNonsensicalLinks(t *testing.T) {
	inBubble(t, func(n *testNet) {
		for _, link := range []simnet.Link{
			{Loss: -0.1}, {Duplicate: 1.1}, {Reorder: math.NaN()},
			{Latency: -1}, {Jitter: -1}, {ReorderDelay: -1},
			{Rate: -1}, {Queue: -1}, {Queue: 1<<30 + 1}, {MTU: -1},
		} {
			_, err := n.Listen(alice, link, simnet.Link{})
			require.Error(t, err, "up %+v", link)
			_, err = n.Listen(alice, simnet.Link{}, link)
			require.Error(t, err, "down %+v", link)
		}
	})
}

// numbers returns 0 to count − 1.
func numbers(count int) []int {
	all := make([]int, count)
	for i := range all {
		all[i] = i
	}
	return all
}

// numbersOf returns the numbers that sendNumbered put into the payloads.
func numbersOf(t *testing.T, arrivals []arrival) []int {
	t.Helper()
	all := make([]int, len(arrivals))
	for i, got := range arrivals {
		number, err := strconv.Atoi(strings.TrimSpace(got.payload))
		require.NoError(t, err)
		all[i] = number
	}
	return all
}
