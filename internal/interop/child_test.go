//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds the waiting for what happens at once unless the machine is busy.
const patience = 30 * time.Second

// child is a peer's process: lines go in, lines come out.
type child struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	input io.WriteCloser
	ended chan struct{} // closed when the process has ended and been waited for

	mu     sync.Mutex
	lines  []string // that nobody has awaited
	all    []string // the latest, for when the test fails
	wake   chan struct{}
	stderr bytes.Buffer
}

// startChild runs a program. It is killed when the test ends, and ends by itself when its input does, so that it does
// not outlive this process in any case.
func startChild(t *testing.T, program string, args ...string) *child {
	t.Helper()
	c := &child{t: t, name: program, cmd: exec.Command(program, args...), ended: make(chan struct{}), wake: make(chan struct{})}
	var err error
	c.input, err = c.cmd.StdinPipe()
	require.NoError(t, err)
	output, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	c.cmd.Stderr = &c.stderr
	require.NoError(t, c.cmd.Start(), "a peer is missing; internal/interop/install.sh installs them")
	go c.read(output)
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("%s %s said:\n%s\n%s", program, strings.Join(args, " "), strings.Join(c.all, "\n"), &c.stderr)
		}
	})
	return c
}

func (c *child) read(output io.Reader) {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		c.mu.Lock()
		c.lines = append(c.lines, lines.Text())
		if c.all = append(c.all, time.Now().Format("05.000 ")+lines.Text()); len(c.all) > 300 {
			c.all = slices.Delete(c.all, 0, 100)
		}
		close(c.wake)
		c.wake = make(chan struct{})
		c.mu.Unlock()
	}
	_ = c.cmd.Wait() // how it ended is seen by what it did not report
	close(c.ended)
}

// kill ends the process at once (SIGKILL) and waits for it.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
	_ = c.input.Close()
}

// send writes a command.
func (c *child) send(format string, args ...any) {
	c.t.Helper()
	_, err := fmt.Fprintf(c.input, format+"\n", args...)
	require.NoError(c.t, err, "%s has ended: %s", c.name, &c.stderr)
}

// await waits for a line that begins with these words, takes it out, and returns the words that follow. There is no
// order among lines with different beginnings.
func (c *child) await(words ...string) []string {
	c.t.Helper()
	return c.awaitFor(patience, words...)
}

func (c *child) awaitFor(limit time.Duration, words ...string) []string {
	c.t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		rest, wake, ok := c.take(words)
		if ok {
			return rest
		}
		select {
		case <-wake:
		case <-c.ended:
			if rest, _, ok := c.take(words); ok {
				return rest
			}
			require.Fail(c.t, "a peer has ended", "%s did not report %q: %v, %s", c.name, words, c.cmd.ProcessState, &c.stderr)
		case <-timer.C:
			require.Fail(c.t, "a peer did not report", "%q for %v", words, limit)
		}
	}
}

// take returns the words after those, of the first line that has them, or else what to wait for.
func (c *child) take(words []string) (rest []string, wake <-chan struct{}, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.lines, func(line string) bool { return strings.HasPrefix(line+" ", strings.Join(words, " ")+" ") })
	if i < 0 {
		return nil, c.wake, false
	}
	rest = strings.Fields(c.lines[i])[len(words):]
	c.lines = slices.Delete(c.lines, i, i+1)
	return rest, nil, true
}

// says reports whether there is such a line, and takes it out.
func (c *child) says(words ...string) bool {
	_, _, ok := c.take(words)
	return ok
}
