//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package udp

// batches are not there: datagrams are sent one by one.
type batches struct{}

func (*batches) init()               {}
func (*batches) work() bool          { return false }
func (*batches) refuse(_ error) bool { return false }

type batch struct{}

func (m *send) sendBatch(int) (int, error) { panic("BUG: there are no batches") }
