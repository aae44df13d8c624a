package utp

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"utppunch/utp/internal/wire"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStatsAreThoseOfTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		te := newTestEndpoint(t, nil)
		p := te.dialled(alice, ownKind)
		p.write(string(pattern(3000)))
		p.drain()
		p.advance(rtt)
		p.recv(packet{typ: wire.State, ack: 2})
		p.advance(time.Second)
		p.drain()
		p.recv(packet{typ: wire.Data, payload: "abc"}, packet{typ: wire.Data, payload: "de"})
		for range 3 {
			p.recv(packet{typ: wire.Data, seq: 1, payload: "abc"}, packet{typ: wire.Data, seq: 1, payload: "abc"})
		}
		p.recv(packet{typ: wire.Data, seq: 4, payload: "x"}, packet{typ: wire.Data, seq: 5, payload: "x"},
			packet{typ: wire.Data, seq: 6, payload: "x"}, packet{typ: wire.Data, seq: 7, payload: "x"})
		p.recv(packet{typ: wire.State, ack: 10_000})
		p.recv(packet{typ: wire.Data, seq: 9, payload: 60_000}, packet{typ: wire.Data, seq: 10, payload: 65_000},
			packet{typ: wire.Data, seq: 11, payload: 65_000})
		p.write("more").value("there is room")
		p.quiet = true

		got, want := reflect.ValueOf(p.conn.Stats()), reflect.ValueOf(p.conn.engine.Stats())
		fields := 0
		for _, f := range reflect.VisibleFields(want.Type()) {
			if !f.Anonymous {
				fields++
			}
		}
		require.Equal(t, fields, got.NumField(), "all that the engine counts")
		for i := range got.NumField() {
			name := got.Type().Field(i).Name
			assert.NotZero(t, got.Field(i).Interface(), "%s: the test does not exercise it", name)
			assert.EqualValues(t, want.FieldByName(name).Interface(), got.Field(i).Interface(), name)
		}
	})
}

func TestStats(t *testing.T) {
	everyRole(t, nil, func(t *testing.T, p *peer) {
		before := p.conn.Stats()
		require.Equal(t, rtt, before.SRTT)
		require.Equal(t, rtt, before.MinRTT)
		require.Equal(t, 1200, before.Datagram)
		require.Equal(t, 1<<20, before.PeerWindow)
		require.Equal(t, 64<<10, before.RecvWindow)
		require.False(t, before.OwnKind)

		p.write("hello").value("there is room")
		s := p.conn.Stats()
		require.EqualValues(t, 5, s.BytesSent)
		require.Equal(t, 5, s.FlightSize)
		require.Equal(t, 5, s.SendBuffered)
		p.lose("it is lost", packet{typ: wire.Data})
		p.advance(600 * time.Millisecond)
		p.want("and sent again", packet{typ: wire.Data})
		p.recv(packet{typ: wire.State}, packet{typ: wire.Data, payload: "abc"}, packet{typ: wire.Data, seq: 1, payload: "abc"})
		p.want("a duplicate is acknowledged", packet{typ: wire.State})

		s = p.conn.Stats()
		require.EqualValues(t, 1, s.Retransmits)
		require.EqualValues(t, 1, s.Timeouts)
		require.EqualValues(t, 1, s.Duplicates)
		require.EqualValues(t, 5, s.BytesSent, "retransmissions do not count")
		require.EqualValues(t, 3, s.BytesReceived)
		require.EqualValues(t, 3, s.PacketsSent-before.PacketsSent)
		require.EqualValues(t, 3, s.PacketsReceived-before.PacketsReceived)
		require.Zero(t, s.FlightSize)
		require.Zero(t, s.SendBuffered)
		require.Equal(t, 3, s.RecvBuffered)

		require.NoError(t, p.conn.Close())
		p.drain()
		p.recv(packet{typ: wire.State}, packet{typ: wire.Fin})
		p.drain()
		p.wantNoConns("it has ended")
		require.EqualValues(t, 3, p.conn.Stats().BytesReceived, "the counters remain")
	})
}
