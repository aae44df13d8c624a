//go:build interop

package interop

import (
	"context"
	"testing"
	"time"
)

// timeLimit is a context of the test with an end of its own.
func timeLimit(t *testing.T, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), limit)
}
