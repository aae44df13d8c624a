// Command interop is the example of utp-punch's README in Go. Either side can be
// this program, and the other the original: see the directory node.
//
// Without arguments both sides run in this process.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"utppunch"
)

const usage = `interop is the example of utp-punch's README in Go.

Usage:

	interop                     both sides, in this process
	interop server HOST:PORT    serves one connection
	interop client HOST:PORT

With utp-punch at one end, from this directory (npm install first, in node):

	interop server 127.0.0.1:20000          node node/client.js 20000
	node node/server.js 20000               interop client 127.0.0.1:20000
`

func main() {
	// The first signal ends things in order; the second one has its usual effect.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	out := &lines{w: stdout}
	switch {
	case len(args) == 0:
		return both(ctx, out)
	case len(args) == 2 && args[0] == "server":
		l, err := utppunch.Listen("utp", args[1])
		if err != nil {
			return err
		}
		return serve(ctx, l, out)
	case len(args) == 2 && args[0] == "client":
		return client(ctx, args[1], out)
	case len(args) == 1 && (args[0] == "-h" || args[0] == "help"):
		fmt.Fprint(stdout, usage)
		return nil
	default:
		fmt.Fprint(os.Stderr, usage)
		return fmt.Errorf("there is no command %q", args)
	}
}

// lines writes the lines of both sides whole.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, format+"\n", args...)
}

// both runs a server, and a client of it.
func both(ctx context.Context, out *lines) error {
	l, err := utppunch.Listen("utp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l, out) }()
	return errors.Join(client(ctx, l.Addr().String(), out), <-served)
}

// serve accepts one connection, reads a message and answers it.
func serve(ctx context.Context, l *utppunch.Listener, out *lines) error {
	t := l.Transport()
	defer t.Close()
	defer context.AfterFunc(ctx, func() { _ = t.Close() })()
	out.printf("server: ready")
	c, err := l.Accept()
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	out.printf("server: socket connected")
	if err := message(c, "server", out); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "world"); err != nil {
		return err
	}
	if err := finish(c, "server", out); err != nil {
		return err
	}
	return t.Shutdown(ctx)
}

// client sends a message and reads the answer.
func client(ctx context.Context, address string, out *lines) error {
	t, err := utppunch.Open("utp", ":0", nil)
	if err != nil {
		return err
	}
	defer t.Close()
	defer context.AfterFunc(ctx, func() { _ = t.Close() })()
	c, err := t.DialContext(ctx, "utp", address)
	if err != nil {
		return err
	}
	out.printf("client: socket connected")
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	if err := message(c, "client", out); err != nil {
		return err
	}
	if err := finish(c, "client", out); err != nil {
		return err
	}
	return t.Shutdown(ctx)
}

// message reads what fits one packet: a message of this protocol is so short that it
// comes as a whole.
func message(c net.Conn, who string, out *lines) error {
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err != nil {
		return err
	}
	out.printf("%s: received '%s'", who, b[:n])
	return nil
}

// finish ends our stream and waits for the end of the peer's.
func finish(c net.Conn, who string, out *lines) error {
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	out.printf("%s: socket disconnected", who)
	return c.Close()
}
