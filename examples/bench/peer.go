package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync/atomic"
	"time"
)

// peerCommand is a third process of a run, which the client's half starts: those
// who disturb others.
const peerCommand = "half-peer"

// peerTask is what it reads.
type peerTask struct {
	Spec    spec
	Host    string // of the server
	Address string // where the contestant listens
}

// peer is what it has.
type peer struct {
	peerTask
	dialer dialer
	meter  *meter
}

// peerHalf is the process. It writes a line when it disturbs, and ends with its
// input.
func peerHalf(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	decoder := json.NewDecoder(stdin)
	p := new(peer)
	if err := decoder.Decode(&p.peerTask); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	what, err := findMeasurement(p.Spec.Measurement)
	if err != nil {
		return err
	}
	with, ok := what.activity.(crowd)
	if !ok {
		return fmt.Errorf("nobody disturbs %s", what.name)
	}
	contestant, err := newContestant(&p.Spec)
	if err != nil {
		return err
	}
	if p.dialer, err = contestant.open(p.Host); err != nil {
		return err
	}
	defer p.dialer.Close()
	p.meter = newMeter(&p.Spec)
	go func() {
		for (interval{to: p.meter.read()}).moved() < with.moving {
			time.Sleep(5 * time.Millisecond)
		}
		fmt.Fprintln(stdout, "ready")
	}()
	err = with.disturb(ctx, p)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// each opens the connections of the others and has f use each.
func (p *peer) each(ctx context.Context, r role, f func(net.Conn, *atomic.Int64) error) error {
	failed := make(chan error, crowdOthers)
	for range crowdOthers {
		conn, err := r.open(ctx, p.dialer, p.Address)
		if err != nil {
			return err
		}
		counter := p.meter.counter()
		go func() { failed <- f(conn, counter) }()
	}
	return <-failed
}

// readSlowly has both ends send as much as goes and read little.
func readSlowly(ctx context.Context, p *peer) error {
	return p.each(ctx, roleSlow, func(conn net.Conn, sent *atomic.Int64) error {
		go func() { _ = receiveSlowly(conn) }()
		b := make([]byte, chunk)
		for {
			n, err := conn.Write(b)
			sent.Add(int64(n))
			if err != nil {
				return err
			}
		}
	})
}

// readAll takes what the server sends, which is as much as goes, unless it is
// stopped.
func readAll(ctx context.Context, p *peer) error { return p.each(ctx, roleDown, receive) }

// flood needs no connection: it sends datagrams to the server's port that mean
// nothing, so many that its receive buffer is full.
func flood(ctx context.Context, p *peer) error {
	conn, err := rawDialer{host: p.Host}.dial(ctx, p.Address)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	counter := p.meter.counter()
	for b := make([]byte, chunk); ; counter.Add(1) {
		if _, err := conn.Write(b); err != nil {
			return err
		}
	}
}

// runningPeer is the process as the client's half sees it.
type runningPeer struct {
	cmd   *exec.Cmd
	stdin io.Closer // open while this process lives
	done  chan struct{}
}

// startPeer starts the process and waits until it disturbs.
func startPeer(ctx context.Context, c *client) (*runningPeer, error) {
	cmd, err := half(ctx, peerCommand, nil) // the environment is that of this half
	if err != nil {
		return nil, err
	}
	dieWithParent(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &runningPeer{cmd: cmd, stdin: stdin, done: make(chan struct{})}
	err = json.NewEncoder(stdin).Encode(peerTask{*c.spec, c.host, c.address})
	if err == nil {
		_, err = bufio.NewReader(stdout).ReadString('\n')
	}
	go func() {
		_ = cmd.Wait() // how it ends is known: it is killed
		close(p.done)
	}()
	if err != nil {
		p.end()
		return nil, errors.Join(errors.New("those who disturb do not begin"), err, context.Cause(ctx))
	}
	return p, nil
}

// ended reports whether the process has ended.
func (p *runningPeer) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// end kills the process, which may be stopped.
func (p *runningPeer) end() {
	_ = p.cmd.Process.Kill()
	<-p.done
	_ = p.stdin.Close()
}
