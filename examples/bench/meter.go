package main

import (
	"bytes"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"
)

// meter counts what one half of a run does.
type meter struct {
	start    time.Time
	profiles bool // whether a profile is taken of the interval

	// dropped returns how many datagrams the system has dropped, as the receive
	// buffer was full; nil: the contestant does not know.
	dropped func() uint64

	profile bytes.Buffer // of who calls begin and end

	mu       sync.Mutex
	counters []*atomic.Int64
	err      error // the first
}

func newMeter(s *spec) *meter {
	return &meter{start: time.Now(), profiles: s.Profile && s.Contestant == "utp"}
}

// counter returns a new counter, of one connection.
func (m *meter) counter() *atomic.Int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := new(atomic.Int64)
	m.counters = append(m.counters, c)
	return c
}

// fail remembers an error.
func (m *meter) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = err
	}
}

// failure returns the first error that was remembered.
func (m *meter) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// reading is what a meter shows at one moment.
type reading struct {
	At      time.Duration
	CPU     time.Duration // user and system time of the process
	Counts  []int64
	Dropped *uint64 // datagrams, if that is known
	Profile []byte  // of the interval, at its end, if one was asked for
}

// read takes a reading.
func (m *meter) read() reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := reading{At: time.Since(m.start), CPU: cpuTime()}
	for _, c := range m.counters {
		r.Counts = append(r.Counts, c.Load())
	}
	if m.dropped != nil {
		n := m.dropped()
		r.Dropped = &n
	}
	return r
}

// begin takes the reading at the beginning of the interval.
func (m *meter) begin() reading {
	if m.profiles {
		if err := pprof.StartCPUProfile(&m.profile); err != nil {
			m.fail(err)
		}
	}
	return m.read()
}

// end takes the reading at the end of the interval.
func (m *meter) end() reading {
	r := m.read()
	if m.profiles {
		pprof.StopCPUProfile()
		r.Profile = m.profile.Bytes()
	}
	return r
}

// memory is what a process uses.
type memory struct {
	Bytes      uint64 // of heap and stacks
	Goroutines int
}

// readMemory collects garbage and returns what is left.
func readMemory() memory {
	// Twice: what has a finalizer goes the second time.
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return memory{Bytes: s.HeapInuse + s.StackInuse, Goroutines: runtime.NumGoroutine()}
}

// interval is the time between two readings of one meter.
type interval struct{ from, to reading }

func (i interval) seconds() float64 { return (i.to.At - i.from.At).Seconds() }

func (i interval) cpu() float64 { return (i.to.CPU - i.from.CPU).Seconds() }

// counts returns by how much each counter has grown.
func (i interval) counts() []int64 {
	grown := make([]int64, len(i.to.Counts))
	for j, n := range i.to.Counts {
		grown[j] = n
		if j < len(i.from.Counts) {
			grown[j] -= i.from.Counts[j]
		}
	}
	return grown
}

// total returns by how much all counters together have grown.
func (i interval) total() int64 {
	var sum int64
	for _, n := range i.counts() {
		sum += n
	}
	return sum
}

// moved returns how many counters have grown.
func (i interval) moved() (n int) {
	for _, by := range i.counts() {
		if by > 0 {
			n++
		}
	}
	return n
}

// rate returns the growth of all counters a second.
func (i interval) rate() float64 { return float64(i.total()) / i.seconds() }
