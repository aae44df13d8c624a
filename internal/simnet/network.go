package simnet

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// firstEphemeral is where the search for a free port begins: the dynamic range of RFC 6335, section 6.
const firstEphemeral = 49152

// Network joins the Conns that listen on it. Its methods may be called from several goroutines at once.
type Network struct {
	// Immutable after New.
	seed  uint64
	start time.Time // all other instants are durations since then

	filter atomic.Pointer[func(Packet) Verdict]

	// mu guards what follows, and the links of every Conn. It is taken before Conn.mu, and no foreign code runs and
	// nobody waits under it.
	mu       sync.Mutex
	closed   bool
	conns    map[netip.AddrPort]*Conn
	lastPort uint16 // handed out for port 0
	pending  schedule
	log      logRing

	timer *time.Timer   // calls runTimer; nil until first needed
	armed bool          // the timer will fire, at
	wake  time.Duration // this time
}

// New returns a network without anybody on it. The same seed, with the same traffic, leads to the same losses, delays
// and order.
func New(seed uint64) *Network {
	return &Network{
		seed:     seed,
		start:    time.Now(),
		conns:    make(map[netip.AddrPort]*Conn),
		lastPort: firstEphemeral - 1,
	}
}

// Listen returns a Conn bound to addr, whose datagrams leave over the link up and arrive over the link down. The
// address must be a concrete one; IPv4 in IPv6 form means the IPv4 address. Port 0 picks a free port. An address in use
// is EADDRINUSE, as it is for package net.
func (n *Network) Listen(addr netip.AddrPort, up, down Link) (*Conn, error) {
	addr = unmap(addr)
	c, err := n.listen(addr, up, down)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(addr), Err: err}
	}
	return c, nil
}

func (n *Network) listen(addr netip.AddrPort, upLink, downLink Link) (*Conn, error) {
	if !addr.IsValid() || addr.Addr().IsUnspecified() || addr.Addr().IsMulticast() {
		return nil, errors.New("simnet: not the address of a host")
	}
	if err := errors.Join(upLink.check(), downLink.check()); err != nil {
		return nil, err
	}

	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, net.ErrClosed
	}
	if addr.Port() == 0 {
		addr = n.freePortLocked(addr.Addr())
	}
	if addr.Port() == 0 || n.conns[addr] != nil {
		return nil, os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	c := newConn(n, addr, newLink(upLink, n.seed, addr, up), newLink(downLink, n.seed, addr, down))
	n.conns[addr] = c
	return c, nil
}

// freePortLocked returns host with a port that nobody listens on, or with port 0 if there is none. Ports are handed out
// in turn: were the latest one to be closed the next to be opened, late datagrams would reach the wrong Conn.
func (n *Network) freePortLocked(host netip.Addr) netip.AddrPort {
	const ports = 1<<16 - firstEphemeral
	for range ports {
		n.lastPort++
		if n.lastPort < firstEphemeral {
			n.lastPort = firstEphemeral
		}
		addr := netip.AddrPortFrom(host, n.lastPort)
		if n.conns[addr] == nil {
			return addr
		}
	}
	return netip.AddrPortFrom(host, 0)
}

// Close closes every Conn and forgets what is on its way. It leaves no timer behind; a second Close does nothing.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, c := range n.conns {
		c.shut()
	}
	clear(n.conns)
	n.pending = schedule{}
	if n.timer != nil {
		n.timer.Stop()
	}
	return nil
}

// remove makes c's address free again.
func (n *Network) remove(c *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns[c.addr] == c {
		delete(n.conns, c.addr)
	}
}

// send puts b on its way from c. If nothing delays it, it has arrived when send returns.
func (n *Network) send(c *Conn, to netip.AddrPort, b []byte) {
	verdict := n.judge(Packet{From: c.addr, To: to, Data: b})

	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	now := time.Since(n.start)
	d := datagram{from: c.addr, to: to, sent: now, data: bytes.Clone(b)}
	switch verdict {
	case Drop:
		n.log.add(d, now, Filtered)
		return
	case Duplicate:
		n.crossLocked(&c.up, d, now, atCore)
		n.crossLocked(&c.up, d, now, atCore)
	default:
		n.crossLocked(&c.up, d, now, atCore)
	}
	n.runLocked(now)
}

// crossLocked takes d over l to the next hop.
func (n *Network) crossLocked(l *link, d datagram, now time.Duration, next hop) {
	left, fate := l.send(now, len(d.data))
	if fate != inFlight {
		n.log.add(d, now, fate)
		return
	}
	n.pending.add(left+l.delay(), next, d)
	if l.chance(l.Duplicate) {
		n.pending.add(left+l.delay(), next, d)
	}
}

// runLocked handles what is due by now, each event as of its own time: in real time a late timer then delays a
// datagram, but neither reorders it nor costs the next link bandwidth. Then it arms the timer for what comes next.
func (n *Network) runLocked(now time.Duration) {
	for e := n.pending.due(now); e != nil; e = n.pending.due(now) {
		n.arriveLocked(e)
	}

	at, ok := n.pending.first()
	if !ok || n.armed && n.wake == at {
		return
	}
	n.armed, n.wake = true, at
	if n.timer == nil {
		n.timer = time.AfterFunc(at-now, n.runTimer)
	} else {
		n.timer.Reset(at - now)
	}
}

func (n *Network) runTimer() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.armed = false
	n.runLocked(time.Since(n.start))
}

// arriveLocked takes e's datagram on from the hop that it has reached.
func (n *Network) arriveLocked(e *event) {
	c := n.conns[e.to]
	switch {
	case c == nil:
		n.log.add(e.datagram, e.at, NoReceiver)
	case e.next == atCore:
		n.crossLocked(&c.down, e.datagram, e.at, atConn)
	case c.deliver(e.from, e.data):
		n.log.add(e.datagram, e.at, Delivered)
	default:
		n.log.add(e.datagram, e.at, Overflow)
	}
}

// unmap returns addr with an IPv4 address in its plain form, so that each host has one name.
func unmap(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
