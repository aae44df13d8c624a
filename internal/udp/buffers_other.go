//go:build !linux

package udp

// enlargeBuffers enlarges the socket's buffers up to the system's limit.
func (s *socket) enlargeBuffers() {
	recv, send := bufferSizes(s.raw)
	enlargeBuffers(s.conn, recv, send)
}
