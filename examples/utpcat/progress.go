package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"utppunch/utp"
)

// isTerminal reports whether w is a device that is looked at, not a file or a pipe.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// showProgress writes a line about c, over and over, until the function that it
// returns is called.
func showProgress(w io.Writer, c *utp.Conn) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		began := time.Now()
		tick := time.NewTicker(time.Second / 4)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprint(w, "\r", progress(c.Stats(), time.Since(began)), "\x1b[K")
			case <-done:
				fmt.Fprintln(w, "\r"+progress(c.Stats(), time.Since(began))+"\x1b[K")
				return
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}

// progress is how much was sent and received, and how fast on average.
func progress(s utp.Stats, d time.Duration) string {
	rate := float64(s.BytesSent+s.BytesReceived) / max(d.Seconds(), 1e-9)
	return fmt.Sprintf("%s sent, %s received, %s/s, round trip %v",
		inBytes(float64(s.BytesSent)), inBytes(float64(s.BytesReceived)), inBytes(rate), s.SRTT.Round(10*time.Microsecond))
}

// inBytes writes a size in the unit that suits it.
func inBytes(n float64) string {
	for _, unit := range []string{"B", "KB", "MB", "GB"} {
		if n < 1000 {
			return fmt.Sprintf("%.3g %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.3g TB", n)
}
