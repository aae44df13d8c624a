package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"
)

// serve is the command that starts the server's half of each run.
func serve(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("bench serve", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:7700", "the TCP port for \"bench client\", as `host:port`; the address is printed")
	untilEOF := flags.Bool("until-eof", false, "end when standard input ends")
	if err := parse(flags, args, stdout); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if *untilEOF {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	fmt.Fprintln(stdout, l.Addr())
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		sessions.Go(func() {
			if err := session(ctx, conn.(*net.TCPConn)); err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "bench serve:", err)
			}
		})
	}
}

// session runs the server's half of one run, a process whose input and output is
// the control connection. It ends with the connection, or with ctx.
func session(ctx context.Context, conn *net.TCPConn) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	decoder := json.NewDecoder(conn)
	var task serverTask
	if err := decoder.Decode(&task.Spec); err != nil {
		return err
	}
	for _, s := range task.Spec.Env {
		if err := checkEnv(s); err != nil {
			return json.NewEncoder(conn).Encode(report{Error: err.Error()})
		}
	}
	// The host that the client has reached, also if the port is open on all.
	task.Host = conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().String()
	line, err := json.Marshal(&task)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, task.Spec.limit()+limitGrace, errHung)
	defer cancel()
	cmd, err := half(ctx, serverCommand, task.Spec.environ())
	if err != nil {
		return err
	}
	cmd.Stdin = io.MultiReader(bytes.NewReader(line), decoder.Buffered(), conn)
	cmd.Stdout = conn
	err = cmd.Run()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	// If the process ended first, the connection is still open.
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return err
}

// limitGrace is how much longer than a run may take its processes may live: it
// should be they who say what is wrong.
const limitGrace = 5 * time.Second

// half prepares a process that is this program with another command.
func half(ctx context.Context, command string, env []string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, command)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	return cmd, nil
}
