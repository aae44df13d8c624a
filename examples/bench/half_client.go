package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// clientTask is what the client's half reads.
type clientTask struct {
	Server string // where "bench serve" listens
	Spec   spec
}

// clientResult is what the client's half writes.
type clientResult struct {
	Sample        sample
	ClientProfile []byte
	ServerProfile []byte
}

// clientHalf is the process of the client in one run. It reads a task and writes
// a result; when its input ends before, so does it.
func clientHalf(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	decoder := json.NewDecoder(stdin)
	var task clientTask
	if err := decoder.Decode(&task); err != nil {
		return err
	}
	ctx, abandon := context.WithCancel(ctx)
	go func() {
		// Nobody is there any more to read the result.
		_, _ = io.Copy(io.Discard, stdin)
		abandon()
		time.Sleep(abandonGrace)
		os.Exit(1)
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, task.Spec.limit(), errHung)
	defer cancel()
	result, err := runClient(ctx, &task)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		result.Sample.Error = err.Error()
	}
	return json.NewEncoder(stdout).Encode(result)
}

// abandonGrace is how long a half that nobody wants may take to end.
const abandonGrace = time.Second

var errHung = errors.New("it hangs")

// client is the client's half of a run, for the activities.
type client struct {
	spec       *spec
	contestant contestant
	host       string // of the server
	address    string // where the contestant listens
	dialer     dialer
	control    *control
	meter      *meter

	// what measure has measured
	client, server interval
	result         sample
}

func runClient(ctx context.Context, task *clientTask) (*clientResult, error) {
	c := &client{spec: &task.Spec, meter: newMeter(&task.Spec)}
	c.result = sample{Measurement: c.spec.Measurement, Contestant: c.spec.Contestant, More: map[string]float64{}}
	err := c.connectAndRun(ctx, task.Server)
	c.result.Seconds = c.client.seconds()
	c.result.ClientCPU, c.result.ServerCPU = c.client.cpu(), c.server.cpu()
	return &clientResult{c.result, c.client.to.Profile, c.server.to.Profile}, err
}

func (c *client) connectAndRun(ctx context.Context, server string) error {
	what, err := findMeasurement(c.spec.Measurement)
	if err != nil {
		return err
	}
	c.result.Unit, c.result.CostUnit = what.unit, what.cost
	if c.contestant, err = newContestant(c.spec); err != nil {
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", server)
	if err != nil {
		return err
	}
	defer conn.Close()
	c.attend(ctx, conn)
	c.control = newControl(conn)
	answer, err := c.control.ask(c.spec)
	if err != nil {
		return err
	}
	c.address = answer.Address
	if c.host, _, err = net.SplitHostPort(c.address); err != nil {
		return err
	}
	if c.dialer, err = c.contestant.open(c.host); err != nil {
		return err
	}
	defer c.dialer.Close()
	return what.activity.run(ctx, c)
}

// attend has a connection closed when ctx ends, so that nothing waits longer.
func (c *client) attend(ctx context.Context, conn net.Conn) {
	context.AfterFunc(ctx, func() { _ = conn.Close() })
}

// measure waits until so many counters of both halves have moved, lets the run
// warm up, and takes readings of both halves before and after the interval to be
// measured. It fails with either half, and, in the end, if nothing moves.
func (c *client) measure(ctx context.Context, moving int) error {
	var none reading
	for {
		server, client, err := c.read(askReading, c.meter.read)
		if err != nil {
			return err
		}
		if (interval{none, server}).moved()+(interval{none, client}).moved() >= moving {
			break
		}
		if err := c.wait(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	if err := c.wait(ctx, c.spec.Duration/4); err != nil {
		return err
	}
	var err error
	if c.server.from, c.client.from, err = c.read(askBegin, c.meter.begin); err != nil {
		return err
	}
	for {
		if err := c.wait(ctx, c.spec.Duration); err != nil {
			return err
		}
		// Where next to nothing happens in the time, it takes longer.
		server, client, err := c.read(askReading, c.meter.read)
		if err != nil {
			return err
		}
		if moving == 0 || (interval{c.server.from, server}).moved()+(interval{c.client.from, client}).moved() > 0 {
			break
		}
	}
	c.server.to, c.client.to, err = c.read(askEnd, c.meter.end)
	return err
}

// moved returns how many counters had moved when the last interval ended.
func (c *client) moved() int {
	var none reading
	return (interval{none, c.server.to}).moved() + (interval{none, c.client.to}).moved()
}

// failIn reports an error, but not if ctx has ended and so has what it was for.
func (c *client) failIn(ctx context.Context, err error) {
	if ctx.Err() == nil {
		c.meter.fail(err)
	}
}

// read takes a reading of both halves.
func (c *client) read(what request, own func() reading) (server, client reading, err error) {
	answer, err := c.control.ask(what)
	if err != nil {
		return server, client, err
	}
	client = own()
	return answer.Reading, client, c.meter.failure()
}

// wait waits a while, unless there is a failure.
func (c *client) wait(ctx context.Context, d time.Duration) error {
	end := time.NewTimer(d)
	defer end.Stop()
	check := time.NewTicker(50 * time.Millisecond)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-end.C:
			return c.meter.failure()
		case <-check.C:
			if err := c.meter.failure(); err != nil {
				return err
			}
		}
	}
}

// cpu returns the CPU time of both halves in the interval, in seconds.
func (c *client) cpu() float64 { return c.client.cpu() + c.server.cpu() }

// countOps puts into the result how often something was done in the interval.
func (c *client) countOps(n int64) {
	c.result.Ops = n
	c.result.Cost = c.cpu() / float64(n) * 1e6
}
