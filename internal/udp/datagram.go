package udp

import "net/netip"

// slotSize is the memory of a slot for Read: what a UDP length can say. No
// datagram is larger, nor any run of segments that the system puts together.
const slotSize = 64 << 10

// buffer returns the slot's memory.
func (d *Datagram) buffer() []byte {
	if cap(d.Data) < slotSize {
		d.Data = make([]byte, slotSize)
	}
	return d.Data[:cap(d.Data)]
}

// fill makes the slot one datagram. A Local that is multicast cannot be answered
// from, and one that is link-local is in the zone of Remote, the only one whose
// name is at hand.
func (d *Datagram) fill(data []byte, remote netip.AddrPort, local netip.Addr) {
	switch zone := remote.Addr().Zone(); {
	case local.IsMulticast():
		local = netip.Addr{}
	case zone != "" && local.Zone() == "" && local.Is6() && local.IsLinkLocalUnicast():
		local = local.WithZone(zone)
	}
	*d = Datagram{Data: data, Remote: remote, Local: local}
}
