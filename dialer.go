package utppunch

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"utppunch/utp"
)

// Dialer connects to hosts by name or address. The zero value is ready for use:
// it dials over the Transport that the package's own Dial uses. Its methods are
// safe for concurrent use as long as the fields are not changed.
type Dialer struct {
	// Transport is the port to dial from. Nil: one that all such Dialers share,
	// opened when first needed.
	Transport *Transport

	// Timeout is the longest that a dial may take, names included; it then fails
	// with an error whose Timeout method says so. Zero or less: no limit but the
	// 30 s that an address is given to answer.
	Timeout time.Duration
}

// Dial is [DialContext] without a context.
func Dial(network, address string) (net.Conn, error) {
	return DialContext(context.Background(), network, address)
}

// DialContext connects to an address with a zero [Dialer]. It fits
// DialContext of http.Transport.
func DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return new(Dialer).DialContext(ctx, network, address)
}

// DialContext connects to an address from this port, like [Dialer.DialContext].
func (t *Transport) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return (&Dialer{Transport: t}).DialContext(ctx, network, address)
}

// DialAddr is [Dialer.DialContext] for the network "utp". It fits
// grpc.WithContextDialer.
func (d *Dialer) DialAddr(ctx context.Context, address string) (net.Conn, error) {
	return d.DialContext(ctx, "utp", address)
}

// DialContext connects to address, host:port, where the host is an IP address or
// a name. The networks are "utp", "utp4" and "utp6"; "tcp…" and "udp…" mean the
// same, so that it fits DialContext of http.Transport. The addresses of a name
// are tried in turn, each a little after the one before (RFC 8305).
//
// The connection is a [*utp.Conn]. Errors are *net.OpError around ECONNREFUSED,
// ETIMEDOUT, EADDRNOTAVAIL, net.ErrClosed, the error of ctx, or what resolving the
// name said. A connection that is established when ctx ends is returned.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	f, err := parseNetwork(network)
	if err != nil {
		return nil, opError("dial", nil, err)
	}
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	addrs, err := d.targets(ctx, f, address)
	if err != nil {
		return nil, opError("dial", nil, err)
	}
	return d.race(ctx, addrs)
}

// targets resolves an address to what this Dialer can reach.
func (d *Dialer) targets(ctx context.Context, f family, address string) ([]netip.AddrPort, error) {
	if d.Transport != nil {
		common, ok := f.both(d.Transport.family)
		if !ok {
			return nil, &net.AddrError{Err: "the transport has no such address family", Addr: address}
		}
		f = common
	}
	host, port, err := splitHostPort(ctx, address)
	if err != nil {
		return nil, err
	}
	if port == 0 {
		return nil, errNoPort
	}
	hosts, err := resolve(ctx, f, host)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.AddrPort, len(hosts))
	for i, a := range hosts {
		addrs[i] = netip.AddrPortFrom(a, port)
	}
	return addrs, nil
}

const (
	// attemptDelay is RFC 8305's Connection Attempt Delay.
	attemptDelay = 250 * time.Millisecond
	// loopbackDelay is that for the host itself, which would have answered.
	loopbackDelay = 10 * time.Millisecond
)

// race dials the addresses in turn and returns the first connection.
func (d *Dialer) race(ctx context.Context, addrs []netip.AddrPort) (net.Conn, error) {
	if len(addrs) == 1 {
		return d.dialOne(ctx, addrs[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	var firstErr error
	next, running := 0, 0
	start := time.NewTimer(0)
	defer start.Stop()
	for next < len(addrs) || running > 0 {
		select {
		case <-start.C:
			if next == len(addrs) {
				continue
			}
			a := addrs[next]
			next++
			running++
			go func() {
				c, err := d.dialOne(ctx, a)
				results <- result{c, err}
			}()
			delay := attemptDelay
			if a.Addr().IsLoopback() {
				delay = loopbackDelay
			}
			start.Reset(delay)
		case r := <-results:
			running--
			if r.err == nil {
				cancel()
				go func() {
					for ; running > 0; running-- {
						if late := <-results; late.conn != nil {
							_ = late.conn.Close()
						}
					}
				}()
				return r.conn, nil
			}
			if firstErr == nil {
				firstErr = r.err
			}
			start.Reset(0)
		}
	}
	return nil, firstErr
}

func (d *Dialer) dialOne(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	t := d.Transport
	if t == nil {
		var err error
		if t, err = sharedTransports.get(a.Addr()); err != nil {
			return nil, err
		}
	}
	c, err := t.endpoint.Dial(ctx, utp.Route{Remote: a})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// shared is the Transports of Dialers that have none, one a family.
type shared struct {
	mu     sync.Mutex
	v4, v6 *Transport
}

var sharedTransports shared

func (s *shared) get(a netip.Addr) (*Transport, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, network, address := &s.v6, "utp6", "[::]:0"
	if a.Is4() {
		slot, network, address = &s.v4, "utp4", "0.0.0.0:0"
	}
	// One whose socket has failed is replaced.
	if *slot == nil || (*slot).closing.Load() {
		t, err := Open(network, address, nil)
		if err != nil {
			return nil, err
		}
		*slot = t
	}
	return *slot, nil
}

// Shutdown ends the Transports that [Dial], [DialContext] and Dialers without a
// Transport share, as [Transport.Shutdown] does: call it before a program exits
// that has closed its connections, so that what they wrote is delivered. Later
// dials open new ones. When ctx ends first its error is returned, and the old ones
// still end with their last connection.
func Shutdown(ctx context.Context) error {
	s := &sharedTransports
	s.mu.Lock()
	v4, v6 := s.v4, s.v6
	s.v4, s.v6 = nil, nil
	s.mu.Unlock()
	errs := make(chan error, 2)
	for _, t := range []*Transport{v4, v6} {
		go func() { errs <- t.shutdownOrLeave(ctx) }()
	}
	return errors.Join(<-errs, <-errs)
}

// shutdownOrLeave is Shutdown that goes on in the background when ctx ends. A nil
// Transport is done.
func (t *Transport) shutdownOrLeave(ctx context.Context) error {
	if t == nil {
		return nil
	}
	err := t.Shutdown(ctx)
	if err != nil && !errors.Is(err, utp.ErrUndelivered) {
		go func() { _ = t.Shutdown(context.Background()) }()
	}
	return err
}
