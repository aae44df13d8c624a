//go:build interop

package interop

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// capture is what a relay saw, in order: all of it, or without payload the beginning and the end.
type capture struct {
	mu      sync.Mutex
	whole   bool
	packets []captured
	skipped int
}

type captured struct {
	at   time.Time
	d    direction
	data []byte
	size int
	lost bool
}

const (
	captureEnd  = 400 // packets that are kept of the beginning, and twice as many of the end
	captureHead = 64  // bytes
)

func (c *capture) add(d direction, data []byte, lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := captured{at: time.Now(), d: d, size: len(data), lost: lost}
	if !c.whole {
		data = data[:min(len(data), captureHead)]
		if len(c.packets) >= 4*captureEnd {
			c.packets = slices.Delete(c.packets, captureEnd, 2*captureEnd)
			c.skipped += captureEnd
		}
	}
	p.data = slices.Clone(data)
	c.packets = append(c.packets, p)
}

// all returns what has been captured so far.
func (c *capture) all() []captured {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.packets)
}

// String returns one line a packet, for when a test fails.
func (c *capture) String() string {
	var b strings.Builder
	packets := c.all()
	for i, p := range packets {
		if i == captureEnd && c.skipped > 0 {
			fmt.Fprintf(&b, "… %d left out\n", c.skipped)
		}
		fmt.Fprintf(&b, "%10.3f ms %v\n", float64(p.at.Sub(packets[0].at).Microseconds())/1e3, p)
	}
	return b.String()
}

func (p captured) String() string {
	h, ok := parseHeader(p.data)
	lost := ""
	if p.lost {
		lost = " LOST"
	}
	if !ok {
		return fmt.Sprintf("%v: %d bytes %x%s", p.d, p.size, p.data[:min(len(p.data), 28)], lost)
	}
	return fmt.Sprintf("%v: %v seq %d ack %d id %d wnd %d ts %d diff %d ext %d size %d %x%s",
		p.d, h.typ, h.seq, h.ack, h.id, h.window, h.timestamp, h.diff, h.ext, p.size, p.data[20:min(len(p.data), 36)], lost)
}

// header is a uTP header (BEP 29), read here independently of the library.
type header struct {
	typ                     packetType
	ext                     byte
	id, seq, ack            uint16
	timestamp, diff, window uint32
}

type packetType byte

const (
	typData packetType = iota
	typFin
	typState
	typReset
	typSyn
)

func (t packetType) String() string { return [...]string{"DATA", "FIN", "STATE", "RESET", "SYN"}[t] }

func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < 20 || b[0]&15 != 1 || b[0]>>4 > byte(typSyn) {
		return h, false
	}
	u16, u32 := binary.BigEndian.Uint16, binary.BigEndian.Uint32
	return header{
		typ: packetType(b[0] >> 4), ext: b[1], id: u16(b[2:]),
		timestamp: u32(b[4:]), diff: u32(b[8:]), window: u32(b[12:]),
		seq: u16(b[16:]), ack: u16(b[18:]),
	}, true
}
