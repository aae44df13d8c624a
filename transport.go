// Package utppunch is a peer-to-peer transport: one UDP port is a [net.Listener]
// and a DialContext, both at once, and its connections are [net.Conn]s, so that
// net/http, crypto/tls, SSH and everything else written against package net run
// on it unchanged. On the wire it is uTP (BEP 29), the transport of BitTorrent.
//
// The shortest way is like package net:
//
//	l, err := utppunch.Listen("utp", ":8080")
//	http.Serve(l, handler)
//
//	client := http.Client{Transport: &http.Transport{DialContext: utppunch.DialContext}}
//
// A [Transport] gives one port for both, and control over its end. Close of a
// connection does not block: what was written is delivered in the background. A
// program that is about to exit waits for that with [Transport.Shutdown], or, if
// it dials with the functions of this package, with [Shutdown].
//
// uTP does not encrypt. Use crypto/tls on top, as over TCP.
package utppunch

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"utppunch/internal/udp"
	"utppunch/utp"
)

// Config is the configuration of a [Transport]. Nil or the zero value is right
// for most programs. It is copied where it is passed and never changed.
type Config struct {
	// UTP is the configuration of the connections.
	UTP utp.Config

	// Logger is told when the socket fails, which ends the Transport, and of a
	// receive buffer that the system keeps small. Nil: silent, but for one warning a
	// process of the latter, to [slog.Default].
	Logger *slog.Logger
}

// validate reports the first field whose value cannot be used.
func (c *Config) validate() error {
	if c == nil {
		return nil
	}
	return c.UTP.Validate()
}

// Transport owns one UDP port and everything that goes on there: at most one
// [Listener], any number of connections in both directions, and datagrams of
// other protocols ([Transport.PacketConn]). All methods are safe for concurrent
// use.
type Transport struct {
	// immutable
	conn     *udp.Conn
	family   family
	endpoint *utp.Endpoint
	logger   *slog.Logger
	foreign  *foreign
	tasks    sync.WaitGroup // the reader and the sender

	closing   atomic.Bool
	closeOnce sync.Once
	closeErr  error
}

// Open opens a UDP port and returns its Transport. The networks are "utp", for
// IPv4 and IPv6, "utp4" and "utp6"; "tcp…" and "udp…" mean the same. The address
// is host:port; without a host the port is open on all addresses, and port 0 is
// one that the system chooses, which [Transport.Addr] tells. An unknown network, a
// bad address or a bad configuration is an error at once, as is a port in use
// (EADDRINUSE).
func Open(network, address string, config *Config) (*Transport, error) {
	f, err := parseNetwork(network)
	if err != nil {
		return nil, opError("listen", nil, err)
	}
	if _, _, err := splitHostPort(context.Background(), address); err != nil {
		return nil, opError("listen", nil, err)
	}
	if err := config.validate(); err != nil {
		return nil, opError("listen", nil, err)
	}
	conn, err := udp.Listen(f.udpNetwork(), address)
	if err != nil {
		return nil, opError("listen", nil, err)
	}
	return start(conn, f, config)
}

// New returns a Transport on a socket that is open already: any net.PacketConn;
// a *net.UDPConn is used in full. The Transport owns it from then on: nobody else
// may read from it, and Close closes it. If New fails it is left alone. A nil or
// closed pc is an error.
func New(pc net.PacketConn, config *Config) (*Transport, error) {
	if err := config.validate(); err != nil {
		return nil, opError("listen", nil, err)
	}
	conn, err := udp.New(pc)
	if err != nil {
		return nil, opError("listen", nil, err)
	}
	return start(conn, anyFamily, config)
}

func start(conn *udp.Conn, f family, config *Config) (*Transport, error) {
	if config == nil {
		config = new(Config)
	}
	t := &Transport{conn: conn, logger: config.Logger}
	t.family, _ = f.both(boundFamily(conn.LocalAddr()))
	endpoint, err := utp.NewEndpoint(&config.UTP, (*packetWriter)(t), conn.LocalAddr)
	if err != nil {
		return nil, opError("listen", t.Addr(), err)
	}
	t.endpoint = endpoint
	conn.OnUnreachable(func(remote netip.AddrPort, quoted []byte) {
		endpoint.Unreachable(utp.Route{Remote: remote}, quoted)
	})
	t.checkBuffer()
	t.foreign = newForeign(t)
	t.tasks.Go(t.read)
	t.tasks.Go(endpoint.Run)
	return t, nil
}

// smallBuffer is the receive buffer, in bytes as the system reports it, below which
// it is worth a word: fast senders will overrun it.
const smallBuffer = 2 << 20

var warnOfBuffer sync.Once

// checkBuffer warns when the system has capped the receive buffer.
func (t *Transport) checkBuffer() {
	size, _ := t.conn.Buffers()
	if size == 0 || size >= smallBuffer {
		return
	}
	warn := func(l *slog.Logger) {
		l.Warn("utppunch: the system keeps the receive buffer small, which costs throughput; on Linux: sysctl -w net.core.rmem_max=8388608",
			"bytes", size)
	}
	if t.logger != nil {
		warn(t.logger)
	} else {
		warnOfBuffer.Do(func() { warn(slog.Default()) })
	}
}

// boundFamily is which addresses can be reached from a socket.
func boundFamily(a net.Addr) family {
	ap, ok := a.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return anyFamily
	}
	switch ip := ap.AddrPort().Addr(); {
	case ip.Is4() || ip.Is4In6():
		return ipv4Only
	case ip.Is6() && !ip.IsUnspecified():
		return ipv6Only
	default:
		return anyFamily
	}
}

// packetWriter is the Transport as the endpoint sees it.
type packetWriter Transport

// TryWrite implements utp.PacketWriter.
func (w *packetWriter) TryWrite(d utp.Datagrams) (int, error) {
	t := transmit(d)
	return sendResult(w.conn.TryWrite(&t))
}

// Write implements utp.PacketWriter.
func (w *packetWriter) Write(d utp.Datagrams) (int, error) {
	t := transmit(d)
	return sendResult(w.conn.Write(&t))
}

func transmit(d utp.Datagrams) udp.Transmit {
	return udp.Transmit{
		Data:     d.Data,
		Segment:  d.Segment,
		Remote:   d.Route.Remote,
		Local:    d.Route.Local,
		Fragment: d.Fragment,
	}
}

func sendResult(n int, err error) (int, error) {
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, udp.ErrWouldBlock):
		return n, utp.ErrWouldBlock
	case errors.Is(err, udp.ErrTooBig):
		return n, utp.ErrTooBig
	default:
		return n, err
	}
}

// readBatch is the number of datagrams, or runs of them, that are read at once.
const readBatch = 16

// read hands out what arrives until the socket is closed.
func (t *Transport) read() {
	r := t.endpoint.NewReceiver()
	batch := make([]udp.Datagram, readBatch)
	for {
		n, err := t.conn.Read(batch)
		if err != nil {
			if !t.closing.Load() {
				if t.logger != nil {
					t.logger.Error("utppunch: the socket failed", "addr", t.conn.LocalAddr(), "err", err)
				}
				go t.Close()
			}
			return
		}
		r.Begin()
		for i := range batch[:n] {
			t.receive(r, &batch[i])
		}
		r.End()
	}
}

// receive classifies each datagram of a run by itself: the system joins what
// comes from one sender, of whatever protocol.
func (t *Transport) receive(r *utp.Receiver, d *udp.Datagram) {
	route := utp.Route{Remote: d.Remote, Local: d.Local}
	segment := d.Segment
	if segment == 0 {
		segment = max(1, len(d.Data))
	}
	for data := d.Data; ; {
		n := min(segment, len(data))
		if !r.Packet(route, data[:n]) {
			t.foreign.deliver(data[:n], d.Remote)
		}
		if data = data[n:]; len(data) == 0 {
			return
		}
	}
}

// Addr returns the local address, as an *[utp.Addr].
func (t *Transport) Addr() net.Addr { return localAddr(t.conn.LocalAddr()) }

func localAddr(a net.Addr) net.Addr {
	if ap, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return utp.NewAddr(ap.AddrPort())
	}
	return a
}

// SyscallConn gives access to the socket, to set options. It is an error on a
// Transport whose PacketConn has none. Reading from the socket steals packets.
func (t *Transport) SyscallConn() (syscall.RawConn, error) { return t.conn.SyscallConn() }

// Stats are the counters of a [Transport]; those of a connection are
// [utp.Conn.Stats].
type Stats struct {
	utp.EndpointStats
	Foreign        uint64 // datagrams that are not uTP and were kept for PacketConn
	ForeignDropped uint64 // those that were not: nobody asked, or too many waited
	SoftErrors     uint64 // errors of the socket that were survived
	Overflows      uint64 // datagrams, or runs of them, that the system dropped for want of buffer
}

// Stats returns a snapshot of the counters.
func (t *Transport) Stats() Stats {
	s := t.conn.Stats()
	kept, dropped := t.foreign.counts()
	return Stats{
		EndpointStats:  t.endpoint.Stats(),
		Foreign:        kept,
		ForeignDropped: dropped,
		SoftErrors:     s.ReadErrors + s.WriteRetries,
		Overflows:      s.Overflows,
	}
}

// Shutdown ends the Transport gracefully: it stops listening and dialling, waits
// until every connection has ended and all that was written is delivered, and
// closes the port. Connections that the program has not closed are waited for.
// When ctx ends first its error is returned and the Transport goes on; Close ends
// it. An error that matches [utp.ErrUndelivered] says that the Transport has ended,
// but not all that was written has arrived; what was lost before Shutdown was
// called is in [Stats] only.
func (t *Transport) Shutdown(ctx context.Context) error {
	err := t.endpoint.Shutdown(ctx)
	if err != nil && err != utp.ErrUndelivered {
		return opError("shutdown", t.Addr(), err)
	}
	if closeErr := t.Close(); closeErr != nil {
		return closeErr
	}
	if err != nil {
		return opError("shutdown", t.Addr(), err)
	}
	return nil
}

// Close ends the Transport now: every connection is reset, blocked calls return
// with net.ErrClosed, and the port is free when it returns. See Shutdown for a
// gentle end. A second Close does nothing.
func (t *Transport) Close() error {
	t.closeOnce.Do(func() {
		t.closing.Store(true)
		t.endpoint.Close()
		t.foreign.shut()
		if err := t.conn.Close(); err != nil {
			t.closeErr = opError("close", t.Addr(), err)
		}
		t.tasks.Wait()
	})
	return t.closeErr
}
