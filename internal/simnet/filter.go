package simnet

import "net/netip"

// Packet is a datagram as the filter sees it.
type Packet struct {
	// From and To are its addresses.
	From, To netip.AddrPort
	// Data is its payload: the sender's own buffer, to be read, and not to be kept.
	Data []byte
}

// Verdict is what a filter decides about a datagram.
type Verdict int

const (
	// Pass lets the datagram on to the sender's up link.
	Pass Verdict = iota
	// Drop makes it vanish.
	Drop
	// Duplicate puts it on the up link twice.
	Duplicate
)

// SetFilter has f see every datagram before the links do, from now on; nil removes the filter. f is called in WriteTo,
// by the goroutine that sends and with no lock held, so several calls may run at once, and f may use the Network.
func (n *Network) SetFilter(f func(p Packet) Verdict) {
	if f == nil {
		n.filter.Store(nil)
		return
	}
	n.filter.Store(&f)
}

// judge asks the filter, if there is one.
func (n *Network) judge(p Packet) Verdict {
	if f := n.filter.Load(); f != nil {
		return (*f)(p)
	}
	return Pass
}
