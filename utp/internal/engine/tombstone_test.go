package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

// finish has both sides of a pair end, and returns the acceptor's tombstone.
func finish(t *testing.T, p *pair) Tombstone {
	t.Helper()
	p.a.out, p.b.out = link{delay: 20 * ms}, link{delay: 20 * ms}
	p.connect(t)
	p.a.conn.Write([]byte("hello"))
	p.a.conn.CloseWrite()
	p.b.conn.CloseWrite()
	require.NoError(t, p.run(time.Minute, func() bool {
		return p.a.conn.Reason() == Finished && p.b.conn.Reason() == Finished
	}))
	ts, ok := p.b.conn.Tombstone(p.now)
	require.True(t, ok)
	return ts
}

func TestTombstone(t *testing.T) {
	for _, ownKind := range []bool{true, false} {
		p := newPair(1)
		if !ownKind {
			p.mangle = stripHello
		}
		ts := finish(t, p)
		require.Equal(t, p.now.Add(tombstoneLife), ts.Expires)
		require.Equal(t, p.now.Add(minReuse), ts.Reusable, "twice 40 ms are less")
		require.Equal(t, p.a.seq, ts.SynSeqNr)

		// The initiator wrote one DATA and a FIN after its SYN, the acceptor a FIN.
		fin := p.a.seq + 2
		for _, tt := range []struct {
			name   string
			typ    wire.Type
			seq    wire.SeqNr
			ack    wire.SeqNr
			answer bool
		}{
			{"the FIN again", wire.Fin, fin, p.b.seq, true},
			{"the DATA before it", wire.Data, fin - 1, p.b.seq, true},
			{"something much older", wire.Data, fin - 20_000, p.b.seq, true},
			{"a FIN that does not know ours yet", wire.Fin, fin, p.b.seq - 1, true},
			{"DATA after the FIN", wire.Data, fin + 1, p.b.seq, false},
			{"another FIN", wire.Fin, fin + 1, p.b.seq, false},
			{"an acknowledgement of what was never sent", wire.Fin, fin, p.b.seq + 1, false},
			{"a STATE is never answered", wire.State, fin, p.b.seq, false},
			{"nor a RESET", wire.Reset, fin, p.b.seq, false},
			{"a SYN is the endpoint's business", wire.Syn, fin, p.b.seq, false},
			{"half the space away", wire.Data, fin + 1 - halfSpace, p.b.seq, false},
		} {
			var b [100]byte
			pkt := &wire.Packet{Header: wire.Header{Type: tt.typ, SeqNr: tt.seq, AckNr: tt.ack, Timestamp: 7_000_000}}
			out := ts.Reply(Time(8*time.Second), pkt, b[:])
			if !tt.answer {
				require.Zero(t, out.Len, tt.name)
				continue
			}
			want := wire.Header{
				Type:          wire.State,
				ConnID:        p.a.id, // the initiator receives with the id of the SYN
				Timestamp:     8_000_000,
				TimestampDiff: 1_000_000,
				Window:        64<<10 - 5, // nobody read the hello
				SeqNr:         p.b.seq + 1,
				AckNr:         fin,
			}
			var first, second wire.Packet
			require.True(t, first.Parse(b[:out.Segment]))
			if ownKind {
				require.Equal(t, wire.HeaderSize, out.Len)
				require.Equal(t, want, first.Header, tt.name)
				continue
			}
			// After our FIN, F, libtorrent ignores what is numbered above it, and
			// libutp what is not.
			require.Equal(t, 2*wire.HeaderSize, out.Len)
			require.True(t, second.Parse(b[out.Segment:out.Len]))
			require.Equal(t, want, second.Header, tt.name)
			want.SeqNr = p.b.seq
			require.Equal(t, want, first.Header, tt.name)
		}
	}
}

// TestTombstoneWhenNeeded: who did not hear the peer's FIN has nothing to
// acknowledge; nor has who was reset.
func TestTombstoneWhenNeeded(t *testing.T) {
	p := newPair(1)
	p.a.out, p.b.out = link{delay: 20 * ms}, link{delay: 20 * ms}
	p.connect(t)
	_, ok := p.a.conn.Tombstone(p.now)
	require.False(t, ok, "it lives")
	p.a.conn.Close(p.now)
	require.NoError(t, p.run(time.Minute, func() bool { return p.a.conn.Reason() == Finished }))
	_, ok = p.a.conn.Tombstone(p.now)
	require.False(t, ok, "the peer never ended its side")

	p = newPair(1)
	p.connect(t)
	p.a.conn.Abort()
	_, ok = p.a.conn.Tombstone(p.now)
	require.False(t, ok, "aborted")
	require.NoError(t, p.run(time.Minute, func() bool { return p.b.conn.Reason() == ResetByPeer }))
	_, ok = p.b.conn.Tombstone(p.now)
	require.False(t, ok, "reset")
}

// TestTombstoneReuse: an id rests for two round trips.
func TestTombstoneReuse(t *testing.T) {
	p := newPair(1)
	ts := finish(t, p)
	p.b.conn.rtt.srtt = 400 * ms
	slow, _ := p.b.conn.Tombstone(p.now)
	require.Equal(t, p.now.Add(800*ms), slow.Reusable)
	require.Less(t, ts.Reusable, slow.Reusable)
}

// TestTombstoneAnswersInPlace: the last acknowledgement is lost, and the
// initiator repeats its FIN to a peer that has finished.
func TestTombstoneAnswersInPlace(t *testing.T) {
	for _, ownKind := range []bool{true, false} {
		p := newPair(1)
		if !ownKind {
			p.mangle = stripHello
		}
		p.a.out, p.b.out = link{delay: 20 * ms}, link{delay: 20 * ms}
		p.connect(t)
		p.b.conn.CloseWrite()
		require.NoError(t, p.run(time.Minute, func() bool { return p.a.conn.EOF() && p.b.conn.Flushed() }))
		dropped := 0
		p.drop = func(from *peer, pkt *wire.Packet) bool {
			drop := from == p.b && dropped < 2
			if drop {
				dropped++
			}
			return drop
		}
		p.a.conn.CloseWrite()
		require.NoError(t, p.run(time.Minute, func() bool { return p.a.conn.Reason() != NotClosed }))
		require.Equal(t, Finished, p.b.conn.Reason())
		require.Equal(t, Finished, p.a.conn.Reason())
		require.Equal(t, 2, dropped)
		require.Positive(t, p.a.conn.stats.Timeouts)
	}
}
