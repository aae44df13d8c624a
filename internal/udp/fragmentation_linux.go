package udp

import (
	"sync"
	"syscall"
)

// fragmentation sets DF. It is an option of the socket, not of a datagram: while
// a datagram goes out that may be fragmented, no other may, for that would go
// out without DF too. It would not hurt most, but an MTU probe that is quietly
// fragmented proves a path that does not exist.
//
// So who sends with DF holds mu for reading, and who sends without it for
// writing. Both hold it for system calls that do not wait, and no longer.
type fragmentation struct {
	mu sync.RWMutex
}

// init sets DF, as IP_PMTUDISC_PROBE: the kernel's own idea of the path MTU,
// which a forged ICMP message can lower, is ignored. An IPv4 datagram on an
// AF_INET6 socket goes by the IPv4 option, so that takes both. Without the
// options datagrams are sent without DF: nothing is lost but the discovery of
// the path MTU.
func (f *fragmentation) init(raw syscall.RawConn, v6 bool) {
	_ = raw.Control(func(fd uintptr) {
		forbidFragments(int(fd), true)
		if v6 {
			forbidFragments(int(fd), false)
		}
	})
}

// begin must be called before sending to an IPv4 or IPv6 peer, end after it.
func (f *fragmentation) begin(fd int, allow, ip4 bool) {
	if !allow {
		f.mu.RLock()
		return
	}
	f.mu.Lock()
	allowFragments(fd, ip4)
}

// tryBegin is begin, but it returns false where begin waits.
func (f *fragmentation) tryBegin(fd int, allow, ip4 bool) bool {
	if !allow {
		return f.mu.TryRLock()
	}
	if !f.mu.TryLock() {
		return false
	}
	allowFragments(fd, ip4)
	return true
}

func (f *fragmentation) end(fd int, allow, ip4 bool) {
	if !allow {
		f.mu.RUnlock()
		return
	}
	forbidFragments(fd, ip4)
	f.mu.Unlock()
}

func allowFragments(fd int, ip4 bool) {
	setMTUDiscover(fd, ip4, syscall.IP_PMTUDISC_DONT, syscall.IPV6_PMTUDISC_DONT)
}

func forbidFragments(fd int, ip4 bool) {
	setMTUDiscover(fd, ip4, syscall.IP_PMTUDISC_PROBE, syscall.IPV6_PMTUDISC_PROBE)
}

func setMTUDiscover(fd int, ip4 bool, v4, v6 int) {
	if ip4 {
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, v4)
	} else {
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_MTU_DISCOVER, v6)
	}
}
