package utppunch

import (
	"context"
	"net"

	"utppunch/utp"
)

// Listener accepts connections on the port of a [Transport]. It implements
// [net.Listener]; all methods are safe for concurrent use.
type Listener struct {
	*utp.Listener
	transport *Transport
	owned     bool // the Transport ends with the Listener
}

// Listen opens a port and listens on it; see [Open] for networks, addresses and
// errors. When the Listener is closed the port stays open for the connections
// that it accepted, until the last of them has ended; a program that exits before
// waits for that with [Listener.Transport] and [Transport.Shutdown].
func Listen(network, address string) (*Listener, error) {
	t, err := Open(network, address, nil)
	if err != nil {
		return nil, err
	}
	l, err := t.Listen()
	if err != nil {
		_ = t.Close()
		return nil, err
	}
	l.owned = true
	return l, nil
}

// Listen starts accepting the connections that others open to this port. There
// is at most one Listener at a time: a second Listen fails with an error that
// matches [utp.ErrListening]. After the Listener was closed one can listen again.
func (t *Transport) Listen() (*Listener, error) {
	l, err := t.endpoint.Listen()
	if err != nil {
		return nil, err
	}
	return &Listener{Listener: l, transport: t}, nil
}

// Transport returns the Transport whose port the Listener is on: to dial from the
// same port, and to end the one that [Listen] opened with [Transport.Shutdown].
func (l *Listener) Transport() *Transport { return l.transport }

// Close stops listening. Connections that were accepted go on; those that wait
// for Accept are reset.
func (l *Listener) Close() error {
	err := l.Listener.Close()
	if err != nil || !l.owned {
		return err
	}
	if l.transport.Stats().Conns == 0 {
		return l.transport.Close()
	}
	go func() { _ = l.transport.Shutdown(context.Background()) }()
	return nil
}

var _ net.Listener = (*Listener)(nil)
