package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// quicContestant is quic-go, with one stream a connection, over one socket at
// each end. It encrypts: QUIC cannot do without.
type quicContestant struct{ buffers buffers }

const quicProtocol = "bench"

// quicConfig allows the windows that this library allows. 1452 bytes are quic-go's
// largest datagram.
var quicConfig = &quic.Config{
	InitialPacketSize:          1452,
	MaxStreamReceiveWindow:     16 << 20,
	MaxConnectionReceiveWindow: 24 << 20,
	KeepAlivePeriod:            10 * time.Second,
}

func (c quicContestant) listen(host string) (net.Listener, error) {
	cert, err := selfSigned()
	if err != nil {
		return nil, err
	}
	socket, err := openUDP(host, false)
	if err != nil {
		return nil, err
	}
	transport := &quic.Transport{Conn: socket}
	l, err := transport.Listen(&tls.Config{
		Certificates: []tls.Certificate{cert},
		NextProtos:   []string{quicProtocol},
	}, quicConfig)
	if err == nil {
		err = c.buffers.apply(socket) // after quic-go has enlarged them
	}
	if err != nil {
		_ = socket.Close()
		return nil, err
	}
	q := &quicListener{Listener: l, socket: socket, conns: make(chan net.Conn)}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	go q.accept()
	return q, nil
}

// selfSigned makes a certificate for the length of a run.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{quicProtocol},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func (c quicContestant) open(host string) (dialer, error) {
	socket, err := openUDP(host, true)
	if err != nil {
		return nil, err
	}
	return &quicDialer{transport: &quic.Transport{Conn: socket}, socket: socket, buffers: c.buffers}, nil
}

type quicDialer struct {
	transport *quic.Transport
	socket    *net.UDPConn
	buffers   buffers
}

func (d *quicDialer) dial(ctx context.Context, address string) (net.Conn, error) {
	server, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	// Both ends are this program; certificates are not what is measured.
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{quicProtocol}}
	c, err := d.transport.Dial(ctx, server, config, quicConfig)
	if err != nil {
		return nil, err
	}
	// quic-go enlarges them when it first dials.
	err = d.buffers.apply(d.socket)
	var stream *quic.Stream
	if err == nil {
		stream, err = c.OpenStreamSync(ctx)
	}
	if err != nil {
		_ = c.CloseWithError(0, "")
		return nil, err
	}
	return &quicConn{Stream: stream, conn: c}, nil
}

func (d *quicDialer) Close() error {
	_ = d.transport.Close()
	return d.socket.Close()
}

// quicListener accepts connections whose first stream the client has used.
type quicListener struct {
	*quic.Listener
	socket *net.UDPConn
	conns  chan net.Conn

	ctx       context.Context // ends with the listener
	cancel    context.CancelFunc
	closeOnce sync.Once
}

func (l *quicListener) accept() {
	for {
		c, err := l.Listener.Accept(l.ctx)
		if err != nil {
			return
		}
		go func() {
			stream, err := c.AcceptStream(l.ctx)
			if err != nil {
				return
			}
			select {
			case l.conns <- &quicConn{Stream: stream, conn: c}:
			case <-l.ctx.Done():
			}
		}()
	}
}

// Accept implements net.Listener.
func (l *quicListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Unlike others it ends the connections, too.
func (l *quicListener) Close() error {
	l.closeOnce.Do(func() {
		l.cancel()
		_ = l.Listener.Close()
		_ = l.socket.Close()
	})
	return nil
}

// quicConn is a connection with its only stream.
type quicConn struct {
	*quic.Stream
	conn *quic.Conn
}

// LocalAddr implements net.Conn.
func (c *quicConn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *quicConn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// Close implements net.Conn. What is not acknowledged is thrown away.
func (c *quicConn) Close() error { return c.conn.CloseWithError(0, "") }
