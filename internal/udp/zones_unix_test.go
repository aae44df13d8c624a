//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package udp

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestZones(t *testing.T) {
	ifis, err := net.Interfaces()
	require.NoError(t, err)
	require.NotEmpty(t, ifis)
	ifi := ifis[0]
	want := uint32(ifi.Index)

	var z zones
	index := func(name string) uint32 {
		t.Helper()
		index, err := z.index(name)
		require.NoError(t, err)
		return index
	}
	require.Zero(t, index(""))
	require.Equal(t, want, index(strconv.Itoa(ifi.Index)))
	require.Equal(t, want, index(ifi.Name))

	z.byName[ifi.Name] = zone{index: want + 1, until: time.Now().Add(zoneLifetime)}
	require.Equal(t, want+1, index(ifi.Name), "the system is not asked again")
	z.byName[ifi.Name] = zone{index: want + 1, until: time.Now()}
	require.Equal(t, want, index(ifi.Name), "but after a while")

	require.Equal(t, ifi.Name, z.name(want))
	z.byIndex[want] = zone{name: "renamed", until: time.Now().Add(zoneLifetime)}
	require.Equal(t, "renamed", z.name(want), "the system is not asked again")
	z.byIndex[want] = zone{name: "renamed", until: time.Now()}
	require.Equal(t, ifi.Name, z.name(want), "but after a while")
	require.Equal(t, "4000000", z.name(4000000), "no such interface")

	_, err = z.index("no such interface")
	require.Error(t, err)
	require.NotContains(t, z.byName, "no such interface")
}
