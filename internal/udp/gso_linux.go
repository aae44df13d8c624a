package udp

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// Socket options of linux/udp.h that package syscall has not.
const (
	solUDP     = 17
	udpSegment = 103
	udpGRO     = 104
)

const (
	// maxSegments is the kernel's UDP_MAX_SEGMENTS, of before it was doubled.
	maxSegments = 64
	// maxRunBytes is the most that one call may send: a UDP payload over IPv4.
	maxRunBytes = 65507
	// maxRefused bounds the addresses that are remembered to be without offload;
	// with more of them the whole socket is.
	maxRefused = 1024
)

// gso is generic segmentation offload (Linux 4.18): the kernel takes a run of
// datagrams in one call and cuts it as late as it can, at best in the network
// card.
//
// A route whose card cannot checksum refuses it, with EIO. That is remembered
// for the peer's address.
type gso struct {
	off atomic.Bool

	mu sync.RWMutex
	// guarded by mu
	refused map[netip.Addr]struct{}
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

// run returns how many bytes of data, which is to be cut into segments of size
// bytes, can go to a peer in one call: one segment, or a run of them.
func (g *gso) run(data []byte, size int, remote netip.Addr) int {
	if size <= 0 || size >= len(data) {
		return len(data)
	}
	if g.off.Load() || g.isRefused(remote) {
		return size
	}
	return min(len(data), size*min(maxSegments, max(1, maxRunBytes/size)))
}

// control appends the control message that has a run cut into segments.
func (g *gso) control(b []byte, size int) []byte {
	b, data := appendControl(b, solUDP, udpSegment, 2)
	binary.NativeEndian.PutUint16(data, uint16(size))
	return b
}

// refuse takes an error for a run and reports whether segments sent one by one
// may succeed. With EIO the device cannot checksum; with EINVAL a segment does
// not fit the path, or the kernel wants no such run.
func (g *gso) refuse(err error, remote netip.Addr) (single bool) {
	switch err {
	case syscall.EIO:
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.refused) >= maxRefused {
			g.off.Store(true)
			g.refused = nil
			return true
		}
		if g.refused == nil {
			g.refused = make(map[netip.Addr]struct{})
		}
		g.refused[remote] = struct{}{}
		return true
	case syscall.EINVAL, syscall.EMSGSIZE:
		return true
	default:
		return false
	}
}

func (g *gso) isRefused(remote netip.Addr) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	_, ok := g.refused[remote]
	return ok
}
