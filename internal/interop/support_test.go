//go:build interop

package interop

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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

// assertAny asserts that an error is one of several.
func assertAny(t *testing.T, err error, targets ...error) bool {
	t.Helper()
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return assert.Fail(t, "another error", "%v is none of %v", err, targets)
}
