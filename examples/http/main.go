// Command http serves and fetches files over uTP. It is net/http as it is: the
// server gets a listener, and the client a DialContext, that are a UDP port.
//
// Without arguments it shows everything once, in one process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `http serves and fetches files over uTP, which is UDP, with net/http as it is.

Usage:

	http                          show everything once, in this process
	http serve [-listen ADDR] [-dir DIR] [-tls]
	http get [-o FILE] [-pin SHA256] URL

"http serve -h" and "http get -h" say more. The exit status is 0, or 1 after a
failure.
`

func main() {
	// The first signal ends things in order; the second one has its usual effect.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(1)
	}
}

// run does what the arguments say until it is done or ctx ends.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return demo(ctx, stdout)
	}
	var err error
	switch command := args[0]; command {
	case "serve":
		err = serve(ctx, args[1:], stdout)
	case "get":
		err = get(ctx, args[1:], stdout)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
	default:
		fmt.Fprint(os.Stderr, usage)
		return fmt.Errorf("there is no command %q", command)
	}
	if errors.Is(err, flag.ErrHelp) {
		return nil // it was printed
	}
	return err
}

// newFlags returns the flags of a command, with a text for -h.
func newFlags(command, arguments, about string) *flag.FlagSet {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "Usage: http %s %s\n\n%s\n\n", command, arguments, about)
		flags.PrintDefaults()
	}
	return flags
}

// parse parses the arguments of a command, of which count are not flags. -h prints
// the help to stdout and returns flag.ErrHelp.
func parse(flags *flag.FlagSet, args []string, count int, stdout io.Writer) error {
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(stdout)
		flags.Usage()
		return err
	case err == nil && flags.NArg() != count:
		err = fmt.Errorf("%d arguments after the flags instead of %d", flags.NArg(), count)
	}
	if err != nil {
		return fmt.Errorf("%w; see http %s -h", err, flags.Name())
	}
	return nil
}
