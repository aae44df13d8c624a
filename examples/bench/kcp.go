package main

import (
	"context"
	"errors"
	"net"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/smux"
)

// kcpContestant is kcp-go with smux, as people use it: one session and one
// stream a connection, no encryption, no FEC.
type kcpContestant struct{ buffers buffers }

// kcpWindow is the window in packets, both ways: 11 MiB.
const kcpWindow = 8192

// tuneKCP sets what kcp-go calls turbo mode: no delayed acknowledgements, a tick
// of 10 ms, fast retransmission, no congestion control.
func tuneKCP(s *kcp.UDPSession, host string) error {
	s.SetNoDelay(1, 10, 2, 1)
	s.SetWindowSize(kcpWindow, kcpWindow)
	//lint:ignore SA1019 there is no other way to it, and messages would waste space
	s.SetStreamMode(true)
	s.SetWriteDelay(false)
	if !s.SetMtu(datagram(host)) {
		return errors.New("kcp-go refuses the MTU")
	}
	return nil
}

func smuxConfig() *smux.Config {
	config := smux.DefaultConfig()
	config.Version = 2 // windows a stream
	config.MaxReceiveBuffer = 16 << 20
	config.MaxStreamBuffer = 16 << 20
	return config
}

func (c kcpContestant) listen(host string) (net.Listener, error) {
	l, err := kcp.ListenWithOptions(net.JoinHostPort(host, "0"), nil, 0, 0)
	if err != nil {
		return nil, err
	}
	if err := c.buffers.enlarge(l); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &kcpListener{Listener: l, host: host}, nil
}

func (c kcpContestant) open(host string) (dialer, error) { return kcpDialer{host, c.buffers}, nil }

type kcpDialer struct {
	host    string
	buffers buffers
}

func (d kcpDialer) dial(_ context.Context, address string) (net.Conn, error) {
	s, err := kcp.DialWithOptions(address, nil, 0, 0)
	if err != nil {
		return nil, err
	}
	err = d.buffers.enlarge(s)
	if err == nil {
		err = tuneKCP(s, d.host)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	mux, err := smux.Client(s, smuxConfig())
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	stream, err := mux.OpenStream()
	if err != nil {
		return nil, errors.Join(err, mux.Close())
	}
	return &kcpConn{Stream: stream, mux: mux}, nil
}

func (kcpDialer) Close() error { return nil }

type kcpListener struct {
	*kcp.Listener
	host string
}

// Accept implements net.Listener. It waits for the stream of one connection
// before it turns to the next, which is right for clients that open it at once.
func (l *kcpListener) Accept() (net.Conn, error) {
	s, err := l.AcceptKCP()
	if err != nil {
		return nil, err
	}
	if err := tuneKCP(s, l.host); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	mux, err := smux.Server(s, smuxConfig())
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	stream, err := mux.AcceptStream()
	if err != nil {
		return nil, errors.Join(err, mux.Close())
	}
	return &kcpConn{Stream: stream, mux: mux}, nil
}

// kcpConn is a session with its only stream.
type kcpConn struct {
	*smux.Stream
	mux *smux.Session
}

// Close implements net.Conn.
func (c *kcpConn) Close() error { return c.mux.Close() }
