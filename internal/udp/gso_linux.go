package udp

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// What package syscall does not have of linux/udp.h.
const (
	solUDP     = 17
	udpSegment = 103
	udpGRO     = 104
)

const (
	// maxRunSegments is UDP_MAX_SEGMENTS, which was 64 before it was 128.
	maxRunSegments = 64

	// maxRunBytes is the most that an IPv4 packet can carry: to the kernel, a
	// run is one packet for most of its way.
	maxRunBytes = 65507

	// maxRefused is how many peers without offload are remembered. With more of
	// them, it must be the system, and nothing is tried any more.
	maxRefused = 1024
)

// gso is generic segmentation offload (Linux 4.18): the kernel takes a run of
// datagrams in one call and cuts it as late as it can, at best in the network
// card.
//
// Where it cannot, it says EIO, as the way to the peer is through a device that
// does not compute checksums, or through IPsec: that stays so, and is remembered
// for the peer's address.
type gso struct {
	off atomic.Bool

	mu      sync.RWMutex
	refused map[netip.Addr]struct{} // guarded by mu
}

func (g *gso) init(raw syscall.RawConn) {
	supported := false
	if !disabled(disableGSO) {
		_ = raw.Control(func(fd uintptr) {
			_, err := syscall.GetsockoptInt(int(fd), solUDP, udpSegment)
			supported = err == nil
		})
	}
	g.off.Store(!supported)
}

// works reports whether runs to a peer are worth a try.
func (g *gso) works(remote netip.Addr) bool {
	if g.off.Load() {
		return false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	_, refused := g.refused[remote]
	return !refused
}

// length returns how many bytes of n, which are segments of size bytes, can be
// one run. If that is no more than size, there can be none.
func (g *gso) length(n, size int) int {
	return min(n, size*min(maxRunSegments, maxRunBytes/size))
}

// appendSize appends the control message that has a run cut into segments.
func (g *gso) appendSize(b []byte, size int) []byte {
	b, data := appendControl(b, solUDP, udpSegment, 2)
	binary.NativeEndian.PutUint16(data, uint16(size))
	return b
}

// refuse takes the error of a run, and reports whether to send its segments one
// by one. EMSGSIZE, and EINVAL of older kernels, mean a segment larger than the
// path's MTU: sent by itself, it says so. EINVAL may also be about the run.
func (g *gso) refuse(err error, remote netip.Addr) bool {
	switch err {
	case syscall.EINVAL, syscall.EMSGSIZE:
		return true
	case syscall.EIO:
		g.remember(remote)
		return true
	}
	return false
}

func (g *gso) remember(remote netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.refused) >= maxRefused {
		g.off.Store(true)
		g.refused = nil
		return
	}
	if g.refused == nil {
		g.refused = make(map[netip.Addr]struct{})
	}
	g.refused[remote] = struct{}{}
}
