// Package interop tests this module against other implementations of uTP: real programs, run as child processes, on
// the loopback interface. Everything but this file has the build tag interop:
//
//	internal/interop/install.sh
//	go test -tags interop -timeout 10m ./internal/interop
//
// Nothing skips: a peer that is not installed is a failure. The tests end with a table of what was tried with whom;
// -speed adds one of how fast that was, -long has peers idle for three minutes, and -seed varies the losses.
//
// # Peers
//
// A peer is a small driver, in the language of the library that it drives, which does what it is told by lines on its
// standard input and reports by lines on its standard output; it ends when its input does, so that none survives the
// tests. Peers with byte streams (streams.js: libutp under Node) speak one protocol, and whatever is tried with one is
// tried with all of them: see streamPeers. libtorrent offers no streams; with it the conversation is the BitTorrent
// protocol, of which bittorrent_test.go knows just enough (torrents.py).
//
// # Paths
//
// Between us and a peer there is either nothing or a Relay, which loses, repeats, delays and reorders datagrams, drops
// the ones that a test names, and records all of them for Wireshark.
package interop
