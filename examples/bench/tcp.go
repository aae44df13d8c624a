package main

import (
	"context"
	"net"
)

// tcpContestant is the TCP of the system.
type tcpContestant struct{}

func (tcpContestant) listen(host string) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(host, "0"))
}

func (tcpContestant) open(string) (dialer, error) { return tcpDialer{}, nil }

type tcpDialer struct{}

func (tcpDialer) dial(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

func (tcpDialer) Close() error { return nil }
