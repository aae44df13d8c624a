package udp

import (
	"net"
	"net/netip"
	"sync/atomic"
)

// packetConn is the port over a net.PacketConn of which nothing else is known.
type packetConn struct {
	pc    net.PacketConn
	bound netip.Addr // zero: a wildcard, or not known
	stats *counters

	// last is the receiver of the last datagram sent. Mostly it is that of the
	// next one too, which then needs no new net.UDPAddr.
	last atomic.Pointer[remoteAddr]
}

// remoteAddr is an address in both forms. It never changes.
type remoteAddr struct {
	addrPort netip.AddrPort
	udp      *net.UDPAddr
}

func newPacketConn(pc net.PacketConn, stats *counters) *packetConn {
	enlargeBuffers(pc, 0, 0)
	return &packetConn{pc: pc, bound: boundAddr(pc.LocalAddr()), stats: stats}
}

func (p *packetConn) read(d []Datagram) (int, error) {
	slot := &d[0]
	buf := slot.buffer()
	n, from, err := p.pc.ReadFrom(buf)
	if err != nil {
		return 0, err
	}
	remote, ok := addrPort(from)
	if !ok {
		p.stats.readDropped.Add(1)
		return 0, nil
	}
	slot.fill(buf[:n], remote, p.bound)
	return 1, nil
}

func (p *packetConn) write(t Transmit, wait bool) (int, error) {
	if !wait {
		return 0, ErrWouldBlock
	}
	to := p.udpAddr(t.Remote)
	return writeSegments(&t, p.stats, func(b []byte) error {
		_, err := p.pc.WriteTo(b, to)
		return err
	})
}

func (p *packetConn) udpAddr(a netip.AddrPort) *net.UDPAddr {
	last := p.last.Load()
	if last == nil || last.addrPort != a {
		last = &remoteAddr{addrPort: a, udp: net.UDPAddrFromAddrPort(a)}
		p.last.Store(last)
	}
	return last.udp
}

// writeSegments sends the datagrams of t by a function that waits for room, and
// returns how many bytes of t.Data these were.
func writeSegments(t *Transmit, stats *counters, send func(b []byte) error) (n int, err error) {
	for {
		b := segment(t.Data, t.Segment, n)
		err := send(b)
		if err != nil && isPendingError(err) {
			if err = send(b); err == nil {
				stats.writeRetries.Add(1)
			}
		}
		if err != nil {
			return n, err
		}
		if n += len(b); n == len(t.Data) {
			return n, nil
		}
	}
}
