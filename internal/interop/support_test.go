//go:build interop

package interop

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// timeLimit is a context of the test with an end of its own.
func timeLimit(t *testing.T, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), limit)
}

// waitFor waits until what holds soon does hold.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for start := time.Now(); time.Since(start) < patience; time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
	}
	require.Fail(t, "this never happened", "%s", what)
}
