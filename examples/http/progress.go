package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress is a line on a terminal that says how far a transfer is. It is written
// to what it is told of.
type progress struct {
	terminal io.Writer
	size     int64 // negative: unknown
	shown    bool  // whether to show anything
	start    time.Time
	last     time.Time // when the line was last changed
	done     int64
}

// newProgress begins a transfer of size bytes; a negative size is unknown.
func newProgress(terminal io.Writer, size int64, shown bool) *progress {
	now := time.Now()
	return &progress{terminal: terminal, size: size, shown: shown, start: now, last: now}
}

// Write implements io.Writer.
func (p *progress) Write(b []byte) (int, error) {
	p.done += int64(len(b))
	if now := time.Now(); p.shown && now.Sub(p.last) >= 100*time.Millisecond {
		p.last = now
		p.draw(now)
	}
	return len(b), nil
}

func (p *progress) draw(now time.Time) {
	percent := ""
	if p.size > 0 {
		percent = fmt.Sprintf("%3d %% of %s, ", 100*p.done/p.size, inBytes(p.size))
	}
	fmt.Fprintf(p.terminal, "\r%s%s\x1b[K", percent, rate(p.done, now.Sub(p.start)))
}

// end takes the line away.
func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.terminal, "\r\x1b[K")
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// inBytes says a number of bytes in a unit that fits.
func inBytes(n int64) string {
	switch {
	case n < 1e3:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	}
}

// rate says how much took how long, and how fast that is.
func rate(n int64, took time.Duration) string {
	seconds := max(took.Seconds(), 1e-6)
	return fmt.Sprintf("%s in %.3f s, %.1f MB/s", inBytes(n), seconds, float64(n)/1e6/seconds)
}
