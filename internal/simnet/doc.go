// Package simnet is a network in memory, for tests: net.PacketConns joined by links that delay, throttle, lose,
// duplicate, reorder and cut off datagrams.
//
//	       ┌──────┐   up                    down   ┌──────┐
//	write ►│ Conn │══════════►╗         ╔═════════►│ Conn │► read
//	       │  A   │           core (instant)       │  B   │
//	read  ◄│      │◄══════════╝         ╚◄═════════│      │◄ write
//	       └──────┘   down                    up   └──────┘
//
// Every [Conn] has an access link of its own, one [Link] up and one down; a datagram crosses the sender's up and the
// receiver's down link, so two flows towards one Conn share its down link as they share a home connection. Before its
// first link a datagram is shown to the filter ([Network.SetFilter]), with which a test drops the third packet, counts
// retransmissions or cuts a cable. How each of the latest datagrams ended is in [Network.Log].
//
// # Time
//
// The package knows no time but that of package time. Inside a testing/synctest bubble everything happens in virtual
// time and latencies are exact to the nanosecond; outside it happens in real time. A Network belongs to the bubble it
// was made in. Nobody waits while holding a lock, which synctest could not see as idleness, and nothing outlives
// [Network.Close].
//
// # Repeatability
//
// Each link draws from its own random sequence, which follows from the seed, the address and the direction alone. What
// happens to the n-th datagram of a link therefore does not depend on how the scheduler mixes goroutines elsewhere.
package simnet
