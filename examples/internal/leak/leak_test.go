package leak

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWait checks that a goroutine of ours is found, and that one that ends in
// time is waited for.
func TestWait(t *testing.T) {
	release := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-release
	}()
	require.Len(t, wait(0), 1)

	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	require.Empty(t, wait(10*time.Second))
	<-done
}
