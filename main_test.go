package utppunch_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"utppunch"
)

// TestMain fails the package if anything of it is still running when the tests are over. It also plays the part of the
// other process: see child_test.go.
func TestMain(m *testing.M) {
	if task := os.Getenv(childEnv); task != "" {
		os.Exit(child(task))
	}
	code := m.Run()
	if code == 0 {
		code = checkAtExit()
	}
	os.Exit(code)
}

func checkAtExit() (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), leakPatience)
	defer cancel()
	if err := utppunch.Shutdown(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "a test left connections on the shared Transports:", err)
		return 1
	}
	if left := leftGoroutines(nil); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines are left:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
		return 1
	}
	return 0
}

// leakPatience is how long what has been told to end may take to do so.
const leakPatience = 10 * time.Second

// checkGoroutines fails the test if it leaves goroutines of this module behind, callbacks of timers included. Call it
// first, so that it looks last. The test must not be a parallel one.
func checkGoroutines(t *testing.T) {
	t.Helper()
	before := moduleGoroutines()
	t.Cleanup(func() {
		left := leftGoroutines(before)
		assert.Empty(t, left, "goroutines are left:\n%s", strings.Join(left, "\n\n"))
	})
}

// leftGoroutines returns the goroutines that there are beside those before, and goes on looking while there are any.
func leftGoroutines(before map[string]string) (left []string) {
	for start := time.Now(); time.Since(start) < leakPatience; time.Sleep(time.Millisecond) {
		left = left[:0]
		for id, stack := range moduleGoroutines() {
			if _, ok := before[id]; !ok {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			break
		}
	}
	return left
}

// moduleGoroutines returns the stacks, by the id of the goroutine, that mention the module, but not the caller's.
func moduleGoroutines() map[string]string {
	buf := make([]byte, 1<<20)
	n := runtime.Stack(buf, true)
	for n == len(buf) {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	found := make(map[string]string)
	for _, stack := range strings.Split(string(buf[:n]), "\n\n")[1:] {
		if strings.Contains(stack, "utppunch") {
			// "goroutine 7 [running]:"
			found[strings.Fields(stack)[1]] = stack
		}
	}
	return found
}

// TestGoroutinesAreFound tests the check itself.
func TestGoroutinesAreFound(t *testing.T) {
	before := moduleGoroutines()
	l := listenOn(t, "utp4", "127.0.0.1:0")
	waitFor(t, "reader and sender of a Transport are found", func() bool {
		now := moduleGoroutines()
		for id := range before {
			delete(now, id)
		}
		return len(now) == 2
	})
	assert.NoError(t, l.Close())
	assert.Empty(t, leftGoroutines(before))
}
