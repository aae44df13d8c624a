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
	mu    sync.Mutex
	known map[string]zone // guarded by mu
}

type zone struct {
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
	if known := z.known[name]; now.Before(known.until) {
		return known.index, nil
	}
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		delete(z.known, name)
		return 0, err
	}
	if z.known == nil {
		z.known = make(map[string]zone)
	}
	z.known[name] = zone{index: uint32(ifi.Index), until: now.Add(zoneLifetime)}
	return uint32(ifi.Index), nil
}
