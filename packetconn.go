package utppunch

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"utppunch/internal/udp"
)

// maxForeign bounds the datagrams that wait for ReadFrom; further ones are
// dropped, as a full socket buffer drops them.
const maxForeign = 256

// foreign is the net.PacketConn of what is not uTP.
type foreign struct {
	transport *Transport
	queue     chan foreignDatagram
	wanted    atomic.Bool // PacketConn was called
	kept      atomic.Uint64
	dropped   atomic.Uint64

	mu sync.Mutex
	// guarded by mu
	closed   chan struct{} // closed by shut
	isClosed bool
	timer    *time.Timer
	expired  chan struct{} // closed when the read deadline has passed
}

type foreignDatagram struct {
	data   []byte
	remote netip.AddrPort
}

func newForeign(t *Transport) *foreign {
	return &foreign{
		transport: t,
		queue:     make(chan foreignDatagram, maxForeign),
		closed:    make(chan struct{}),
		expired:   make(chan struct{}),
	}
}

// PacketConn returns the port as a net.PacketConn for other protocols: ReadFrom
// gives the datagrams that are not uTP, from the first call of PacketConn on, and
// WriteTo sends any datagram. At most 256 wait to be read; further ones are
// dropped. Its Close ends a blocked ReadFrom, for good, and nothing else: the port
// belongs to the Transport. Every call returns the same one.
func (t *Transport) PacketConn() net.PacketConn {
	f := t.foreign
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted.Store(!f.isClosed)
	return f
}

// deliver takes a datagram from the reader, which goes on using b.
func (f *foreign) deliver(b []byte, remote netip.AddrPort) {
	if f.wanted.Load() {
		select {
		case f.queue <- foreignDatagram{append([]byte(nil), b...), remote}:
			f.kept.Add(1)
			return
		default:
		}
	}
	f.dropped.Add(1)
}

func (f *foreign) counts() (kept, dropped uint64) { return f.kept.Load(), f.dropped.Load() }

// ReadFrom implements net.PacketConn. The address is a *net.UDPAddr. A datagram
// that is longer than b is cut.
func (f *foreign) ReadFrom(b []byte) (int, net.Addr, error) {
	f.mu.Lock()
	expired := f.expired
	f.mu.Unlock()
	select {
	case <-f.closed:
		return 0, nil, f.opError("read", nil, net.ErrClosed)
	case <-expired:
		return 0, nil, f.opError("read", nil, os.ErrDeadlineExceeded)
	default:
	}
	select {
	case d := <-f.queue:
		return copy(b, d.data), net.UDPAddrFromAddrPort(d.remote), nil
	case <-f.closed:
		return 0, nil, f.opError("read", nil, net.ErrClosed)
	case <-expired:
		return 0, nil, f.opError("read", nil, os.ErrDeadlineExceeded)
	}
}

// WriteTo implements net.PacketConn. The address is a *net.UDPAddr or anything
// else with an AddrPort method. It waits for room in the socket's buffer; write
// deadlines are not supported.
func (f *foreign) WriteTo(b []byte, addr net.Addr) (int, error) {
	select {
	case <-f.closed:
		return 0, f.opError("write", addr, net.ErrClosed)
	default:
	}
	ap, ok := addr.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return 0, f.opError("write", addr, net.InvalidAddrError("not a UDP address"))
	}
	to := netip.AddrPortFrom(ap.AddrPort().Addr().Unmap(), ap.AddrPort().Port())
	n, err := f.transport.conn.Write(&udp.Transmit{Data: b, Remote: to, Fragment: true})
	if err != nil {
		return n, f.opError("write", addr, err)
	}
	return n, nil
}

func (f *foreign) opError(op string, addr net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: f.LocalAddr(), Addr: addr, Err: err}
}

// LocalAddr implements net.PacketConn.
func (f *foreign) LocalAddr() net.Addr { return f.transport.conn.LocalAddr() }

// SetDeadline implements net.PacketConn; only reading has a deadline.
func (f *foreign) SetDeadline(t time.Time) error { return f.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn and is not supported, but to clear
// the deadline.
func (f *foreign) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		return nil
	}
	return f.opError("set", nil, os.ErrNoDeadline)
}

// SetReadDeadline implements net.PacketConn.
func (f *foreign) SetReadDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isClosed {
		return f.opError("set", nil, net.ErrClosed)
	}
	fired := f.timer != nil && !f.timer.Stop()
	f.timer = nil
	select {
	case <-f.expired:
		fired = true
	default:
	}
	if fired {
		// The channel is closed, or will be in a moment.
		f.expired = make(chan struct{})
	}
	if t.IsZero() {
		return nil
	}
	expired := f.expired
	if d := time.Until(t); d > 0 {
		f.timer = time.AfterFunc(d, func() { close(expired) })
	} else {
		close(expired)
	}
	return nil
}

// Close implements net.PacketConn.
func (f *foreign) Close() error {
	if !f.shut() {
		return f.opError("close", nil, net.ErrClosed)
	}
	return nil
}

// shut reports false if it was done before.
func (f *foreign) shut() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isClosed {
		return false
	}
	f.isClosed = true
	f.wanted.Store(false)
	if f.timer != nil {
		f.timer.Stop()
	}
	close(f.closed)
	return true
}
