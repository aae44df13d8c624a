package utp

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// sentBy is who called the writer.
type sentBy string

const (
	bySender   sentBy = "by the sender"
	byUser     sentBy = "by a user"
	byTimer    sentBy = "by a timer"
	byReceiver sentBy = "by the reader"
)

// fakeWriter is a PacketWriter that keeps what is sent. It checks the contract:
// the reader sends nothing, and only the sender waits.
type fakeWriter struct {
	t testing.TB

	mu   sync.Mutex
	more sync.Cond // room may have grown
	// guarded by mu
	out     func(datagram) // where datagrams go; nil: sent
	sent    []datagram
	room    int               // bytes that there is room for; negative: no end
	mtu     int               // longer datagrams are too big, unless they may be fragmented; 0: none are
	fail    func(Route) error // what sending fails with; nil: it does not
	calls   map[sentBy]int
	stuck   bool // Write waits, whatever room there is
	slow    bool // TryWrite takes its time
	waiting bool // Write waits
	log     []string
	silent  bool // keep no log
	epoch   time.Time
}

func newFakeWriter(t testing.TB) *fakeWriter {
	w := &fakeWriter{t: t, room: -1, calls: map[sentBy]int{}, epoch: time.Now()}
	w.more.L = &w.mu
	return w
}

// TryWrite implements PacketWriter.
func (w *fakeWriter) TryWrite(d Datagrams) (int, error) { return w.write(d, false) }

// Write implements PacketWriter.
func (w *fakeWriter) Write(d Datagrams) (int, error) { return w.write(d, true) }

func (w *fakeWriter) write(d Datagrams, wait bool) (n int, err error) {
	by := caller()
	switch {
	case by == byReceiver:
		w.t.Errorf("the reader sends")
	case wait && by != bySender:
		w.t.Errorf("Write is called %s, who must not wait", by)
	case len(d.Data) == 0 || d.Segment <= 0:
		w.t.Errorf("an empty run: %d bytes in segments of %d", len(d.Data), d.Segment)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[by]++
	for n < len(d.Data) {
		b := d.Data[n:min(len(d.Data), n+d.Segment)]
		full := w.room >= 0 && w.room < len(b)
		if full && !wait {
			return n, ErrWouldBlock
		}
		if full || wait && w.stuck || !wait && w.slow {
			w.waiting = true
			w.more.Wait()
			w.waiting = false
			continue
		}
		if w.fail != nil {
			if err := w.fail(d.Route); err != nil {
				return n, err
			}
		}
		if w.mtu > 0 && len(b) > w.mtu && !d.Fragment {
			return n, ErrTooBig
		}
		if w.room >= 0 {
			w.room -= len(b)
		}
		n += len(b)
		w.keepLocked(datagram{bytes: bytes.Clone(b), route: d.Route, fragment: d.Fragment, by: by})
	}
	return n, nil
}

func (w *fakeWriter) keepLocked(d datagram) {
	if !d.Parse(d.bytes) {
		w.t.Errorf("what is sent is not uTP: %x", d.bytes)
	}
	w.noteLocked("send", &d)
	if w.out != nil {
		w.out(d)
		return
	}
	w.sent = append(w.sent, d)
}

// caller finds out on whose behalf the writer is called.
func caller() sentBy {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		switch {
		case strings.Contains(f.Function, "(*Receiver)."):
			return byReceiver
		case strings.HasSuffix(f.Function, "(*Endpoint).Run"):
			return bySender
		case strings.HasSuffix(f.Function, "(*Conn).onTimer"):
			return byTimer
		case !more:
			return byUser
		}
	}
}

// take removes the first n datagrams that were sent, or as many as there are;
// all if n is negative.
func (w *fakeWriter) take(n int) []datagram {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n < 0 || n > len(w.sent) {
		n = len(w.sent)
	}
	ds := slices.Clone(w.sent[:n])
	w.sent = w.sent[n:]
	return ds
}

// setRoom limits what is sent to n bytes, as a full socket buffer does; open
// lifts that and wakes the sender.
func (w *fakeWriter) setRoom(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.room = n
	w.more.Broadcast()
}

func (w *fakeWriter) open() {
	w.stick(false)
	w.slowDown(false)
	w.setRoom(-1)
}

// stick has the sender wait, as if its goroutine did not get to run, until it is
// unstuck. Others can send.
func (w *fakeWriter) stick(stuck bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stuck = stuck
	w.more.Broadcast()
}

// slowDown has the system calls of TryWrite take their time, which they should
// not, until that is over.
func (w *fakeWriter) slowDown(slow bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow = slow
	w.more.Broadcast()
}

// failWith has sending fail with what f returns; nil ends that.
func (w *fakeWriter) failWith(f func(Route) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = f
}

// setMTU has longer datagrams be too big.
func (w *fakeWriter) setMTU(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mtu = n
}

// count is how often the writer was called on behalf of by.
func (w *fakeWriter) count(by sentBy) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[by]
}

// blocked reports whether the sender waits for room.
func (w *fakeWriter) blocked() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiting
}

// note adds a datagram to the transcript.
func (w *fakeWriter) note(what string, route Route, b []byte) {
	d := datagram{route: route}
	if !d.Parse(b) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(what, &d)
}

func (w *fakeWriter) noteLocked(what string, d *datagram) {
	if !w.silent {
		w.log = append(w.log, fmt.Sprintf("%12v %s %v", time.Since(w.epoch), what, d))
	}
}

func (w *fakeWriter) transcript() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.log[max(0, len(w.log)-60):], "\n")
}
