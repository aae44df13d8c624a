package udp

import "net"

// The socket buffers asked for, in bytes. The receive buffer holds what comes
// while the reader waits for a CPU: at 10 Gbit/s, 8 MiB are 7 ms. The send
// buffer only has to keep the system busy while the sender is woken.
const (
	readBufferSize  = 8 << 20
	writeBufferSize = 4 << 20

	// minBufferSize is the size below which nothing is asked for: every
	// system's default is at least about as large.
	minBufferSize = 64 << 10
)

// enlargeBuffers enlarges the buffers of pc as far as the system lets it.
func enlargeBuffers(pc net.PacketConn) {
	if b, ok := pc.(interface{ SetReadBuffer(bytes int) error }); ok {
		enlarge(b.SetReadBuffer, readBufferSize)
	}
	if b, ok := pc.(interface{ SetWriteBuffer(bytes int) error }); ok {
		enlarge(b.SetWriteBuffer, writeBufferSize)
	}
}

// enlarge sets the largest size that is accepted. Linux caps what is too large
// by itself; macOS and the BSDs refuse it.
func enlarge(set func(bytes int) error, size int) {
	for size >= minBufferSize && set(size) != nil {
		size /= 2
	}
}
