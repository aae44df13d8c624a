package utppunch_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"utppunch"
	"utppunch/utp"
)

// childEnv holds the task of a test binary that plays the other process.
const childEnv = "UTPPUNCH_TEST_CHILD"

// childTasks are what the other process can do: send data to an address, and exit as soon as the API says that it may.
var childTasks = map[string]func(address string, data []byte) error{
	"Transport.Shutdown": func(address string, data []byte) error {
		tr, err := utppunch.Open("utp4", "127.0.0.1:0", nil)
		if err != nil {
			return err
		}
		c, err := tr.DialContext(context.Background(), "utp", address)
		if err != nil {
			return err
		}
		if err := sendAndClose(c, data); err != nil {
			return err
		}
		return tr.Shutdown(childContext())
	},
	"Shutdown": func(address string, data []byte) error {
		c, err := utppunch.Dial("utp", address)
		if err != nil {
			return err
		}
		if err := sendAndClose(c, data); err != nil {
			return err
		}
		return utppunch.Shutdown(childContext())
	},
	"SetLinger": func(address string, data []byte) error {
		c, err := utppunch.Dial("utp", address)
		if err != nil {
			return err
		}
		if err := c.(*utp.Conn).SetLinger(int(patience.Seconds())); err != nil {
			return err
		}
		return sendAndClose(c, data)
	},
}

func sendAndClose(c net.Conn, data []byte) error {
	if _, err := c.Write(data); err != nil {
		return err
	}
	return c.Close()
}

// childContext bounds a Shutdown; the process ends with it.
func childContext() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// child runs one of childTasks, "NAME ADDRESS SIZE", and returns the exit code.
func child(task string) int {
	var name, address string
	var size int
	_, err := fmt.Sscan(task, &name, &address, &size)
	if err == nil {
		err = childTasks[name](address, random(1, size))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestExitAfterClose: a process that ends itself properly leaves nothing undelivered.
func TestExitAfterClose(t *testing.T) {
	for name := range childTasks {
		for _, size := range []int{1, 1 << 20, 20 << 20} {
			t.Run(fmt.Sprintf("%s/%d bytes", name, size), func(t *testing.T) {
				t.Parallel()
				l := listen(t, open(t, "utp4", "127.0.0.1:0"))
				ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
				defer cancel()
				cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^$")
				cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", childEnv, name, l.Addr(), size))
				var stderr strings.Builder
				cmd.Stderr = &stderr
				require.NoError(t, cmd.Start())
				stop := context.AfterFunc(ctx, func() { l.Close() })
				defer stop()
				c := accept(t, l)
				require.NoError(t, c.SetDeadline(time.Now().Add(3*patience)))
				got, err := io.ReadAll(c)
				require.NoError(t, err)
				require.True(t, string(got) == string(random(1, size)), "%d of %d bytes arrived as they were sent", len(got), size)
				require.NoError(t, c.Close())
				assert.NoError(t, cmd.Wait(), stderr.String())
			})
		}
	}
}
