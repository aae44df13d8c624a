package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
)

// The ends of the pair. Nobody else is in these namespaces, so that the names and
// addresses cannot be taken.
const (
	vethName    = "bench0" // of both ends
	vethServer  = "10.0.0.1"
	vethClient  = "10.0.0.2"
	vethNetwork = "/30"
)

// newVeth makes two network namespaces and a pair of virtual Ethernet interfaces
// between them, with a rate in Mbit/s unless that is zero. All of it vanishes when
// the processes in it and this one have ended, however they do.
func newVeth(rate int) (l *link, err error) {
	if _, err := exec.LookPath("ip"); err != nil {
		return nil, fmt.Errorf("-netns needs the command ip, of iproute2: %w", err)
	}
	if _, err := exec.LookPath("tc"); err != nil && rate > 0 {
		return nil, fmt.Errorf("-rate needs the command tc, of iproute2: %w", err)
	}
	server, err := newNamespace()
	if err != nil {
		return nil, err
	}
	client, err := newNamespace()
	if err != nil {
		server.end()
		return nil, err
	}
	l = &link{
		host:        vethServer,
		close:       func() { server.end(); client.end() },
		startServer: func(c *exec.Cmd) error { return server.do(c.Start) },
		startClient: func(c *exec.Cmd) error { return client.do(c.Start) },
	}
	err = errors.Join(
		server.ip("link", "add", vethName, "type", "veth", "peer", "name", vethName, "netns", strconv.Itoa(client.thread)),
		server.setUp(vethServer),
		client.setUp(vethClient))
	if err == nil && rate > 0 {
		err = errors.Join(server.limit(rate), client.limit(rate))
	}
	if err == nil {
		l.name, err = server.describe()
	}
	if rate > 0 {
		l.name += fmt.Sprintf("; %d Mbit/s each way", rate)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// namespace is a network namespace: that of a thread, and of the processes that
// the thread starts.
type namespace struct {
	thread int // its id
	calls  chan func()
}

func newNamespace() (*namespace, error) {
	n := &namespace{calls: make(chan func())}
	made := make(chan error)
	go func() {
		// For good: a thread in a namespace of its own is no use to others, and
		// ends with the goroutine.
		runtime.LockOSThread()
		n.thread = syscall.Gettid()
		err := syscall.Unshare(syscall.CLONE_NEWNET)
		made <- err
		if err != nil {
			return
		}
		for f := range n.calls {
			f()
		}
	}()
	if err := <-made; err != nil {
		return nil, fmt.Errorf("-netns needs root (CAP_SYS_ADMIN), to make a network namespace: %w", err)
	}
	return n, nil
}

// end leaves the namespace to the processes in it.
func (n *namespace) end() { close(n.calls) }

// do calls f on the thread that is in the namespace.
func (n *namespace) do(f func() error) (err error) {
	done := make(chan struct{})
	n.calls <- func() {
		err = f()
		close(done)
	}
	<-done
	return err
}

// ip runs the command ip in the namespace.
func (n *namespace) ip(args ...string) error { return n.run("ip", args...) }

func (n *namespace) run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := n.do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(output.Bytes()))
	}
	return nil
}

// setUp gives this end its address and turns it on.
func (n *namespace) setUp(address string) error {
	return errors.Join(
		n.ip("address", "add", address+vethNetwork, "dev", vethName),
		n.ip("link", "set", vethName, "up"),
		n.ip("link", "set", "lo", "up"))
}

// vethQueue is how many bytes may wait for a link with a rate: more than all the
// send buffers of a run.
const vethQueue = 64 << 20

// limit gives this end a rate in Mbit/s. Up to a millisecond's worth may leave at
// once, but not less than two runs of datagrams.
func (n *namespace) limit(rate int) error {
	return n.run("tc", "qdisc", "add", "dev", vethName, "root", "tbf",
		"rate", strconv.Itoa(rate)+"mbit", "burst", strconv.Itoa(max(rate*1000/8, 128<<10)), "limit", strconv.Itoa(vethQueue))
}

// describe says what the link is like: as the system makes it, for everybody.
func (n *namespace) describe() (name string, err error) {
	err = n.do(func() error {
		device, err := net.InterfaceByName(vethName)
		if err != nil {
			return err
		}
		offloads, err := readOffloads(vethName)
		name = fmt.Sprintf("veth pair between two network namespaces, MTU %d, for all alike with the system's defaults: %s",
			device.MTU, offloads)
		return err
	})
	return name, err
}
