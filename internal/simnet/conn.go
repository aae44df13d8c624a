package simnet

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

const (
	// receiveBuffer is how many bytes may wait to be read, as counted by deliver.
	receiveBuffer = 4 << 20
	// datagramOverhead is charged for each datagram beside its payload, as a kernel charges for its bookkeeping:
	// empty datagrams are bounded, too.
	datagramOverhead = 128
)

// Conn is one address on a Network. It implements [net.PacketConn], with errors as a *net.UDPConn returns them.
type Conn struct {
	// Immutable after Listen.
	network *Network
	addr    netip.AddrPort
	local   *net.UDPAddr

	// Guarded by Network.mu.
	up, down link

	// mu guards what follows. It is a leaf: nothing else is taken under it.
	mu            sync.Mutex
	readable      sync.Cond // signalled when ReadFrom has something new to look at
	queue         []received
	queued        int // bytes in queue, overhead included
	overflows     uint64
	closed        bool
	readDeadline  deadline
	writeDeadline time.Time
}

var _ net.PacketConn = (*Conn)(nil)

// received is a datagram that waits to be read.
type received struct {
	from netip.AddrPort
	data []byte
}

func newConn(n *Network, addr netip.AddrPort, up, down link) *Conn {
	c := &Conn{
		network: n,
		addr:    addr,
		local:   net.UDPAddrFromAddrPort(addr),
		up:      up,
		down:    down,
	}
	c.readable.L = &c.mu
	return c
}

// deliver queues a datagram for ReadFrom and reports whether there was room.
func (c *Conn) deliver(from netip.AddrPort, data []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queued+len(data)+datagramOverhead > receiveBuffer {
		c.overflows++
		return false
	}
	c.queue = append(c.queue, received{from, data})
	c.queued += len(data) + datagramOverhead
	c.readable.Signal()
	return true
}

// ReadFrom waits for a datagram, copies it into b and returns its length and its sender, a *net.UDPAddr. What does not
// fit into b is lost. A deadline that has passed comes before a datagram that is there.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	d, err := c.next()
	if err != nil {
		return 0, nil, c.opError("read", nil, err)
	}
	return copy(b, d.data), net.UDPAddrFromAddrPort(d.from), nil
}

// next waits for a datagram and takes it from the queue.
func (c *Conn) next() (received, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return received{}, net.ErrClosed
		case c.readDeadline.passed:
			return received{}, os.ErrDeadlineExceeded
		case len(c.queue) > 0:
			d := c.queue[0]
			c.queue[0] = received{} // lets the datagram be collected
			c.queue = c.queue[1:]
			c.queued -= len(d.data) + datagramOverhead
			return d, nil
		}
		c.readable.Wait()
	}
}

// WriteTo sends b to addr, a *net.UDPAddr or any other address with a method AddrPort. It never blocks and, as with
// UDP, succeeds whether or not somebody listens there.
func (c *Conn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, err := c.destination(addr)
	if err == nil {
		err = c.mayWrite()
	}
	if err != nil {
		return 0, c.opError("write", addr, err)
	}
	c.network.send(c, to, b)
	return len(b), nil
}

// destination returns what addr means, in c's own address family.
func (c *Conn) destination(addr net.Addr) (netip.AddrPort, error) {
	a, ok := addr.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.AddrPort{}, &net.AddrError{Err: "not a UDP address"}
	}
	to := unmap(a.AddrPort())
	switch {
	case !to.IsValid():
		return to, &net.AddrError{Err: "missing address"}
	case to.Addr().Is4() != c.addr.Addr().Is4():
		return to, &net.AddrError{Err: "address of another family", Addr: to.String()}
	}
	return to, nil
}

func (c *Conn) mayWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case !c.writeDeadline.IsZero() && time.Until(c.writeDeadline) <= 0:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Close unblocks ReadFrom and frees the address at once. Datagrams that have been sent still arrive.
func (c *Conn) Close() error {
	c.network.remove(c)
	if !c.shut() {
		return c.opError("close", nil, net.ErrClosed)
	}
	return nil
}

// shut ends all reading and writing; it reports whether it was the first to do so.
func (c *Conn) shut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.closed = true
	c.queue, c.queued = nil, 0
	c.readDeadline.stop()
	c.readable.Broadcast()
	return true
}

// LocalAddr returns the address that c is bound to, a *net.UDPAddr.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// Overflows returns how many datagrams were dropped because they were not read in time.
func (c *Conn) Overflows() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.overflows
}

// opError wraps err as package net does. addr is the peer's, if there is one.
func (c *Conn) opError(op string, addr net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.local, Addr: addr, Err: err}
}
