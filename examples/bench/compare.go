package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// sample is what came out of one run.
type sample struct {
	Measurement string
	Contestant  string
	Run         int // from 1
	Value       float64
	Unit        string // of Value
	Cost        float64
	CostUnit    string             // of Cost; empty: there is none
	More        map[string]float64 // further figures, by what they are
	Seconds     float64            // that were measured, by the client's clock
	Bytes       int64              // that arrived meanwhile, both ways
	Ops         int64              // that were done meanwhile
	ClientCPU   float64            // seconds, user and system
	ServerCPU   float64
	Error       string // empty: none, and the above is valid
}

// results is what goes to the JSON file.
type results struct {
	Machine machine
	Options struct {
		Server   string // empty: one was started
		Link     string
		Runs     int
		Duration float64 // seconds
		Idle     int
		Env      []string
		Offload  bool
		RcvBuf   int
		SndBuf   int
	}
	Samples []sample
}

// compare is the command that measures everything and prints the tables.
func compare(ctx context.Context, command string, args []string, stdout io.Writer) (err error) {
	o, err := parseOptions(command, args, stdout)
	if err != nil {
		return err
	}
	between, err := newLink(o)
	if err != nil {
		return err
	}
	defer between.close()
	all := &results{Machine: thisMachine(), Samples: []sample{}}
	all.Options.Link = between.name
	all.Options.Server, all.Options.Runs, all.Options.Duration = o.server, o.runs, o.duration.Seconds()
	all.Options.Idle, all.Options.Env = o.idle, o.env
	all.Options.Offload = o.offload
	all.Options.RcvBuf, all.Options.SndBuf = o.buffers.recv, o.buffers.send
	printHead(stdout, all, o)
	if o.server == "" {
		server, err := startServer(ctx, between)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.stop()) }()
		o.server = server.address
	}
	failures := 0
	for _, m := range o.measurements {
		samples := take(ctx, o, between, m)
		all.Samples = append(all.Samples, samples...)
		if ctx.Err() != nil {
			break
		}
		printTable(stdout, m, samples)
		for _, s := range samples {
			if s.Error != "" {
				failures++
			}
		}
	}
	if o.json != "" {
		text, err := json.MarshalIndent(all, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(text, '\n'), 0o666); err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted")
	case failures > 0:
		return fmt.Errorf("%d of %d runs failed", failures, len(all.Samples))
	}
	return nil
}

// take takes one measurement, of the contestants in turn.
func take(ctx context.Context, o *options, l *link, m *measurement) (samples []sample) {
	for run := range o.runs {
		for _, name := range o.contestants {
			if !slices.Contains(m.contestants, name) {
				continue
			}
			s := takeOne(ctx, o, l, m, name, run+1)
			if ctx.Err() != nil {
				return samples
			}
			fmt.Fprintf(os.Stderr, "%s, run %d: %s %s\n", m.name, run+1, name, s.outcome())
			samples = append(samples, s)
		}
	}
	return samples
}

func (s *sample) outcome() string {
	if s.Error != "" {
		return "failed: " + s.Error
	}
	return figure(s.Value) + " " + s.Unit
}

// takeOne runs the client's half once, in its process.
func takeOne(ctx context.Context, o *options, l *link, m *measurement, name string, run int) sample {
	task := clientTask{Server: o.server, Spec: spec{
		Measurement: m.name,
		Contestant:  name,
		NoOffload:   !o.offload,
		RcvBuf:      o.buffers.recv,
		SndBuf:      o.buffers.send,
		Duration:    o.duration,
	}}
	if m.name == "idle" {
		task.Spec.Idle = o.idle
	}
	if name == "utp" {
		task.Spec.Env, task.Spec.Profile = o.env, o.profile != ""
	}
	result, err := runHalf(ctx, l, &task)
	if err == nil && task.Spec.Profile && result.Sample.Error == "" {
		err = errors.Join(
			os.WriteFile(o.profile, result.ClientProfile, 0o666),
			os.WriteFile(o.profile+".server", result.ServerProfile, 0o666))
	}
	s := result.Sample
	if err != nil {
		s = sample{Measurement: m.name, Contestant: name, Unit: m.unit, CostUnit: m.cost, Error: err.Error()}
	}
	s.Run = run
	return s
}

// runHalf runs a process that is the client's half.
func runHalf(ctx context.Context, l *link, task *clientTask) (result clientResult, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, task.Spec.limit()+limitGrace, errHung)
	defer cancel()
	cmd, err := half(ctx, clientCommand, task.Spec.environ())
	if err != nil {
		return result, err
	}
	stdin, err := cmd.StdinPipe() // open while this process lives
	if err != nil {
		return result, err
	}
	// Its input ends and so does it, with its own process. Later it is killed.
	cmd.Cancel = stdin.Close
	cmd.WaitDelay = 2 * abandonGrace
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return result, err
	}
	if err := l.startClient(cmd); err != nil {
		return result, err
	}
	encodeErr := json.NewEncoder(stdin).Encode(task)
	decodeErr := json.NewDecoder(stdout).Decode(&result)
	_, _ = io.Copy(io.Discard, stdout)
	err = cmd.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return result, cause
	}
	return result, errors.Join(err, encodeErr, decodeErr)
}

// runningServer is a process that is "bench serve".
type runningServer struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	address string
}

// serverGrace is how long a server may take to end.
const serverGrace = 5 * time.Second

// startServer starts a server at its end of the link.
func startServer(ctx context.Context, l *link) (*runningServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "serve", "-listen", net.JoinHostPort(l.host, "0"), "-until-eof")
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = serverGrace
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// Its input ends and so does it, with its own processes. Later it is killed.
	cmd.Cancel = stdin.Close
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := l.startServer(cmd); err != nil {
		return nil, err
	}
	s := &runningServer{cmd: cmd, stdin: stdin}
	s.address, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server does not start: %w", err), s.stop())
	}
	s.address = strings.TrimSpace(s.address)
	return s, nil
}

// stop ends the server: its input ends.
func (s *runningServer) stop() error {
	_ = s.stdin.Close()
	late := time.AfterFunc(serverGrace, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	err := s.cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); ok && s.cmd.ProcessState.ExitCode() < 0 {
		return nil // killed, or ended by the same signal as this process
	}
	return err
}
