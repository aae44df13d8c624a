package utp

import "net/netip"

const (
	// maxHalfOpen is the most inbound connections that their initiators have not
	// confirmed, and maxHalfOpenSource the most of one IPv4 address or IPv6 /64.
	// When one is reached, one of them at random makes room: a flood of forged
	// SYNs then mostly drives out its own.
	maxHalfOpen       = 4096
	maxHalfOpenSource = 1024
	// halfOpenPressure is from when on nothing is repeated unasked.
	halfOpenPressure = maxHalfOpen / 4
)

// halfOpen is the inbound connections that have not been confirmed.
// Endpoint.mu guards it.
type halfOpen struct {
	conns   map[*Conn]netip.Prefix
	sources map[netip.Prefix]int
}

func (h *halfOpen) init() {
	h.conns = make(map[*Conn]netip.Prefix)
	h.sources = make(map[netip.Prefix]int)
}

func (h *halfOpen) len() int { return len(h.conns) }

// source is whom a connection is counted for.
func source(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

// has reports whether c is half-open.
func (h *halfOpen) has(c *Conn) bool {
	_, ok := h.conns[c]
	return ok
}

func (h *halfOpen) add(c *Conn, a netip.Addr) {
	p := source(a)
	h.conns[c] = p
	h.sources[p]++
}

func (h *halfOpen) remove(c *Conn) {
	p, ok := h.conns[c]
	if !ok {
		return
	}
	delete(h.conns, c)
	if h.sources[p]--; h.sources[p] == 0 {
		delete(h.sources, p)
	}
}

// victim returns the one that has to make room for another from a, nil if there
// is room.
func (h *halfOpen) victim(a netip.Addr) *Conn {
	p := source(a)
	crowded := h.sources[p] >= maxHalfOpenSource
	if !crowded && len(h.conns) < maxHalfOpen {
		return nil
	}
	// The order of a map is random.
	for c, q := range h.conns {
		if !crowded || q == p {
			return c
		}
	}
	return nil
}
