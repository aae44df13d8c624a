package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"
)

// streams are what the two sides write, long enough for any conversation.
var streams = func() map[string][]byte {
	all := map[string][]byte{"a": make([]byte, 512<<10), "b": make([]byte, 512<<10)}
	for name, s := range all {
		fill(s, name[0], 0)
	}
	return all
}()

// ending is what a side does in the end.
type ending uint8

const (
	endGracefully ending = iota // all is written, CloseWrite, read to the end, Close
	endSilently                 // the same without the Close
	endWriting                  // CloseWrite at some moment, the rest as above
	endReading                  // CloseRead at some moment; then as above, but nothing is read
	endBoth                     // Close at some moment
	endAbruptly                 // Abort at some moment
	endingCount
)

func (e ending) String() string {
	return [...]string{"gracefully", "silently", "with CloseWrite", "with CloseRead", "with Close", "with Abort"}[e]
}

// plan is what one side is going to do.
type plan struct {
	total      int // bytes to write
	piece      int // at once, at the most
	readPiece  int
	writePause time.Duration // now and then, at the most
	readPause  time.Duration
	pauseAt    int // one longer pause in reading, at this offset
	longPause  time.Duration
	end        ending
	endAfter   time.Duration // the moment, counted from the connection
	endAt      int           // or when so much is written and read
	noDelay    bool
	chunks     bool // WriteChunk and ReadChunk
}

// actor is the application of one side. As the driver does, it acts when the
// connection has reported an event, and otherwise only of its own accord.
type actor struct {
	plan
	p   *pair
	x   *peer
	rng *rand.Rand
	inv invariants
	err error

	wrote, read         int
	canWrite, canRead   bool
	nextWrite, nextRead Time
	started             Time // when it learned that it is connected
	ended               bool // the moment has come
	discards            bool // it has closed reading, or more
	aborted             bool
	sawEOF              bool
	closedAt            Time // when its connection was closed
	closedOrder         int  // and after how many datagrams
	reason              Reason
	acked               int // bytes that were acknowledged while it was open
}

func newActor(p *pair, x *peer, pl plan, seed uint64) *actor {
	a := &actor{plan: pl, p: p, x: x, rng: rand.New(rand.NewPCG(seed, uint64(x.name[0])))}
	x.step = a.step
	x.check = a.check
	return a
}

func (a *actor) check() {
	if a.x.conn == nil || a.err != nil {
		return
	}
	if a.inv.c != a.x.conn {
		a.inv = invariants{c: a.x.conn, mem: a.x.mem}
		a.closedAt, a.reason = 0, NotClosed
	}
	if err := a.inv.check(); err != nil {
		a.err = err
	}
	if a.x.conn.state != closed {
		a.acked = int(a.x.conn.buf.start)
	} else if a.closedAt == 0 {
		a.closedAt, a.closedOrder, a.reason = a.p.now, a.p.order, a.x.conn.Reason()
		a.p.log("%12v %s is closed: reason %d", time.Duration(a.p.now), a.x.name, a.reason)
		if a.reason == Finished {
			a.acked = a.wrote
		}
	}
}

func (a *actor) note(format string, args ...any) {
	a.p.log("%12v %s "+format, append([]any{time.Duration(a.p.now), a.x.name}, args...)...)
}

// step is one turn of the application.
func (a *actor) step() {
	c, e := a.x.conn, a.x.events
	a.x.events = 0
	if a.started == 0 {
		if e&EventConnected == 0 {
			return
		}
		a.started = a.p.now
		a.x.busy = true
		c.SetNoDelay(a.noDelay)
		a.wakeAt(a.started.Add(a.endAfter))
	}
	a.canWrite = a.canWrite || e&EventWritable != 0
	a.canRead = a.canRead || e&EventReadable != 0
	a.writing()
	a.reading()
	a.maybeEnd()
	a.check()
}

// wakeAt has step called at t, unless something earlier is planned.
func (a *actor) wakeAt(t Time) {
	if a.x.wake == 0 || t < a.x.wake {
		a.x.wake = max(t, a.p.now)
	}
}

// pause returns when to go on, mostly at once.
func (a *actor) pause(longest time.Duration) Time {
	if longest == 0 || a.rng.IntN(4) != 0 {
		return 0
	}
	return a.p.now.Add(time.Duration(a.rng.Int64N(int64(longest))))
}

// due reports whether t has come, and sees to it that step is called when it does.
func (a *actor) due(t Time) bool {
	if t > a.p.now {
		a.wakeAt(t)
		return false
	}
	return true
}

func (a *actor) writing() {
	c := a.x.conn
	for a.canWrite && a.wrote < a.total && !c.WriteClosed() && a.due(a.nextWrite) {
		b := streams[a.x.name][a.wrote:min(a.total, a.wrote+1+a.rng.IntN(a.piece))]
		switch {
		case !a.chunks:
			n := c.Write(b)
			a.canWrite = n == len(b)
			a.wrote += n
		case c.Writable() == 0:
			c.WaitWritable()
			a.canWrite = false
		case len(b) < MinChunk:
			c.WriteAll(b)
			a.wrote += len(b)
		default:
			chunk := a.x.mem.Get(min(len(b), MaxChunk))
			n := copy(chunk.Buf, b)
			c.WriteChunk(chunk, n)
			a.wrote += n
		}
		a.check()
		a.nextWrite = a.pause(a.writePause)
	}
	// Who calls Close or Abort some time may or may not have said that all was
	// written.
	if a.wrote == a.total && !c.WriteClosed() && c.Connected() && (a.end < endBoth || a.total%2 == 0) {
		a.note("wrote all of %d bytes: CloseWrite", a.total)
		c.CloseWrite()
	}
}

func (a *actor) reading() {
	c := a.x.conn
	for a.canRead && !a.discards && a.due(a.nextRead) {
		if c.Readable() == 0 {
			if a.canRead = false; c.EOF() && !a.sawEOF {
				a.note("reads the end after %d bytes", a.read)
				a.sawEOF = true
			}
			return
		}
		var got []byte
		var chunk *Chunk
		if a.chunks {
			chunk, got = c.ReadChunk(a.x.clock(a.p))
		} else {
			got = a.p.reading[:1+a.rng.IntN(a.readPiece)]
			got = got[:c.Read(a.x.clock(a.p), got)]
		}
		if want := streams[a.x.other.name][a.read:]; len(got) == 0 || len(got) > len(want) || !bytes.Equal(got, want[:len(got)]) {
			a.err = fmt.Errorf("what was read at %d, %d bytes, is not what was written", a.read, len(got))
		}
		if chunk != nil {
			a.x.mem.Put(chunk)
		}
		before := a.read
		a.read += len(got)
		a.check()
		a.nextRead = a.pause(a.readPause)
		if before <= a.pauseAt && a.pauseAt < a.read {
			a.nextRead = a.p.now.Add(a.longPause)
			a.note("pauses for %v after %d bytes", a.longPause, a.read)
		}
	}
}

// maybeEnd does what the plan says for the end, when it is time.
func (a *actor) maybeEnd() {
	c := a.x.conn
	if c.Reason() != NotClosed {
		return
	}
	now := a.x.clock(a.p)
	if a.wrote+a.read >= a.endAt || a.due(a.started.Add(a.endAfter)) {
		if !a.ended && a.end >= endWriting {
			a.note("ends %v: %d written, %d read", a.end, a.wrote, a.read)
		}
		switch {
		case a.ended:
		case a.end == endWriting:
			c.CloseWrite()
			a.total = a.wrote
		case a.end == endReading:
			a.discards = true
			c.CloseRead(now)
		case a.end == endBoth:
			a.discards = a.discards || !a.sawEOF
			c.Close(now)
			if a.rng.IntN(4) == 0 {
				c.Hurry(now)
			}
		case a.end == endAbruptly:
			a.discards, a.aborted = true, true
			c.Abort()
		}
		a.ended = true
	}
	if a.end != endSilently && c.WriteClosed() && (a.sawEOF || a.end == endReading && a.discards) && !c.closing {
		a.note("has done everything: Close")
		c.Close(now)
	}
}

// done reports whether nothing can happen any more on this side.
func (a *actor) done() bool {
	c := a.x.conn
	return c == nil || c.Reason() != NotClosed && (a.discards || a.sawEOF || c.Readable() == 0 && !c.EOF())
}
