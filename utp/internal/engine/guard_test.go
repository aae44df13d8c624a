package engine

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

const second = 1_000_000 // of timestamps

func dataAt(seq wire.SeqNr, ts wire.Timestamp) *wire.Packet {
	return &wire.Packet{Header: wire.Header{Type: wire.Data, SeqNr: seq, Timestamp: ts}}
}

// deliverTurn delivers numbers from first on, n of them, a microsecond apart.
func deliverTurn(g *guard, first wire.SeqNr, n int, ts wire.Timestamp) {
	for i := range n {
		g.delivered(first+wire.SeqNr(i), ts+wire.Timestamp(i))
	}
}

func TestGuardTurns(t *testing.T) {
	for _, start := range []wire.Timestamp{1000, 1<<32 - 30_000, 1<<31 - 30_000} {
		var g guard
		first := wire.SeqNr(60_000)
		deliverTurn(&g, first, 65_536, start)
		// The next number expected is first again. What belongs to it left after
		// the packet half a turn ago was delivered.
		half := start + halfSpace
		for _, tt := range []struct {
			name string
			seq  wire.SeqNr
			ts   wire.Timestamp
			want bool
		}{
			{"the next", first, start + 65_536, true},
			{"a duplicate from one turn ago", first, start, false},
			{"a thousand ahead", first + 1000, start + 65_536, true},
			{"a duplicate of that", first + 1000, start + 1000, false},
			{"sent just after half a turn ago was delivered", first, half, true},
			{"a mark before that", first, half - guardStep - 1, false},
			{"furthest ahead", first + halfSpace - 1, start + 65_536, true},
			{"a duplicate of that", first + halfSpace - 1, start + halfSpace - 1, false},
		} {
			inTurn, fresh := g.check(Time(time.Second), dataAt(tt.seq, tt.ts), time.Second)
			require.Equal(t, tt.want, inTurn, "%s, from %d", tt.name, start)
			require.True(t, fresh)
		}
		// What is no DATA has no place in the stream.
		p := dataAt(first, start)
		p.Type = wire.State
		inTurn, _ := g.check(Time(time.Second), p, time.Second)
		require.True(t, inTurn)
		p.Type = wire.Fin
		inTurn, _ = g.check(Time(time.Second), p, time.Second)
		require.False(t, inTurn)
	}
}

// TestGuardFirstTurn: in the first turn nothing is refused, whatever its time.
func TestGuardFirstTurn(t *testing.T) {
	var g guard
	deliverTurn(&g, 0, halfSpace, 1<<30)
	for _, ahead := range []wire.SeqNr{0, 1, 10_000, halfSpace - guardStep - 1} {
		inTurn, _ := g.check(Time(time.Second), dataAt(halfSpace+ahead-guardStep, 0x7fff_ffff), time.Second)
		require.True(t, inTurn)
	}
	require.Nil(t, new(guard).marks, "short connections cost nothing")
}

// TestGuardStaleAcks: what is older than the newest packet by more than a
// quarter of the clock's wrap acknowledges nothing.
func TestGuardStaleAcks(t *testing.T) {
	state := func(ts wire.Timestamp) *wire.Packet {
		return &wire.Packet{Header: wire.Header{Type: wire.State, Timestamp: ts}}
	}
	for _, newest := range []wire.Timestamp{5, 1 << 31, 1<<32 - 5} {
		var g guard
		now := Time(time.Second)
		check := func(ts wire.Timestamp) bool {
			inTurn, fresh := g.check(now, state(ts), time.Second)
			require.True(t, inTurn)
			return fresh
		}
		require.True(t, check(newest), "the first")
		require.True(t, check(newest-1), "overtaken")
		require.True(t, check(newest-staleAck))
		require.False(t, check(newest-staleAck-1))
		require.True(t, check(newest+100*second), "newer")
		require.False(t, check(newest+100*second-staleAck-1), "and what was good is no more")
		require.True(t, check(0), "no clock, no age")
	}
}

// TestGuardBeginsAnew: when for one timeout there was nothing but what is
// refused, it is the clock that was set.
func TestGuardBeginsAnew(t *testing.T) {
	var g guard
	start := Time(time.Second)
	deliverTurn(&g, 0, 65_536, 1<<31)
	late := dataAt(0, 1<<31-20*60*second)
	for _, tt := range []struct {
		why   string
		after time.Duration
		p     *wire.Packet
		want  bool
	}{
		{"refused", 0, late, false},
		{"still", 999 * ms, late, false},
		{"one of this turn", 999 * ms, dataAt(0, 1<<31+65_536), true},
		{"so it begins once more", 1500 * ms, late, false},
		{"half a second is too short", 2000 * ms, late, false},
		{"a STATE says nothing about that", 2100 * ms, &wire.Packet{Header: wire.Header{Type: wire.State, Timestamp: 1<<31 + 65_536}}, true},
		{"a second", 2500 * ms, late, true},
		{"and from then on", 2500 * ms, late, true},
	} {
		inTurn, _ := g.check(start.Add(tt.after), tt.p, time.Second)
		require.Equal(t, tt.want, inTurn, tt.why)
	}
}

// TestGuardAgainstDuplicates passes more than 65,536 one-byte packets, and
// repeats two of the first turn at the moment when their numbers are due again.
func TestGuardAgainstDuplicates(t *testing.T) {
	long(t)
	p := newPair(1)
	p.a.out, p.b.out = link{delay: ms}, link{delay: ms}
	p.connect(t)
	a, b := p.a.conn, p.b.conn
	a.SetNoDelay(true)
	x := p.a.seq + 1 + 5000
	var stored [][]byte
	turn, dropped, injected := 0, 0, 0
	p.mangle = func(from *peer, d []byte) []byte {
		if seq := wire.SeqNr(binary.BigEndian.Uint16(d[16:])); from == p.a && turn == 0 && (seq == x || seq == x+5) {
			stored = append(stored, append([]byte(nil), d...))
		}
		return d
	}
	p.drop = func(from *peer, pkt *wire.Packet) bool {
		// In the second turn the gap is held open long enough to be certain of
		// the moment.
		d := pkt.SeqNr.Diff(x)
		if from == p.a && pkt.Type == wire.Data && turn == 1 && d >= 0 && d <= 5 && dropped < 6 {
			dropped++
			return true
		}
		return false
	}
	wrote, read, total := 0, 0, 65_536+10_000
	p.a.step = func() {
		for ; wrote < total && a.out.count() < 2000 && a.unsent == a.buf.end; wrote++ {
			a.Write([]byte{pattern('a', wrote)})
			p.flush(p.a)
			if wrote == 60_000 {
				turn = 1
			}
		}
	}
	p.b.step = func() {
		if turn == 1 && injected == 0 && dropped == 6 && b.rcvNxt == x && b.ahead.count > 50 {
			injected++
			invalid, ahead := b.stats.Invalid, b.ahead.count
			for _, d := range stored {
				p.deliver(p.b, d)
			}
			require.Equal(t, invalid+2, b.stats.Invalid)
			require.Equal(t, ahead, b.ahead.count)
			require.Equal(t, x, b.rcvNxt)
		}
		for {
			n := b.Read(p.now, p.reading[:])
			for _, c := range p.reading[:n] {
				if c != pattern('a', read) {
					t.Fatalf("byte %d is not what was written", read)
				}
				read++
			}
			if n == 0 {
				return
			}
		}
	}
	require.NoError(t, p.run(time.Minute, func() bool { return read == total }))
	require.Len(t, stored, 2)
	require.Equal(t, 1, injected)
	require.Zero(t, a.stats.Timeouts)
}

// TestGuardClockIsSet sets one side's clock back by half an hour while data
// flows. The other one gets over that in one timeout.
func TestGuardClockIsSet(t *testing.T) {
	long(t)
	for _, side := range []string{"sender", "receiver"} {
		p := newPair(1)
		p.a.out, p.b.out = link{delay: 20 * ms}, link{delay: 20 * ms}
		p.a.skew, p.b.skew = time.Hour, time.Hour
		p.connect(t)
		of := map[string]*peer{"sender": p.a, "receiver": p.b}[side]
		back := time.Duration(0)
		p.mangle = func(from *peer, d []byte) []byte {
			if from == of {
				ts := binary.BigEndian.Uint32(d[4:])
				binary.BigEndian.PutUint32(d[4:], ts-uint32(back/time.Microsecond))
			}
			return d
		}
		a, b := p.a.conn, p.b.conn
		// One-byte packets, so that the guard has marks of half a turn ago.
		a.SetNoDelay(true)
		wrote, read, target := 0, 0, 50_000
		p.a.step = func() {
			for ; wrote < target && a.out.count() < 4000 && a.unsent == a.buf.end; wrote++ {
				a.Write([]byte{0})
				p.flush(p.a)
			}
		}
		p.b.step = func() { read += b.Read(p.b.clock(p), p.reading[:]) }
		require.NoError(t, p.run(time.Minute, func() bool { return read == target && a.Flushed() }))
		invalid := b.stats.Invalid

		back = 30 * time.Minute
		target += 10_000
		set := p.now
		require.NoError(t, p.run(time.Minute, func() bool { return read == target && a.Flushed() }))
		took := p.now.Sub(set)
		t.Logf("%s: %v, %+v", side, took, a.Stats())
		require.Less(t, took, 2*time.Second, "%s", side)
		require.Greater(t, took, 200*ms, "it was noticed")
		if side == "sender" {
			require.Greater(t, b.stats.Invalid, invalid)
		}
		set = p.now
		target += 10_000
		require.NoError(t, p.run(time.Minute, func() bool { return read == target && a.Flushed() }))
		require.Less(t, p.now.Sub(set), 500*ms, "%s: and it is over", side)
	}
}
