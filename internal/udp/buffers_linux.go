package udp

import "syscall"

// enlargeBuffers enlarges the socket's buffers: beyond the system's limit,
// net.core.rmem_max and wmem_max, if the process may (CAP_NET_ADMIN), and else up
// to it.
func (s *socket) enlargeBuffers() {
	_ = s.raw.Control(func(fd uintptr) {
		enlargeBuffer(int(fd), syscall.SO_RCVBUF, syscall.SO_RCVBUFFORCE, readBufferSize)
		enlargeBuffer(int(fd), syscall.SO_SNDBUF, syscall.SO_SNDBUFFORCE, writeBufferSize)
	})
}

// enlargeBuffer sets a buffer's size by force or, if that is refused, by option.
// That caps it to the limit: a buffer that someone with more rights has made
// larger would shrink for good.
func enlargeBuffer(fd, option, force, size int) {
	have := bufferSize(fd, option)
	if have >= reportedSize(size) || syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, force, size) == nil {
		return
	}
	if cappedSize(option, size) > have {
		_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, option, size)
	}
}

// reportedSize is the size that the kernel reports after size was set.
func reportedSize(size int) int { return 2 * size }

// cappedSize returns the size that would be reported if size were set by option.
// It asks a socket made for that: a container need not see the limit itself.
func cappedSize(option, size int) int {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return reportedSize(size)
	}
	defer syscall.Close(fd)
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, option, size)
	return bufferSize(fd, option)
}
