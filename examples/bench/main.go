// Command bench measures this library beside kernel TCP, raw UDP, quic-go and
// kcp-go, and prints how they compare. Server and client are processes of their
// own, which it starts itself.
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

const usage = `bench compares this library with others: throughput, latency, CPU time, memory.

Usage:

	bench [flags]                       everything on this machine
	bench serve -listen HOST:PORT       the server's part, for two machines
	bench client -server HOST:PORT [flags]

"bench -h" lists the flags. Further ways to use them:

	bench -measure one,rtt -contestants utp,tcp,quic   what, and whom
	bench -netns                                       over a veth pair instead of loopback (Linux, root)
	bench -netns -rate 1000 -measure crowd             the same with 1 Gbit/s, and full send buffers
	bench -rcvbuf 212992                               with what Linux allows everybody
	bench -offload=false                               without UDP segmentation offload

All contestants use UDP or TCP ports that the system chooses, at the host of
-listen. Only trusted machines should reach that port: who does can have
measurements run. The exit status is 0, or 1 after a failure.
`

func main() {
	// The first signal ends things in order; the second one has its usual effect.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run does what the arguments say until it is done or ctx ends.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	var err error
	switch command {
	case "serve":
		err = serve(ctx, args[1:], stdout)
	case "client":
		err = compare(ctx, command, args[1:], stdout)
	case serverCommand:
		err = serverHalf(os.Stdin, stdout)
	case clientCommand:
		err = clientHalf(ctx, os.Stdin, stdout)
	case peerCommand:
		err = peerHalf(ctx, os.Stdin, stdout)
	case "help":
		fmt.Fprint(stdout, usage)
	default:
		err = compare(ctx, "", args, stdout)
	}
	if errors.Is(err, flag.ErrHelp) {
		return nil // it was printed
	}
	return err
}

// parse parses arguments that are all flags. -h prints the help to stdout and
// returns flag.ErrHelp.
func parse(flags *flag.FlagSet, args []string, stdout io.Writer) error {
	flags.SetOutput(io.Discard)
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "%s\nFlags of %s:\n\n", usage, flags.Name())
		flags.PrintDefaults()
	}
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(stdout)
		flags.Usage()
		return err
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	if err != nil {
		return fmt.Errorf("%w; see bench -h", err)
	}
	return nil
}
