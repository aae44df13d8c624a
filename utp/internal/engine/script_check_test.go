package engine

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"utppunch/utp/internal/wire"
)

// This file is what a script checks of every datagram, and how it compares and
// prints them.

// capture takes a datagram that the engine sent.
func (tc *testConn) capture(b []byte) {
	tc.t.Helper()
	d := datagram{bytes: b, at: tc.now}
	if !d.Parse(b) {
		tc.fatalf("sent what is not uTP: %x", b)
	}
	tc.log = append(tc.log, logEntry{at: tc.now, bytes: b, sent: true})
	d.seq, d.ack = near(d.SeqNr, tc.base, tc.next), near(d.AckNr, tc.peerBase, tc.ordered)
	tc.ordered = max(tc.ordered, d.ack)
	tc.checkRule02(&d)
	tc.checkStream(&d)
	tc.pending = append(tc.pending, d)
}

// checkRule02 has every script check rule 2, wherever it does not depend on the
// conversation, and rule 1.
func (tc *testConn) checkRule02(d *datagram) {
	tc.t.Helper()
	never := func(bad bool, what string) {
		tc.t.Helper()
		if bad {
			tc.fatalf("rule 2: never %s: %s", what, tc.describe(&d.Packet, true))
		}
	}
	never(d.Type == wire.Data && len(d.Payload) == 0, "empty DATA")
	never(d.Type != wire.Data && len(d.Payload) > 0, "payload on anything but DATA")
	first := d.bytes[1]
	_, hello := d.Extensions.Hello()
	never(first == wire.ExtBits && (d.bytes[21] != 8 || !hello), "other extension bits than Hello")
	never(first == wire.ExtBits && d.Type != wire.Syn && (!tc.acceptor || tc.conn.state != synRecv), "Hello but on SYN and SYN-ACK")
	never(first == wire.ExtSelectiveAck && d.Type != wire.State, "selective acknowledgements but on STATE")
	never(first > wire.ExtBits, "another extension first")
	never(d.Timestamp == 0, "timestamp 0")
	never(tc.sampled && !wire.IsSample(d.TimestampDiff), "a difference that means none")
	largest := MaxDatagramIPv4
	if tc.ipv6 {
		largest = MaxDatagramIPv6
	}
	never(!tc.ownKind && len(d.bytes) > largest, "more than fits Ethernet")
	never(d.Type != wire.State && d.Type != wire.Reset && !tc.ownKind && d.seq-tc.acked > 900, "more than 900 outstanding")
	never(tc.acceptor && tc.conn.state == synRecv && (d.Type != wire.State || d.seq != 1), "anything but the SYN-ACK before confirmation")
	switch {
	case d.Type == wire.State && tc.finSent && !tc.ownKind && !tc.utpPunch:
		// The pair has a test of its own.
		never(d.seq != tc.next && d.seq != tc.next-1, "a STATE with another number than that of the FIN and the next")
	case d.Type == wire.State:
		never(d.seq != tc.next, "a STATE with another number than the next")
	}
	id := tc.connID
	if d.Type != wire.Syn && tc.acceptor == tc.utpPunch {
		id++
	}
	undecided := tc.conn.Dialect() == AutoDialect
	never(d.ConnID != id && !(undecided && d.ConnID == id^1), "a wrong id")
	if tc.utpPunch && !undecided {
		never(first != 0, "an extension to utp-punch")
		never((d.Type == wire.Data || d.Type == wire.Fin) && d.seq-tc.acked > punchOutstanding, "more than 62 packets outstanding")
		never((d.Type == wire.Data || d.Type == wire.Fin) && d.SeqNr == 0 && tc.acked != d.seq-1, "number 0 before all before it was acknowledged")
	}
}

// checkStream checks that numbers are used once and in order, and that a packet
// says the same every time.
func (tc *testConn) checkStream(d *datagram) {
	tc.t.Helper()
	switch {
	case d.Type == wire.State || d.Type == wire.Reset:
		return
	case d.seq != tc.next:
		if first, ok := tc.sent[d.seq]; !ok || !bytes.Equal(first, d.Payload) {
			tc.fatalf("number %d has other content, or was not sent yet", d.seq)
		}
		return
	}
	end := min(tc.offset+len(d.Payload), len(tc.written))
	if !bytes.Equal(d.Payload, tc.written[tc.offset:end]) {
		tc.fatalf("what was sent is not what was written: %s", tc.describe(&d.Packet, true))
	}
	tc.sent[d.seq] = d.Payload
	tc.offset = end
	tc.next++
	tc.finSent = tc.finSent || d.Type == wire.Fin
}

// mismatch says how d differs from p.
func (tc *testConn) mismatch(p packet, d *datagram) (bad string) {
	check := func(name string, want any, got int) {
		if m, ok := want.(match); want != nil && want != got && !(ok && m.ok(got)) {
			bad += fmt.Sprintf("; %s is %d, want %v", name, got, want)
		}
	}
	if p.typ != d.Type {
		bad += fmt.Sprintf("; want %v", p.typ)
	}
	check("id", p.id, int(d.ConnID))
	check("seq", p.seq, d.seq)
	check("ack", p.ack, d.ack)
	check("timestamp", p.timestamp, int(d.Timestamp))
	check("diff", p.diff, int(d.TimestampDiff))
	check("window", p.window, int(d.Window))
	check("size", p.size, len(d.bytes))
	if s, ok := p.payload.(string); ok {
		if s != string(d.Payload) {
			bad += fmt.Sprintf("; payload is %q, want %q", d.Payload, s)
		}
	} else {
		check("payload", p.payload, len(d.Payload))
	}
	if sack := d.sack(); p.sack != nil && !slices.Equal(p.sack, sack) {
		bad += fmt.Sprintf("; selective acknowledgement of %d, want %d", sack, p.sack)
	}
	if _, hello := d.Extensions.Hello(); p.hello != nil && p.hello != hello {
		bad += fmt.Sprintf("; Hello: %v", hello)
	}
	return bad
}

// sack returns the numbers that d acknowledges selectively.
func (d *datagram) sack() (acked []int) {
	n := d.ack + 2
	for typ, mask := range d.Extensions.All() {
		if typ != wire.ExtSelectiveAck {
			continue
		}
		for _, b := range mask {
			for bit := range 8 {
				if b>>bit&1 != 0 {
					acked = append(acked, n+bit)
				}
			}
			n += 8
		}
	}
	return acked
}

func (tc *testConn) transcript() string {
	var b bytes.Buffer
	entries := tc.log
	if skip := len(entries) - 100; skip > 0 {
		fmt.Fprintf(&b, "(%d earlier lines)\n", skip)
		entries = entries[skip:]
	}
	for i, e := range entries {
		if i > 0 && e.bytes == nil && e.text == entries[i-1].text {
			continue
		}
		fmt.Fprintf(&b, "%12.6f ", e.at.Sub(Time(time.Second)).Seconds())
		if e.bytes == nil {
			fmt.Fprintf(&b, "# %s\n", e.text)
			continue
		}
		var p wire.Packet
		p.Parse(e.bytes)
		arrow := "<-"
		if e.sent {
			arrow = "->"
		}
		fmt.Fprintf(&b, "%s %s\n", arrow, tc.describe(&p, e.sent))
	}
	return b.String()
}

// describe is a packet in words; its numbers are near the current ones.
func (tc *testConn) describe(p *wire.Packet, sent bool) string {
	seq, ack := near(p.SeqNr, tc.base, tc.next), near(p.AckNr, tc.peerBase, tc.ordered)
	if !sent {
		seq, ack = near(p.SeqNr, tc.peerBase, tc.peerNext), near(p.AckNr, tc.base, tc.next)
	}
	s := fmt.Sprintf("%-8v seq %d ack %d wnd %d", p.Type, seq, ack, p.Window)
	if p.Type == wire.Syn {
		s = fmt.Sprintf("%-8v seq %d wnd %d", p.Type, seq, p.Window)
	}
	if n := len(p.Payload); n > 0 {
		s += fmt.Sprintf(" len %d", n)
	}
	for typ, b := range p.Extensions.All() {
		s += fmt.Sprintf(" ext %d len %d %x", typ, len(b), b[:min(len(b), 16)])
	}
	return s
}
