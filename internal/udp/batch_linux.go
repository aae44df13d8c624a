package udp

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// batches sends several datagrams in one call where they cannot be a run:
// sendmmsg, which costs as much as that many calls, but for the calls.
type batches struct {
	off atomic.Bool

	// sendmmsg is sendmmsg, but in tests of what the kernel rarely says.
	sendmmsg func(fd uintptr, headers []mmsghdr) (int, error)
}

func (b *batches) init() {
	b.sendmmsg = sendmmsg
	b.off.Store(disabled(disableMMSG))
}

func (b *batches) work() bool { return !b.off.Load() }

// refuse takes the error of a batch, and reports whether to send its datagrams
// one by one. EPERM may be a sandbox's word for ENOSYS, or about the datagram.
func (b *batches) refuse(err error) bool {
	if err == syscall.ENOSYS {
		b.off.Store(true)
	}
	return err == syscall.ENOSYS || err == syscall.EPERM
}

// maxBatch is the most datagrams in a batch.
const maxBatch = 64

// batch is the memory for one. A send has one once it needs it.
type batch struct {
	headers [maxBatch]mmsghdr
	iovs    [maxBatch]syscall.Iovec
	to      syscall.RawSockaddrInet6 // or, at the same place, an Inet4
}

// sendBatch sends as many segments as fit into a batch, and returns how many
// bytes of Data were sent.
func (m *send) sendBatch(fd int) (n int, err error) {
	if m.batch == nil {
		m.batch = new(batch)
	}
	b, rest := m.batch, m.Data[m.sent:]
	name, nameLen := b.address(m)
	count := 0
	for ; count < maxBatch && n < len(rest); count++ {
		data := segment(rest, m.Segment, n)
		n += len(data)
		h, iov := &b.headers[count], &b.iovs[count]
		iov.Base = &data[0]
		iov.SetLen(len(data))
		h.set(iov, m.control)
		h.header.Name, h.header.Namelen = name, nameLen
	}
	sent, err := m.socket.sender.batches.sendmmsg(uintptr(fd), b.headers[:count])
	clear(b.iovs[:count]) // the pool must not keep the caller's memory
	return min(n, sent*m.Segment), err
}

// address returns the receiver's address, as the kernel has it.
func (b *batch) address(m *send) (name *byte, size uint32) {
	if m.socket.v6 {
		b.to = syscall.RawSockaddrInet6{
			Family:   syscall.AF_INET6,
			Port:     networkOrder(m.Remote.Port()),
			Addr:     m.inet6.Addr,
			Scope_id: m.inet6.ZoneId,
		}
		return (*byte)(unsafe.Pointer(&b.to)), syscall.SizeofSockaddrInet6
	}
	*(*syscall.RawSockaddrInet4)(unsafe.Pointer(&b.to)) = syscall.RawSockaddrInet4{
		Family: syscall.AF_INET,
		Port:   networkOrder(m.Remote.Port()),
		Addr:   m.inet4.Addr,
	}
	return (*byte)(unsafe.Pointer(&b.to)), syscall.SizeofSockaddrInet4
}
