//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package udp

import (
	"net"
	"strconv"
	"sync"
	"time"
)

// zoneLifetime is how long an interface's index is believed, as in package net:
// an interface may be renamed, or be made anew under its old name.
const zoneLifetime = time.Minute

// zones finds the interfaces of link-local peers. The system is asked once a
// minute, not once a datagram.
type zones struct {
	mu sync.Mutex
	// guarded by mu
	byName  map[string]zone
	byIndex map[uint32]zone
}

type zone struct {
	name  string
	index uint32
	until time.Time
}

// index returns the interface's index, given its name or its index in decimal,
// and 0 for no zone.
func (z *zones) index(name string) (uint32, error) {
	if name == "" {
		return 0, nil
	}
	if index, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(index), nil
	}
	now := time.Now()
	z.mu.Lock()
	defer z.mu.Unlock()
	if known := z.byName[name]; now.Before(known.until) {
		return known.index, nil
	}
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		delete(z.byName, name)
		return 0, err
	}
	return z.addLocked(ifi, now).index, nil
}

// name is the reverse of index. An interface that is gone has its index for a
// name, as in package net.
func (z *zones) name(index uint32) string {
	now := time.Now()
	z.mu.Lock()
	defer z.mu.Unlock()
	if known := z.byIndex[index]; now.Before(known.until) {
		return known.name
	}
	ifi, err := net.InterfaceByIndex(int(index))
	if err != nil {
		delete(z.byIndex, index)
		return strconv.FormatUint(uint64(index), 10)
	}
	return z.addLocked(ifi, now).name
}

func (z *zones) addLocked(ifi *net.Interface, now time.Time) zone {
	if z.byName == nil {
		z.byName, z.byIndex = make(map[string]zone), make(map[uint32]zone)
	}
	added := zone{name: ifi.Name, index: uint32(ifi.Index), until: now.Add(zoneLifetime)}
	z.byName[added.name], z.byIndex[added.index] = added, added
	return added
}
