package udp

import (
	"net/netip"
	"sync/atomic"
	"syscall"
)

// errorQueue is where the kernel keeps the ICMP messages about what the socket
// has sent, each with the datagram of ours that it quotes (IP_RECVERR, ip(7)).
//
// Each also is a pending error of the socket, which fails the next read or send,
// to whomever it is. What is too big for the way out gets an entry too. All of
// them take room in the receive buffer, and must be taken out even if nobody
// wants to know.
type errorQueue struct {
	raw    syscall.RawConn
	zones  *zones
	report func(remote netip.AddrPort, quoted []byte) // or nil

	// filled is whether there may be something in the queue.
	filled atomic.Bool

	// only accessed by drain
	quoted  []byte
	control []byte
}

const (
	// maxDrained is the most that drain takes out at once.
	maxDrained = 64

	// maxQuoted is the most of a quoted datagram that is reported: an ICMP
	// message has no more than 576 bytes (RFC 1812, Section 4.3.2.3), an ICMPv6
	// message 1280 (RFC 4443, Section 2.4).
	maxQuoted = 1280

	// maxErrControl is room for struct sock_extended_err and the address of who
	// sent the message.
	maxErrControl = 128
)

// What a control message of the error queue begins with is struct
// sock_extended_err {errno uint32; origin, type, code, pad uint8; info, data
// uint32}, of linux/errqueue.h. Type and code are the ICMP message's.
const (
	extendedErrSize = 16
	errOriginAt     = 4
	errTypeAt       = 5
	errCodeAt       = 6

	originICMP  = 2
	originICMP6 = 3

	icmpUnreachable    = 3
	icmpNeedsFragments = 4 // its code
	icmp6Unreachable   = 1
)

func (q *errorQueue) init(raw syscall.RawConn, zones *zones) {
	q.raw, q.zones = raw, zones
}

// request turns the queue on. An IPv4 datagram on an AF_INET6 socket goes by the
// IPv4 option, so that takes both.
func (q *errorQueue) request(v6 bool, report func(remote netip.AddrPort, quoted []byte)) {
	q.report = report
	q.set(v6, 1)
}

// stop turns the queue off.
func (q *errorQueue) stop(v6 bool) { q.set(v6, 0) }

func (q *errorQueue) set(v6 bool, value int) {
	_ = q.raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_RECVERR, value)
		if v6 {
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVERR, value)
		}
	})
}

// mark says that there may be something in the queue. Anybody may call it.
func (q *errorQueue) mark() { q.filled.Store(true) }

// drain empties the queue, and reports what is in it. Only the reader calls it.
func (q *errorQueue) drain() {
	if !q.filled.Load() {
		return
	}
	q.filled.Store(false)
	for range maxDrained {
		remote, n, unreachable, err := q.next()
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return
		case unreachable && q.report != nil:
			q.report(remote, q.quoted[:n])
		}
	}
	q.filled.Store(true)
}

// next takes the first message out of the queue. What it quotes is in q.quoted.
func (q *errorQueue) next() (remote netip.AddrPort, n int, unreachable bool, err error) {
	if q.quoted == nil {
		q.quoted, q.control = make([]byte, maxQuoted), make([]byte, maxErrControl)
	}
	var controlLen int
	var to syscall.Sockaddr
	controlErr := q.raw.Control(func(fd uintptr) {
		n, controlLen, _, to, err = syscall.Recvmsg(int(fd), q.quoted, q.control, syscall.MSG_ERRQUEUE|syscall.MSG_DONTWAIT)
	})
	if controlErr != nil {
		err = controlErr
	}
	if err != nil {
		return remote, 0, false, err
	}
	switch to := to.(type) {
	case *syscall.SockaddrInet4:
		remote = netip.AddrPortFrom(netip.AddrFrom4(to.Addr), uint16(to.Port))
	case *syscall.SockaddrInet6:
		addr := netip.AddrFrom16(to.Addr).Unmap()
		if to.ZoneId != 0 {
			addr = addr.WithZone(q.zones.name(to.ZoneId))
		}
		remote = netip.AddrPortFrom(addr, uint16(to.Port))
	}
	return remote, n, remote.IsValid() && isUnreachable(q.control[:controlLen]), nil
}

// isUnreachable reports whether the error in a control message is "destination
// unreachable". IPv4's "fragmentation needed" is one by type only, and ignored, as
// everywhere (IP_PMTUDISC_PROBE); a TTL that ran out says nothing of the peer.
func isUnreachable(control []byte) bool {
	for {
		m, rest, ok := nextControl(control)
		if !ok {
			return false
		}
		control = rest
		isError := m.level == syscall.IPPROTO_IP && m.kind == syscall.IP_RECVERR ||
			m.level == syscall.IPPROTO_IPV6 && m.kind == syscall.IPV6_RECVERR
		if !isError || len(m.data) < extendedErrSize {
			continue
		}
		switch m.data[errOriginAt] {
		case originICMP:
			return m.data[errTypeAt] == icmpUnreachable && m.data[errCodeAt] != icmpNeedsFragments
		case originICMP6:
			return m.data[errTypeAt] == icmp6Unreachable
		}
		return false
	}
}
