package engine

// Sizes of a datagram: UDP payload in bytes, uTP header included.
const (
	// BaseDatagram passes practically every path (RFC 8899's BASE_PLPMTU).
	BaseDatagram = 1200
	// MaxDatagramIPv4 and MaxDatagramIPv6 fill Ethernet's 1500 bytes.
	// libtorrent reads into a buffer of 1500, so nothing longer may go to a
	// peer that is not known to be of our own kind.
	MaxDatagramIPv4 = 1472
	MaxDatagramIPv6 = 1452
	// minDatagram passes every IPv4 path (576 bytes less IP and UDP headers).
	minDatagram = 548
	// MaxDatagram is the largest UDP payload over IPv4.
	MaxDatagram = 65507
)

// mtu finds out what the path carries: it starts at the base and sends real
// data in one larger packet, with fragmentation forbidden, a step. A lost probe
// ends the search; its packet is sent again with fragmentation allowed.
type mtu struct {
	current int    // largest datagram known to pass
	probe   uint16 // size of the probe in flight, zero if none
	steps   [2]uint16
	step    uint8 // next entry of steps
	cut     bool  // even minDatagram does not: anything may be fragmented
}

// init sets the search up. limit is the largest datagram that the
// configuration allows, ethernet the largest for any peer.
func (m *mtu) init(limit, ethernet int, ownKind bool) {
	m.current = min(BaseDatagram, limit)
	m.steps = [2]uint16{uint16(min(limit, ethernet))}
	if ownKind && limit > ethernet {
		m.steps[1] = uint16(limit)
	}
}

// next returns the size to probe, zero if there is nothing to find out.
func (m *mtu) next() int {
	if m.probe != 0 {
		return 0
	}
	for int(m.step) < len(m.steps) {
		if size := int(m.steps[m.step]); size > m.current {
			return size
		}
		m.step++
	}
	return 0
}

func (m *mtu) probeSent(size int) { m.probe = uint16(size) }

func (m *mtu) probeAcked() {
	m.current, m.probe = int(m.probe), 0
	m.step++
}

func (m *mtu) probeLost() {
	m.probe = 0
	m.step = uint8(len(m.steps))
}

// refused takes down what passes after the system refused to send size bytes.
func (m *mtu) refused(size int) {
	if size <= minDatagram {
		m.cut = true
		return
	}
	m.current = max(minDatagram, min(m.current-1, size*3/4))
}
