// Package utp is uTP (BEP 29), the transport protocol of BitTorrent, as net.Conn.
//
// It owns no socket. An [Endpoint] is any number of connections that share
// sockets; whoever owns those feeds it by a [Receiver] and sends for it as its
// [PacketWriter]. Package utppunch does that for a UDP port; programs use that
// package and meet this one in the types [Conn], [Addr], [Config] and [Stats].
//
// # Structure
//
//	Read, Write, Close ─┐                       ┌─ PacketWriter (try, do not wait)
//	timer ──────────────┼─ Conn.mu ─ engine ────┤
//	Receiver ───────────┘   (pure)              └─ ready list ─ Run (waits)
//
// The protocol is in internal/engine: one connection as a state machine without
// locks, clocks or I/O. This package adds the lock, the clock, one timer a
// connection and one for each deadline that is in use, the routing table and the semantics of package net. There is no
// goroutine a connection; an idle one costs its memory and, if keepalives are
// on, an armed timer.
//
// # Locks
//
// The order is Endpoint.mu, Conn.mu, then the mutex of the ready list, which is
// a leaf, as is Listener.mu, which also comes after Endpoint.mu. No lock is held
// during a system call. What the end of a connection means for its endpoint is
// done after Conn.mu was released. Helpers that need a lock end in Locked.
//
// # Conformance
//
// BEP 29 as its implementations speak it, which differs from its text: the
// initiator receives with the id of the SYN and sends with that plus one, the
// SYN-ACK consumes no sequence number, selective acknowledgements have any
// length. RFC 6298 (retransmission timer, with a floor of 200 ms, or 500 ms for
// other implementations), RFC 8985 (RACK, without the tail loss probe), RFC 9438
// (CUBIC), RFC 9406 (HyStart++), RFC 8899 (one step of path MTU discovery).
//
// Two endpoints of this implementation recognise each other by an extension of
// the SYN, and then may have 32,767 packets outstanding instead of 900, tell of
// all of them in selective acknowledgements, and answer keepalives.
//
// uTP neither encrypts nor authenticates. Whoever sees the packets can read and
// forge them; whoever does not has to guess the port, a connection id and a
// sequence number. Use TLS.
package utp
