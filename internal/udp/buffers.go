package udp

import "net"

// The socket buffers asked for, in bytes. The receive buffer holds what comes
// while the reader waits for a CPU: at 10 Gbit/s, 8 MiB are 7 ms. The send
// buffer only has to keep the system busy while the sender is woken: what is in it
// waits in the order of its arrival, bulk before what is urgent, where the ready
// list would serve connections in turn.
const (
	readBufferSize  = 8 << 20
	writeBufferSize = 128 << 10

	// minBufferSize is the size below which nothing is asked for: every
	// system's default is at least about as large.
	minBufferSize = 64 << 10
)

// Buffers returns the sizes of the socket's buffers, in bytes as SO_RCVBUF and
// SO_SNDBUF report them, and 0 for what is not known. Linux reports twice what it
// was asked for, and needs the rest for itself: a buffer of 8 MiB, as is asked
// for, is one of 16 MiB here.
func (c *Conn) Buffers() (recv, send int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0
	}
	return bufferSizes(raw)
}

// enlargeBuffers enlarges the buffers of pc as far as the system lets it, from
// the sizes that they are known to have.
func enlargeBuffers(pc net.PacketConn, recv, send int) {
	if b, ok := pc.(interface{ SetReadBuffer(bytes int) error }); ok {
		enlarge(b.SetReadBuffer, recv, readBufferSize)
	}
	if b, ok := pc.(interface{ SetWriteBuffer(bytes int) error }); ok {
		enlarge(b.SetWriteBuffer, send, writeBufferSize)
	}
}

// enlarge sets the largest size that is accepted, but none up to the one that
// it has. macOS and the BSDs refuse what is too large; Linux caps it.
func enlarge(set func(bytes int) error, have, size int) {
	for size >= minBufferSize && size > have && set(size) != nil {
		size /= 2
	}
}
