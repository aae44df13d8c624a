//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package udp

// sender has nothing to keep where sending is package net's business.
type sender struct{}

func (*sender) init(*socket) {}

// write cannot send without waiting here: on Windows sending is overlapped, and
// package net has no way to ask whether it would have to wait.
func (s *socket) write(t Transmit, wait bool) (int, error) {
	if !wait {
		return 0, ErrWouldBlock
	}
	return writeSegments(&t, s.stats, func(b []byte) error {
		_, err := s.conn.WriteToUDPAddrPort(b, t.Remote)
		return err
	})
}
