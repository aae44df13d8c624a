package engine

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/utp/internal/wire"
)

var (
	conversations = flag.Int("conversations", defaultConversations(), "number of seeds that TestConversations tries")
	conversation  = flag.Int64("seed", -1, "the one seed that TestConversations tries, with a log of the packets")
)

func defaultConversations() int {
	if raceEnabled {
		return 60
	}
	return 3000
}

// TestConversations holds many conversations in virtual time: two engines, a
// bad network, and two applications that write, read, pause and close at
// moments drawn from the seed.
func TestConversations(t *testing.T) {
	if *conversation >= 0 {
		s := newScenario(uint64(*conversation))
		s.p.log = t.Logf
		err := s.run()
		t.Log(s)
		require.NoError(t, err)
		return
	}
	var next, failed atomic.Int64
	var wg sync.WaitGroup
	failures := make(chan string, 10)
	tally := make([]tally, runtime.GOMAXPROCS(0))
	for i := range tally {
		wg.Go(func() {
			for {
				seed := next.Add(1) - 1
				if seed >= int64(*conversations) || failed.Load() >= int64(cap(failures)) {
					return
				}
				s := newScenario(uint64(seed))
				if err := s.run(); err != nil && failed.Add(1) <= int64(cap(failures)) {
					failures <- fmt.Sprintf("seed %d: %v\n%v\nreplay: go test ./utp/internal/engine -run '^TestConversations$' -v -seed %d", seed, err, s, seed)
				}
				tally[i].add(s)
			}
		})
	}
	wg.Wait()
	close(failures)
	for f := range failures {
		t.Error(f)
	}
	sum := tally[0]
	for _, x := range tally[1:] {
		sum.packets += x.packets
		sum.virtual += x.virtual
		for i := range x.reasons {
			sum.reasons[i] += x.reasons[i]
		}
	}
	t.Logf("%d datagrams, %v of virtual time, closed for reason %v", sum.packets, sum.virtual.Round(time.Hour), sum.reasons)
}

// tally is what happened in a number of conversations.
type tally struct {
	packets int
	virtual time.Duration
	reasons [TimedOut + 1]int
}

func (y *tally) add(s *scenario) {
	y.packets += s.p.packet
	y.virtual += s.p.now.Sub(s.start)
	y.reasons[s.a.reason]++
	y.reasons[s.b.reason]++
}

// scenario is one conversation.
type scenario struct {
	seed    uint64
	p       *pair
	a, b    *actor
	start   Time
	foreign bool
	giveUp  time.Duration // the dialler aborts, zero for never
	dials   int
	nextTry Time
}

// dialDelays are the times between attempts to connect; each has an id and a
// number of its own.
var dialDelays = [...]time.Duration{1, 2, 4, 8, 8, 8, 8, 8}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func chance(r *rand.Rand, p float64) bool { return r.Float64() < p }

func newScenario(seed uint64) *scenario {
	r := rand.New(rand.NewPCG(seed, 0))
	p := newPair(seed)
	s := &scenario{seed: seed, p: p, start: p.now, foreign: chance(r, 0.4)}
	if s.foreign {
		p.mangle = stripHello
	}
	resets := chance(r, 0.7)
	if s.foreign && chance(r, 0.3) {
		// One of them speaks utp-punch's dialect, which the other finds out, or has
		// been told. utp-punch answers what it does not know with RESETs.
		which := r.IntN(3)
		if which != 0 {
			p.a.params.Dialect = UTPPunch
		}
		if which != 1 {
			p.b.params.Dialect = UTPPunch
		}
		p.mangle, resets = likePunch, true
	}
	for _, x := range [...]*peer{p.a, p.b} {
		x.out = drawLink(r)
		x.resets = resets
		x.skew = drawSkew(r)
		x.seq = drawSeqNr(r)
		if chance(r, 0.2) {
			x.room = 2 << 10
		}
		drawParams(r, x.params, s.foreign)
		if chance(r, 0.1) {
			x.mem.budget = 128 << 10
		}
	}
	if chance(r, 0.1) {
		p.b.out = p.a.out
	}
	if p.a.params.MaxDatagram > MaxDatagramIPv4 {
		p.a.room, p.b.room = 0, 0
	}
	if chance(r, 0.03) {
		s.giveUp = time.Duration(r.Int64N(int64(2 * time.Second)))
	}
	s.a = newActor(p, p.a, drawPlan(r), seed)
	s.b = newActor(p, p.b, drawPlan(r), seed)
	step := s.a.step
	p.a.step = func() {
		s.dial()
		step()
	}
	return s
}

// stripHello makes both sides take each other for another implementation.
func stripHello(_ *peer, d []byte) []byte {
	if d[0]>>4 != byte(wire.Syn) || d[1] != wire.ExtBits {
		return d
	}
	d = append([]byte(nil), d[:wire.HeaderSize]...)
	d[1] = 0
	return d
}

// likePunch has the SYN of one that speaks utp-punch's dialect look like it.
func likePunch(x *peer, d []byte) []byte {
	d = stripHello(x, d)
	if d[0]>>4 == byte(wire.Syn) && x.params.Dialect == UTPPunch {
		d = bytes.Clone(d)
		binary.BigEndian.PutUint32(d[8:], 0)
		binary.BigEndian.PutUint32(d[12:], punchWindow)
	}
	return d
}

func drawLink(r *rand.Rand) link {
	var l link
	l.delay = pick(r, 0, time.Microsecond, time.Duration(r.Int64N(int64(10*time.Millisecond))), time.Duration(r.Int64N(int64(400*time.Millisecond))))
	l.jitter = pick(r, 0, 0, l.delay/10, l.delay, time.Duration(r.Int64N(int64(50*time.Millisecond))))
	l.loss = pick(r, 0, 0.01, 0.1*r.Float64(), 0.2*r.Float64())
	l.duplicate = pick(r, 0, 0, 0.1*r.Float64())
	if chance(r, 0.4) {
		l.rate = 20_000 << r.IntN(10)
		l.queue = max(4000, int(float64(l.rate)*0.2*r.Float64()))
	}
	if chance(r, 0.1) {
		l.downAt = Time(time.Second + time.Duration(r.Int64N(int64(pick(r, 2*time.Second, 20*time.Second)))))
		l.upAt = l.downAt.Add(time.Duration(r.Int64N(int64(10 * time.Second))))
	}
	switch r.IntN(8) {
	case 0:
		l.mtu = BaseDatagram + r.IntN(300)
	case 1:
		l.iface = 300 + r.IntN(1300)
	}
	return l
}

// drawSkew sets a clock; often it is about to wrap on the wire.
func drawSkew(r *rand.Rand) time.Duration {
	const wrap = (1 << 32) * time.Microsecond
	return pick(r, 0, wrap-time.Duration(r.Int64N(int64(20*time.Second))), time.Duration(r.Int64N(int64(wrap)))).Truncate(time.Microsecond)
}

// drawSeqNr is often about to wrap.
func drawSeqNr(r *rand.Rand) wire.SeqNr {
	return pick(r, wire.SeqNr(r.Uint32()), -wire.SeqNr(r.IntN(300)), -wire.SeqNr(r.IntN(5)))
}

func drawParams(r *rand.Rand, p *Params, foreign bool) {
	p.SendBuffer = pick(r, 1<<20, 1<<20, 64<<10, 4<<10, 1000)
	p.RecvBuffer = pick(r, 1<<20, 1<<20, 64<<10, 16<<10, 4<<10)
	p.MaxDatagram = pick(r, MaxDatagramIPv4, MaxDatagramIPv4, MaxDatagramIPv4, BaseDatagram, 576, 9000)
	p.Linger = pick(r, 60*time.Second, 60*time.Second, 5*time.Second)
	if foreign {
		// Other kinds do not answer keepalives; but they send some.
		p.IdleTimeout = 90 * time.Second
	}
}

func drawPlan(r *rand.Rand) plan {
	pl := plan{
		total:     pick(r, 0, r.IntN(10), r.IntN(5000), r.IntN(100_000), r.IntN(300_000), r.IntN(300_000), r.IntN(300_000)),
		piece:     pick(r, 10, 1000, 5000, 64<<10, 64<<10),
		readPiece: pick(r, 500, 8<<10, 64<<10),
		noDelay:   chance(r, 0.2),
		chunks:    chance(r, 0.3),
		end:       pick(r, endGracefully, endGracefully, endGracefully, endGracefully, endSilently, endWriting, endReading, endBoth, endBoth, endAbruptly),
		endAfter:  time.Duration(r.Int64N(int64(pick(r, time.Millisecond, time.Second, 20*time.Second, 60*time.Second, 60*time.Second)))),
	}
	if pl.piece == 10 {
		pl.total = min(pl.total, 5000)
	}
	pl.endAt = pick(r, 1<<30, 1<<30, r.IntN(2*pl.total+1))
	if chance(r, 0.3) {
		pl.writePause = time.Duration(r.Int64N(int64(200 * time.Millisecond)))
		pl.total = min(pl.total, 200*pl.piece)
	}
	if chance(r, 0.2) {
		pl.readPause = time.Duration(r.Int64N(int64(200 * time.Millisecond)))
		pl.readPiece = max(pl.readPiece, 8<<10)
	}
	if chance(r, 0.3) {
		pl.pauseAt = r.IntN(100_000)
		pl.longPause = time.Duration(r.Int64N(int64(pick(r, time.Second, 100*time.Second))))
	}
	return pl
}

// dial makes the next attempt to connect when it is time.
func (s *scenario) dial() {
	x, now := s.p.a, s.p.now
	if s.a.started != 0 || x.events&EventConnected != 0 || x.conn.Reason() == Refused {
		return
	}
	if s.giveUp > 0 && now >= s.start.Add(s.giveUp) || s.dials == len(dialDelays) && now >= s.nextTry {
		s.a.note("gives up dialling")
		s.a.discards, s.a.aborted = true, true
		x.conn.Abort()
		return
	}
	if now >= s.nextTry {
		if s.dials > 0 {
			x.conn.Abort()
			s.p.flush(x)
			x.id += 2
			x.seq += 1000
			s.p.dial()
		}
		s.nextTry = now.Add(dialDelays[s.dials] * time.Second)
		s.dials++
	}
	s.a.wakeAt(s.nextTry)
	if s.giveUp > 0 {
		s.a.wakeAt(s.start.Add(s.giveUp))
	}
}

func (s *scenario) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "at %v: foreign %v, resets %v, %d dials, %d datagrams", time.Duration(s.p.now), s.foreign, s.p.a.resets, s.dials, s.p.packet)
	for _, a := range [...]*actor{s.a, s.b} {
		fmt.Fprintf(&b, "\n%s: %+v\n   link %+v, room %d, skew %v, seq %d", a.x.name, a.plan, a.x.out, a.x.room, a.x.skew, a.x.seq)
		fmt.Fprintf(&b, "\n   SendBuffer %d, RecvBuffer %d, budget %d, MaxDatagram %d, Linger %v", a.x.params.SendBuffer, a.x.params.RecvBuffer, a.x.mem.budget, a.x.params.MaxDatagram, a.x.params.Linger)
		fmt.Fprintf(&b, "\n   wrote %d (acknowledged %d), read %d, EOF %v, discards %v, closed %v for reason %d", a.wrote, a.acked, a.read, a.sawEOF, a.discards, time.Duration(a.closedAt), a.reason)
		if c := a.x.conn; c != nil {
			fmt.Fprintf(&b, "\n   state %d, timers %v, stats %+v", c.state, c.timers, c.Stats())
		}
	}
	return b.String()
}

// run holds the conversation and judges it.
func (s *scenario) run() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v\n%s", r, debug.Stack())
		}
	}()
	p := s.p
	p.dial()
	if err := p.run(30*time.Minute, s.done); err != nil {
		return err
	}
	if err := s.firstError(); err != nil {
		return err
	}
	return s.judge()
}

func (s *scenario) firstError() error {
	for _, a := range [...]*actor{s.a, s.b} {
		if a.err != nil {
			return fmt.Errorf("%s: %w", a.x.name, a.err)
		}
	}
	return nil
}

// done reports whether the conversation is over, or has gone wrong.
func (s *scenario) done() bool {
	for _, a := range [...]*actor{s.a, s.b} {
		if a.err == nil && a.inv.c != nil {
			a.err = a.inv.checkIdle()
		}
		if a.err != nil {
			return true
		}
	}
	if s.p.packet > 200_000 {
		s.a.err = fmt.Errorf("too many packets")
		return true
	}
	return s.a.done() && s.b.done()
}
