// Package leak tells a test binary that it left goroutines behind.
package leak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long goroutines may take to end after the last test: what
// the library does in the background after Close is bounded by 5 s.
const patience = 10 * time.Second

// Main runs the tests of a package and exits. If they pass and goroutines that
// this module or the library started are still there a while later, it prints
// their stacks and fails. It is what TestMain calls.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := wait(patience); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "%d goroutines are left over:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// wait returns the goroutines that are still there when the time is over.
func wait(limit time.Duration) []string {
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		left := goroutines("utppunch")
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// goroutines returns the stacks that mention a name, but for the caller's.
func goroutines(name string) []string {
	buf := make([]byte, 1<<20)
	n := runtime.Stack(buf, true)
	for n == len(buf) {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	_, others, _ := strings.Cut(string(buf[:n]), "\n\n") // the first is the caller
	var found []string
	for stack := range strings.SplitSeq(others, "\n\n") {
		if strings.Contains(stack, name) {
			found = append(found, strings.TrimSpace(stack))
		}
	}
	return found
}
