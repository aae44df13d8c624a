//go:build interop

package interop

import (
	"flag"
	"os"
	"testing"
)

var (
	long  = flag.Bool("long", false, "let peers be idle for three minutes, and wait for what takes a minute")
	speed = flag.Bool("speed", false, "measure how fast peers are with us and among themselves")
)

// TestMain prints the table of results at the end.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	results.print(os.Stdout)
	os.Exit(code)
}
