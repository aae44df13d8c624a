package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"time"

	"utppunch"
)

// demoLimit is how long the demonstration may take before it counts as hung.
const demoLimit = 5 * time.Minute

// demo is everything once: two servers and a client, each with a UDP port of its
// own, in one process.
func demo(ctx context.Context, stdout io.Writer) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, demoLimit, errors.New("the demonstration hangs"))
	defer cancel()
	t := &tour{stdout: stdout, held: make(chan struct{}), release: make(chan struct{})}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { t.dialled.add(info.Conn) },
	})
	defer func() { err = errors.Join(err, t.cleanUp()) }()
	if err := t.prepare(); err != nil {
		return err
	}
	t.say("serving %s", t.dir)
	t.say("at %s and %s", t.plain.url, t.secure.url)
	start := time.Now()
	if err := t.walk(ctx, t.manySmall, t.oneLarge, t.aRange, t.encrypted); err != nil {
		return err
	}
	took := time.Since(start)
	if err := t.walk(ctx, t.wrongPin, t.shutdowns); err != nil {
		return err
	}
	t.client.CloseIdleConnections()
	if err := t.transport.Shutdown(ctx); err != nil {
		return err
	}
	t.say("in all %s", rate(t.received, took))
	t.say("client:  %s", t.dialled.summary())
	t.say("servers: %s", t.accepted.summary())
	return nil
}

// prepare makes the files, the servers and the client.
func (t *tour) prepare() (err error) {
	if t.dir, err = os.MkdirTemp("", "http-over-utp-"); err != nil {
		return err
	}
	if t.files, err = makeFiles(t.dir); err != nil {
		return err
	}
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	if err := t.plain.open("http", &http.Server{Handler: t.handler(), ConnContext: t.accept}); err != nil {
		return err
	}
	if err := t.secure.open("https", &http.Server{
		Handler:     t.handler(),
		ConnContext: t.accept,
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{cert}},
		ErrorLog:    log.New(io.Discard, "", 0), // it would tell of the client in wrongPin
	}); err != nil {
		return err
	}
	if t.transport, err = utppunch.Open("utp4", "127.0.0.1:0", nil); err != nil {
		return err
	}
	config, err := pinned(fingerprint(cert.Leaf))
	if err != nil {
		return err
	}
	t.client = newClient(t.transport, config)
	return nil
}

// cleanUp takes away what is left, after a failure also of what is under way.
func (t *tour) cleanUp() error {
	for _, transport := range []*utppunch.Transport{t.plain.transport, t.secure.transport, t.transport} {
		if transport != nil {
			_ = transport.Close()
		}
	}
	return os.RemoveAll(t.dir)
}

// walk goes through steps until one fails.
func (t *tour) walk(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			if ctx.Err() != nil {
				err = errors.Join(context.Cause(ctx), err)
			}
			return err
		}
	}
	return nil
}

// end is one server on a port of its own.
type end struct {
	server    *http.Server
	transport *utppunch.Transport
	url       string
	ended     chan error // what Serve returned
}

// open starts a server on a free port.
func (e *end) open(scheme string, server *http.Server) error {
	transport, err := utppunch.Open("utp4", "127.0.0.1:0", nil)
	if err != nil {
		return err
	}
	listener, err := transport.Listen()
	if err != nil {
		return errors.Join(err, transport.Close())
	}
	*e = end{server, transport, fmt.Sprintf("%s://%s", scheme, listener.Addr()), make(chan error, 1)}
	go func() { e.ended <- serveOn(listener, server) }()
	return nil
}

// close shuts the server and its port down.
func (e *end) close() error {
	err := shutdown(e.server, e.transport)
	if ended := <-e.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// accept is Server.ConnContext, which sees every connection.
func (t *tour) accept(ctx context.Context, c net.Conn) context.Context {
	t.accepted.add(c)
	return ctx
}
