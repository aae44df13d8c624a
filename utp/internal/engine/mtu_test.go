package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

func TestMTUSteps(t *testing.T) {
	for _, tt := range []struct {
		name            string
		limit, ethernet int
		ownKind         bool
		start           int
		probes          []int
	}{
		{"IPv4", MaxDatagramIPv4, MaxDatagramIPv4, true, 1200, []int{1472}},
		{"IPv6", MaxDatagramIPv4, MaxDatagramIPv6, true, 1200, []int{1452, 1472}},
		{"IPv6, another kind", MaxDatagramIPv4, MaxDatagramIPv6, false, 1200, []int{1452}},
		{"jumbo frames", 9000, MaxDatagramIPv4, true, 1200, []int{1472, 9000}},
		{"jumbo frames, another kind: libtorrent reads into 1500 bytes", 9000, MaxDatagramIPv4, false, 1200, []int{1472}},
		{"loopback", MaxDatagram, MaxDatagramIPv4, true, 1200, []int{1472, 65507}},
		{"limited between", 1300, MaxDatagramIPv4, true, 1200, []int{1300}},
		{"limited to the base", BaseDatagram, MaxDatagramIPv4, true, 1200, nil},
		{"limited below", 576, MaxDatagramIPv4, true, 576, nil},
	} {
		var m mtu
		m.init(tt.limit, tt.ethernet, tt.ownKind)
		require.Equal(t, tt.start, m.current, tt.name)
		for _, size := range tt.probes {
			require.Equal(t, size, m.next(), tt.name)
			m.probeSent(size)
			require.Zero(t, m.next(), "one probe at a time")
			m.probeAcked()
			require.Equal(t, size, m.current)
		}
		require.Zero(t, m.next(), tt.name)

		m.init(tt.limit, tt.ethernet, tt.ownKind)
		if size := m.next(); size > 0 {
			m.probeSent(size)
			m.probeLost()
			require.Zero(t, m.next(), "a lost probe ends the search")
			require.Equal(t, tt.start, m.current)
		}
	}
}

// TestMTUDiscovery moves data over paths that carry more or less than one
// hopes. A lost probe costs one packet and no speed.
func TestMTUDiscovery(t *testing.T) {
	for _, tt := range []struct {
		name           string
		limit          int
		path           int
		ownKind, ipv6  bool
		want, largest  int
		resent, slowed bool
	}{
		{"Ethernet", 1472, 0, true, false, 1472, 1472, false, false},
		{"a tunnel", 1472, 1400, true, false, 1200, 1472, true, false},
		{"IPv6", 1472, 1452, true, true, 1452, 1472, true, false},
		{"IPv6 to another kind", 1472, 1452, false, true, 1452, 1452, false, false},
		{"jumbo frames", 9000, 0, true, false, 9000, 9000, false, false},
		{"jumbo frames that do not pass", 9000, 1500, true, false, 1472, 9000, true, false},
		{"jumbo frames to another kind", 9000, 0, false, false, 1472, 1472, false, false},
		{"small", 576, 0, true, false, 576, 576, false, false},
	} {
		p := newPair(1)
		p.a.out, p.b.out = link{delay: 20 * ms, mtu: tt.path}, link{delay: 20 * ms}
		p.a.params.MaxDatagram = tt.limit
		if !tt.ownKind {
			p.mangle = stripHello
		}
		largest := 0
		p.drop = func(from *peer, pkt *wire.Packet) bool {
			if from == p.a {
				largest = max(largest, wire.HeaderSize+len(pkt.Payload))
			}
			return false
		}
		p.dial()
		p.a.conn.ipv6 = tt.ipv6
		require.NoError(t, p.run(time.Minute, func() bool { return p.b.conn != nil && p.b.conn.Connected() && p.a.conn.Connected() }))
		require.Equal(t, tt.ownKind, p.a.conn.OwnKind())
		p.transfer(t, p.a, 200_000)
		c := p.a.conn
		require.Equal(t, tt.want, c.Stats().Datagram, tt.name)
		require.Equal(t, tt.largest, largest, tt.name)
		require.Zero(t, c.stats.Timeouts, tt.name)
		require.EqualValues(t, map[bool]int{true: 1}[tt.resent], c.stats.Retransmits, tt.name)
		// RFC 8899, section 3: loss of a probe is no sign of congestion.
		require.Equal(t, noRecovery, c.recovery, tt.name)
		require.Greater(t, c.cc.window(), 50_000, tt.name)
	}
}

// TestMTUProbeAlone: when the probe is all that is out, a timeout tells that it is
// lost, which is no congestion either.
func TestMTUProbeAlone(t *testing.T) {
	p := newPair(1)
	p.a.out, p.b.out = link{delay: 20 * ms, mtu: 1400}, link{delay: 20 * ms}
	p.connect(t)
	c := p.a.conn
	window := c.cc.window()
	require.Equal(t, 1452, c.Write(make([]byte, 1452)))
	begin := p.now
	require.NoError(t, p.run(time.Minute, c.Flushed))
	require.Less(t, p.now.Sub(begin), 2*minRTO)
	require.Equal(t, BaseDatagram, c.Stats().Datagram)
	require.Zero(t, c.stats.Timeouts)
	require.EqualValues(t, 1, c.stats.Retransmits)
	require.GreaterOrEqual(t, c.cc.window(), window)
	require.Zero(t, c.rtt.backoff)
}

// TestMTUProbeLostInTimeout: a probe among other packets in a timeout ends the
// search, and is not found again when it arrives later.
func TestMTUProbeLostInTimeout(t *testing.T) {
	p := newPair(1)
	p.a.out, p.b.out = link{delay: 20 * ms}, link{delay: 20 * ms}
	p.connect(t)
	c := p.a.conn
	cut := true
	p.drop = func(from *peer, pkt *wire.Packet) bool { return cut && from == p.a && pkt.Type == wire.Data }
	c.Write(make([]byte, 10_000))
	require.NoError(t, p.run(time.Minute, func() bool { return c.stats.Timeouts == 1 }))
	cut = false
	require.NoError(t, p.run(time.Minute, c.Flushed))
	require.Equal(t, BaseDatagram, c.Stats().Datagram)
	require.Zero(t, c.mtu.next())
}

// TestRuns: 44 segments are sent at once and no more, also of what was lost; what
// must be fragmented goes alone.
func TestRuns(t *testing.T) {
	p := newPair(1)
	p.a.out, p.b.out = link{delay: 20 * ms}, link{delay: 20 * ms}
	p.a.params.MaxDatagram = 576 // so that more than a run fits into the buffer
	p.connect(t)
	c := p.a.conn
	c.cc.(*cubic).cwnd, c.rtt.srtt, c.peerWindow = 4e6, ms, 1<<20
	c.pacer.tokens, c.pacer.last = 1e6, 0
	run := func() Transmit {
		out, ok := c.PollTransmit(p.now, p.scratch[:])
		require.True(t, ok)
		return out
	}
	c.Write(make([]byte, 64_000))
	require.Equal(t, Transmit{Len: maxRun * 576, Segment: 576}, run())
	require.Equal(t, Transmit{Len: maxRun * 576, Segment: 576}, run())
	c.out.loseAll()
	p.now = p.now.Add(time.Second)
	require.Equal(t, Transmit{Len: maxRun * 576, Segment: 576}, run())
	require.EqualValues(t, maxRun, c.stats.Retransmits)
	c.mtu.current = 560
	require.Equal(t, Transmit{Len: 576, Segment: 576, Fragment: true}, run())
}

// TestTooBig: the system refuses what is larger than its interface carries; what
// has a number by then goes out in fragments, and what follows is smaller.
func TestTooBig(t *testing.T) {
	for _, tt := range []struct{ iface, want int }{
		{1300, 1200}, // the probe was refused
		{1199, 900},  // the base was: three quarters
		{1000, 900},
		{800, 675},
		{600, 548}, // no further
		{560, 548},
		{500, 548}, // in fragments from now on
	} {
		p := newPair(1)
		p.a.out, p.b.out = link{delay: 20 * ms, iface: tt.iface}, link{delay: 20 * ms}
		p.connect(t)
		p.transfer(t, p.a, 100_000)
		c := p.a.conn
		require.Equal(t, tt.want, c.Stats().Datagram, "interface of %d", tt.iface)
		require.Zero(t, c.stats.Timeouts)
		require.Equal(t, noRecovery, c.recovery, "no congestion")
	}

	// What was configured to be smaller than that remains so.
	p := newPair(1)
	p.a.out, p.b.out = link{delay: 20 * ms, iface: 199}, link{delay: 20 * ms}
	p.a.params.MaxDatagram = 200
	p.connect(t)
	p.transfer(t, p.a, 10_000)
	require.Equal(t, 200, p.a.conn.Stats().Datagram)
}
