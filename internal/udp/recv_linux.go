package udp

import (
	"net/netip"
	"os"
	"syscall"
	"unsafe"
)

// receiver is the reading half of a socket: recvmmsg, which fills in several
// slots in one call, each with what one sender sent.
type receiver struct {
	// missing is whether there is no recvmmsg: package net does the reading.
	missing bool

	// slots is how many slots the next call may fill in, and limit the most that
	// this may become: see adapt.
	slots, limit int

	headers  []mmsghdr
	messages []message

	// recvmmsg is recvmmsg, but in tests of kernels that do not have it.
	recvmmsg func(fd uintptr, headers []mmsghdr) (int, error)

	// The call that goes on. Its closure, which RawConn wants, is made once.
	ready func(fd uintptr) bool
	asked int  // slots
	woken bool // whether there has been nothing yet
	n     int
	err   error
}

const (
	// maxReceive is the most slots that one call fills in.
	maxReceive = 64

	// maxReceiveBytes is about the most that one call is to receive. What comes
	// with it has to be still in the CPU's cache when its turn comes.
	maxReceiveBytes = 128 << 10
)

// message is where the kernel puts what belongs to one slot, but its data.
type message struct {
	from    syscall.RawSockaddrInet6 // or, at the same place, an Inet4
	iov     syscall.Iovec
	control [controlSize]byte
}

func (r *receiver) init(s *socket) {
	r.recvmmsg = recvmmsg
	r.limit, r.slots = maxReceive, 1
	if disabled(disableMMSG) {
		r.limit = 1
	}
	r.ready = s.receive
	s.errors.init(s.raw, &s.sender.zones)
}

func (s *socket) read(d []Datagram) (int, error) {
	r := &s.receiver
	if r.missing {
		return s.readOne(d)
	}
	s.errors.drain()
	r.prepare(d)
	err := s.raw.Read(r.ready)
	if err == nil && r.err != nil {
		err = os.NewSyscallError("recvmmsg", r.err)
	}
	switch {
	case err == nil:
	case r.err == syscall.ENOSYS || r.err == syscall.EPERM:
		// Package net does not say when the error queue is filled.
		s.errors.stop(s.v6)
		r.missing = true
		return s.readOne(d)
	default:
		s.errors.mark()
		return 0, err
	}
	bytes := 0
	for i := range r.n {
		h, m := &r.headers[i], &r.messages[i]
		s.fill(&d[i], d[i].buffer()[:h.n], m.remote(&s.sender.zones), m.control[:h.header.Controllen])
		bytes += int(h.n)
	}
	r.adapt(bytes)
	return r.n, nil
}

// adapt decides how many slots to ask for the next time. Each of them must have
// its memory, 64 KiB, so it begins with one.
func (r *receiver) adapt(bytes int) {
	switch {
	case bytes > maxReceiveBytes:
		r.slots = max(1, r.asked/2)
	case r.n == r.asked && 2*bytes <= maxReceiveBytes:
		r.slots = min(2*r.asked, r.limit)
	}
}

// prepare points the headers at the slots' memory.
func (r *receiver) prepare(d []Datagram) {
	r.asked = min(len(d), r.slots)
	if r.asked > len(r.headers) {
		r.headers = make([]mmsghdr, r.asked)
		r.messages = make([]message, r.asked)
	}
	for i := range r.asked {
		buf := d[i].buffer()
		h, m := &r.headers[i], &r.messages[i]
		m.iov.Base = &buf[0]
		m.iov.SetLen(len(buf))
		h.set(&m.iov, m.control[:])
		h.header.Name, h.header.Namelen = (*byte)(unsafe.Pointer(&m.from)), syscall.SizeofSockaddrInet6
	}
	r.woken, r.n, r.err = false, 0, nil
}

// receive is called by RawConn.Read, and again when there may be something to
// read, until it returns true. If there is nothing then, it is in the error
// queue: that is for the next call.
func (s *socket) receive(fd uintptr) bool {
	r := &s.receiver
	for {
		r.n, r.err = r.recvmmsg(fd, r.headers[:r.asked])
		switch r.err {
		case nil:
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			r.n, r.err = 0, nil
			if r.woken {
				s.errors.mark()
			}
			r.woken = true
			return s.errors.filled.Load()
		default:
			return true
		}
	}
}

// remote returns the sender.
func (m *message) remote(zones *zones) netip.AddrPort {
	port := networkOrder(m.from.Port) // which is at the same place in both
	if m.from.Family == syscall.AF_INET {
		from := (*syscall.RawSockaddrInet4)(unsafe.Pointer(&m.from))
		return netip.AddrPortFrom(netip.AddrFrom4(from.Addr), port)
	}
	addr := netip.AddrFrom16(m.from.Addr).Unmap()
	if m.from.Scope_id != 0 {
		addr = addr.WithZone(zones.name(m.from.Scope_id))
	}
	return netip.AddrPortFrom(addr, port)
}
