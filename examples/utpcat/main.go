// Command utpcat is netcat over uTP: what comes from the standard input goes to the
// peer, and what comes from the peer to the standard output. It talks to itself, to
// libutp's ucat and to utp-punch.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"utppunch"
	"utppunch/utp"
)

const usage = `Usage: utpcat [flags] HOST:PORT       connect
       utpcat [flags] -l [HOST]:PORT  wait for one connection

Copies the standard input to the peer and what the peer sends to the standard
output, until both have ended. A file:

	utpcat -l :9000 > file          here
	utpcat HOST:9000 < file         there

Nothing is encrypted. The exit status is 0, or 1 after a failure.

Flags:
`

func main() {
	// The first signal ends things in order; the second one has its usual effect.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "utpcat:", err)
		os.Exit(1)
	}
}

// options are what the arguments say.
type options struct {
	listen  bool
	address string
	dialect utp.Dialect
	wait    time.Duration
	quiet   bool
}

var dialects = map[string]utp.Dialect{"auto": utp.AutoDialect, "bep29": utp.BEP29, "utp-punch": utp.UTPPunch}

// parse returns flag.ErrHelp after it has printed the help to stdout.
func parse(args []string, stdout io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("utpcat", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&o.listen, "l", false, "wait for a connection")
	flags.BoolVar(&o.quiet, "q", false, "no progress on the standard error, which is shown on a terminal only anyway")
	flags.DurationVar(&o.wait, "w", 0, "wait so `long` for the connection; 0: 30s to connect, for ever to be connected")
	dialect := flags.String("dialect", "auto", "what the peer speaks: auto, bep29 or utp-punch")
	err = flags.Parse(args)
	known := false
	o.dialect, known = dialects[*dialect]
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return o, err
	case err == nil && !known:
		err = fmt.Errorf("there is no dialect %q", *dialect)
	case err == nil && o.wait < 0:
		err = fmt.Errorf("-w %v is in the past", o.wait)
	case err == nil && flags.NArg() != 1:
		err = fmt.Errorf("%d addresses instead of 1", flags.NArg())
	}
	if err != nil {
		return o, fmt.Errorf("%w; see utpcat -h", err)
	}
	o.address = flags.Arg(0)
	return o, nil
}

// run does what the arguments say until it is done or ctx ends.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	o, err := parse(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	conn, err := o.connect(ctx, stderr)
	if err != nil {
		return err
	}
	t := conn.transport
	defer t.Close()
	stop := context.AfterFunc(ctx, func() { _ = t.Close() })
	defer stop()
	if !o.quiet && isTerminal(stderr) {
		defer showProgress(stderr, conn.Conn)()
	}
	if err := exchange(ctx, conn.Conn, stdin, stdout); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	// The end of our stream may be on its way.
	return errors.Join(conn.Close(), t.Shutdown(ctx))
}

// connection is the one connection, and the port that it has for itself.
type connection struct {
	*utp.Conn
	transport *utppunch.Transport
}

func (o options) connect(ctx context.Context, stderr io.Writer) (connection, error) {
	if o.wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.wait)
		defer cancel()
	}
	local := ":0"
	if o.listen {
		local = o.address
	}
	t, err := utppunch.Open("utp", local, &utppunch.Config{UTP: utp.Config{Dialect: o.dialect}})
	if err != nil {
		return connection{}, err
	}
	dial := t.DialContext
	if o.listen {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return accept(ctx, t, stderr) }
	}
	c, err := dial(ctx, "utp", o.address)
	if err != nil {
		_ = t.Close()
		return connection{}, err
	}
	return connection{c.(*utp.Conn), t}, nil
}

// accept waits for one connection and then listens no longer.
func accept(ctx context.Context, t *utppunch.Transport, stderr io.Writer) (net.Conn, error) {
	l, err := t.Listen()
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(stderr, "listening on", l.Addr())
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	c, err := l.Accept()
	if err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	return c, l.Close()
}

// exchange copies in both directions until both have ended, or ctx has. Each ends on
// its own: a peer that has nothing to say may still listen.
func exchange(ctx context.Context, c *utp.Conn, stdin io.Reader, stdout io.Writer) error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, stdin)
		sent <- errors.Join(err, c.CloseWrite())
	}()
	if _, err := io.Copy(stdout, c); err != nil {
		return err
	}
	select {
	case err := <-sent:
		return err
	case <-ctx.Done(): // the standard input cannot be interrupted
		return ctx.Err()
	}
}
