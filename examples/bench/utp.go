package main

import (
	"context"
	"net"

	"utppunch"
	"utppunch/utp"
)

// utpContestant is this library: one Transport at each end.
type utpContestant struct{ buffers buffers }

func (c utpContestant) transport(host string, toDial bool) (*utppunch.Transport, error) {
	socket, err := openUDP(host, toDial)
	if err != nil {
		return nil, err
	}
	t, err := utppunch.New(socket, &utppunch.Config{UTP: utp.Config{MaxDatagram: datagram(host)}})
	if err != nil {
		_ = socket.Close()
		return nil, err
	}
	// After New, which enlarges them.
	if err := c.buffers.apply(socket); err != nil {
		_ = t.Close()
		return nil, err
	}
	return t, nil
}

func (c utpContestant) listen(host string) (net.Listener, error) {
	t, err := c.transport(host, false)
	if err != nil {
		return nil, err
	}
	return t.Listen()
}

// dropped returns what a meter needs: a function that counts what the system has
// dropped at our port. For others it is nil.
func dropped(l net.Listener) func() uint64 {
	ours, ok := l.(*utppunch.Listener)
	if !ok {
		return nil
	}
	return func() uint64 { return ours.Transport().Stats().Overflows }
}

func (c utpContestant) open(host string) (dialer, error) {
	t, err := c.transport(host, true)
	if err != nil {
		return nil, err
	}
	return utpDialer{t}, nil
}

type utpDialer struct{ *utppunch.Transport }

func (d utpDialer) dial(ctx context.Context, address string) (net.Conn, error) {
	return d.DialContext(ctx, "utp", address)
}
