//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package udp

import (
	"net"
	"os"
	"sync"
	"syscall"
)

// sender is the sending half of a socket.
//
// It calls sendmsg itself, for the sake of TryWrite: a Write of package net
// holds the descriptor's write lock while it waits for room, and one that waits
// would hold up all others. RawConn.Control takes no lock.
type sender struct {
	fragmentation fragmentation
	zones         zones
	gso           gso
	batches       batches
	sends         sync.Pool // of *send

	// sendmsg is syscall.SendmsgN, but in tests of what the kernel rarely says.
	sendmsg func(fd int, p, control []byte, to syscall.Sockaddr, flags int) (int, error)
}

// pendingRetries is how often a datagram is sent again because of an error that
// may be an earlier one's. There may be many such in a row: each ICMP message
// brings one and, on Linux, brings it again as the reader takes those before it
// out of the error queue.
const pendingRetries = 16

func (s *sender) init(sock *socket) {
	s.sendmsg = syscall.SendmsgN
	s.fragmentation.init(sock.raw, sock.v6)
	s.gso.init(sock.raw)
	s.batches.init()
	s.sends.New = func() any {
		m := &send{socket: sock}
		m.try, m.wait = m.sendNow, m.sendWhenReady
		return m
	}
}

// method is how the datagrams of one write go out.
type method int

const (
	oneByOne  method = iota
	inBatches        // several in one call
	inRuns           // several as one, which the kernel cuts
)

// send is one call of write. The closures that RawConn wants, and the socket
// address that sendmsg wants in an interface, would be allocations: they are
// made once, and used again by the next call.
type send struct {
	socket *socket
	try    func(fd uintptr)
	wait   func(fd uintptr) bool

	Transmit
	method method
	sent   int // bytes of Data, in whole datagrams
	err    error

	to         syscall.Sockaddr // inet4 or inet6
	inet4      syscall.SockaddrInet4
	inet6      syscall.SockaddrInet6
	control    []byte // begins in space
	runControl []byte // the same, and more: for a run
	space      [controlSize]byte
	batch      *batch // for inBatches
}

func (s *socket) write(t Transmit, wait bool) (int, error) {
	m := s.sender.sends.Get().(*send)
	defer s.sender.sends.Put(m)
	m.Transmit, m.sent, m.err = t, 0, nil
	defer func() { m.Data = nil }() // the pool must not keep the caller's memory

	if err := m.address(); err != nil {
		return 0, err
	}
	m.plan()
	var err error
	if wait {
		err = s.raw.Write(m.wait)
	} else {
		err = s.raw.Control(m.try)
	}
	if err == nil {
		err = m.err
	}
	return m.sent, err
}

// address prepares the receiver's address, and the control messages with ours
// and the TTL.
func (m *send) address() error {
	remote := m.Remote.Addr()
	switch {
	case m.socket.v6:
		zone, err := m.socket.sender.zones.index(remote.Zone())
		if err != nil {
			return err
		}
		// As16 maps IPv4.
		m.inet6 = syscall.SockaddrInet6{Port: int(m.Remote.Port()), Addr: remote.As16(), ZoneId: zone}
		m.to = &m.inet6
	case remote.Is4():
		m.inet4 = syscall.SockaddrInet4{Port: int(m.Remote.Port()), Addr: remote.As4()}
		m.to = &m.inet4
	default:
		return &net.AddrError{Err: "IPv6 address on an IPv4 socket", Addr: remote.String()}
	}

	m.control = m.space[:0]
	if m.Local.IsValid() && m.Local != m.socket.bound {
		if m.Local.Is4() != remote.Is4() {
			return &net.AddrError{Err: "source address of another family than " + remote.String(), Addr: m.Local.String()}
		}
		m.control = appendSource(m.control, m.Local, m.socket.v6)
	}
	if m.TTL > 0 {
		m.control = appendTTL(m.control, m.TTL, remote.Is4())
	}
	return nil
}

// plan chooses the method: the fastest that there is. The kernel does not fragment
// the datagrams of a run.
func (m *send) plan() {
	s := &m.socket.sender
	switch {
	case m.Segment <= 0 || m.Segment >= len(m.Data):
		m.method = oneByOne
	case !m.Fragment && s.gso.works(m.Remote.Addr()):
		m.method = inRuns
		m.runControl = s.gso.appendSize(m.control, m.Segment)
	case s.batches.work():
		m.method = inBatches
	default:
		m.method = oneByOne
	}
}

// sendNow is called by RawConn.Control.
func (m *send) sendNow(fd uintptr) {
	f := &m.socket.sender.fragmentation
	if !f.tryBegin(int(fd), m.Fragment, m.Remote.Addr().Is4()) {
		m.err = ErrWouldBlock
		return
	}
	defer f.end(int(fd), m.Fragment, m.Remote.Addr().Is4())
	if !m.sendRest(int(fd)) {
		m.err = ErrWouldBlock
	}
}

// sendWhenReady is called by RawConn.Write, and again when the socket may have
// room, until it returns true. It leaves the lock while it waits.
func (m *send) sendWhenReady(fd uintptr) bool {
	f := &m.socket.sender.fragmentation
	f.begin(int(fd), m.Fragment, m.Remote.Addr().Is4())
	defer f.end(int(fd), m.Fragment, m.Remote.Addr().Is4())
	return m.sendRest(int(fd))
}

// sendRest sends what is not sent yet. It returns false if the socket's buffer
// is full; otherwise all is sent, or m.err says why not.
func (m *send) sendRest(fd int) bool {
	for retries := 0; ; {
		n, err := m.sendNext(fd)
		if err != nil && err != syscall.EAGAIN {
			m.socket.errors.mark()
		}
		switch {
		case err == nil:
			if retries > 0 {
				m.socket.stats.writeRetries.Add(1)
				retries = 0
			}
			if m.sent += n; m.sent == len(m.Data) {
				return true
			}
		case err == syscall.EAGAIN:
			return false
		case err == syscall.EINTR:
		case m.refused(err):
			m.method = oneByOne
		case isPendingError(err) && retries < pendingRetries:
			retries++
		default:
			m.err = os.NewSyscallError("sendmsg", err)
			return true
		}
	}
}

// refused takes an error, and reports whether it is due to the method.
func (m *send) refused(err error) bool {
	switch m.method {
	case inRuns:
		return m.socket.sender.gso.refuse(err, m.Remote.Addr())
	case inBatches:
		return m.socket.sender.batches.refuse(err)
	}
	return false
}

// sendNext makes the next system call, and returns how many bytes of Data it has
// sent.
func (m *send) sendNext(fd int) (n int, err error) {
	b, control := segment(m.Data, m.Segment, m.sent), m.control
	rest := m.Data[m.sent:]
	switch {
	case len(b) == len(rest):
		// It is the last.
	case m.method == inBatches:
		return m.sendBatch(fd)
	case m.method == inRuns:
		if n := m.socket.sender.gso.length(len(rest), m.Segment); n > len(b) {
			b, control = rest[:n], m.runControl
		}
	}
	// Package net's sockets do not block, unless someone took the descriptor
	// out by os.File.Fd, which also makes it blocking.
	_, err = m.socket.sender.sendmsg(fd, b, control, m.to, syscall.MSG_DONTWAIT)
	return len(b), err
}
