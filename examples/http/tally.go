package main

import (
	"fmt"
	"net"
	"sync"
	"time"

	"utppunch/utp"
)

// tally remembers connections for what their counters say in the end; they say
// it after Close, too. The zero value is ready for use.
type tally struct {
	mu    sync.Mutex
	conns map[*utp.Conn]struct{}
}

// add counts a connection, unless it is known.
func (t *tally) add(c net.Conn) {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		c = secure.NetConn()
	}
	if c, ok := c.(*utp.Conn); ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.conns == nil {
			t.conns = make(map[*utp.Conn]struct{})
		}
		t.conns[c] = struct{}{}
	}
}

// count returns how many connections there were.
func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns)
}

// summary says what is worth knowing about all connections together.
func (t *tally) summary() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var packets, again uint64
	var rtt time.Duration // the shortest: the longer ones have waited in queues
	for c := range t.conns {
		s := c.Stats()
		packets += s.PacketsSent
		again += s.Retransmits
		if rtt == 0 || s.MinRTT > 0 && s.MinRTT < rtt {
			rtt = s.MinRTT
		}
	}
	conns := "connections"
	if len(t.conns) == 1 {
		conns = "connection"
	}
	return fmt.Sprintf("%d %s, round trip %v, %d packets sent, %d of them again",
		len(t.conns), conns, rtt.Round(time.Microsecond), packets, again)
}
