//go:build interop

package interop

import (
	"flag"
	"os"
	"testing"
)

var (
	long  = flag.Bool("long", false, "let peers be idle for three minutes, and wait for what takes a minute")
	seed  = flag.Uint64("seed", 1, "of what relays do to datagrams; real time has its part in it, too")
	speed = flag.Bool("speed", false, "measure how fast peers are with us and among themselves")
)

// TestMain prints the tables of results at the end.
func TestMain(m *testing.M) {
	flag.Parse()
	// What waits for most of its time does so together. It is more than there are processors.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	code := m.Run()
	results.print(os.Stdout)
	speeds.print(os.Stdout)
	os.Exit(code)
}
