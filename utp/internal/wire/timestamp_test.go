package wire

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

const wrap = 1 << 32 // microseconds

func TestTimestampAt(t *testing.T) {
	for _, tt := range []struct {
		ns   int64
		want Timestamp
	}{
		// Zero would be "no timestamp" for libutp and libtorrent.
		{0, 1},
		{999, 1},
		{1000, 1},
		{1999, 1},
		{2000, 2},
		{wrap*1000 - 1, wrap - 1},
		{wrap * 1000, 1},
		{wrap*1000 + 1000, 1},
		{wrap*1000 + 2000, 2},
		{7 * wrap * 1000, 1},
		{math.MaxInt64, Timestamp(math.MaxInt64 / 1000 & (wrap - 1))},
	} {
		require.Equal(t, tt.want, TimestampAt(tt.ns), "at %d ns", tt.ns)
	}
}

func TestTimestampBefore(t *testing.T) {
	for _, tt := range []struct {
		t, u   Timestamp
		before bool
	}{
		{1, 1, false},
		{1, 2, true},
		{2, 1, false},
		{wrap - 1, 1, true},
		{1, wrap - 1, false},
		{0, 1<<31 - 1, true},
		{1<<31 - 1, 0, false},
		{1 << 31, wrap - 1, true},
	} {
		require.Equal(t, tt.before, tt.t.Before(tt.u), "%d before %d", tt.t, tt.u)
	}
}

func TestTimestampDiff(t *testing.T) {
	for _, tt := range []struct {
		stamp Timestamp
		now   int64 // microseconds
		want  uint32
	}{
		{stamp: 1000, now: 1500, want: 500},
		{stamp: 1, now: 0, want: wrap - 1},
		{stamp: 1500, now: 1000, want: wrap - 500},
		{stamp: wrap - 100, now: wrap + 100, want: 200},
		// One clock at both ends: nothing passed, which would mean "no sample".
		{stamp: 1000, now: 1000, want: 1},
		{stamp: 1000, now: 1001, want: 1},
		{stamp: 5, now: wrap + 5, want: 1},
		// The value that old µTorrents sent uninitialised.
		{stamp: 1, now: 0x80000000, want: 0x7ffffffe},
		{stamp: 1, now: 0x7fffffff, want: 0x7ffffffe},
		{stamp: 1, now: 0x80000001, want: 0x80000000},
	} {
		got := tt.stamp.DiffSince(tt.now*1000 + 999)
		require.Equal(t, tt.want, got, "stamped %d, now %d", tt.stamp, tt.now)
		require.True(t, IsSample(got))
	}
}

func TestIsSample(t *testing.T) {
	for diff, want := range map[uint32]bool{0: false, 1: true, 0x7ffffffe: true, 0x7fffffff: false, 0x80000000: true, wrap - 1: true} {
		require.Equal(t, want, IsSample(diff), "%#x", diff)
	}
}
