package udp

import (
	"encoding/binary"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSegmentSize(t *testing.T) {
	message := func(level, kind, size int) []byte {
		b, data := appendControl(nil, level, kind, size)
		copy(data, binary.NativeEndian.AppendUint32(nil, 1448))
		return b
	}
	other := message(syscall.IPPROTO_IP, udpGRO, 4)
	require.Zero(t, segmentSize(nil))
	require.Zero(t, segmentSize(other))
	require.Zero(t, segmentSize(message(solUDP, udpSegment, 4)))
	require.Zero(t, segmentSize(message(solUDP, udpGRO, 3)))
	require.Equal(t, 1448, segmentSize(append(other, message(solUDP, udpGRO, 4)...)))
}
