package utp

import (
	"testing"
	"time"

	"utppunch/utp/internal/engine"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConfigValidate(t *testing.T) {
	for _, tc := range []struct {
		config       Config
		field, value string // of the error; empty: there is none
	}{
		{config: Config{}},
		{config: Config{MaxDatagram: 150, SendBuffer: 4096, RecvBuffer: 4096}},
		{config: Config{MaxDatagram: 65507, SendBuffer: 1 << 30, RecvBuffer: 1 << 30, Timeout: time.Millisecond, Backlog: 1, MaxConns: 1}},
		{config: Config{KeepAlive: -1, IdleTimeout: -1, Linger: -1, MaxConns: -1}},

		{Config{MaxDatagram: -1}, "MaxDatagram", "-1"},
		{Config{MaxDatagram: 149}, "MaxDatagram", "149"},
		{Config{MaxDatagram: 65508}, "MaxDatagram", "65508"},
		{Config{SendBuffer: -2}, "SendBuffer", "-2"},
		{Config{SendBuffer: 4095}, "SendBuffer", "4095"},
		{Config{SendBuffer: 1<<30 + 1}, "SendBuffer", "1073741825"},
		{Config{RecvBuffer: -3}, "RecvBuffer", "-3"},
		{Config{RecvBuffer: 4095}, "RecvBuffer", "4095"},
		{Config{RecvBuffer: 1<<30 + 1}, "RecvBuffer", "1073741825"},
		{Config{Timeout: -time.Second}, "Timeout", "-1s"},
		{Config{Timeout: 60}, "Timeout", "60ns"},
		{Config{KeepAlive: 25}, "KeepAlive", "25ns"},
		{Config{IdleTimeout: 100}, "IdleTimeout", "100ns"},
		{Config{Linger: 5}, "Linger", "5ns"},
		{Config{Timeout: 60}, "Timeout", "60ns"}, // the unit was forgotten
		{Config{KeepAlive: 25}, "KeepAlive", "25ns"},
		{Config{IdleTimeout: time.Millisecond - 1}, "IdleTimeout", "999.999µs"},
		{Config{Linger: 5}, "Linger", "5ns"},
		{Config{Backlog: -5}, "Backlog", "-5"},
		{Config{CongestionControl: 77}, "CongestionControl", "CongestionControl(77)"},
		{Config{Dialect: 3}, "Dialect", "Dialect(3)"},
	} {
		err := tc.config.Validate()
		if tc.field == "" {
			assert.NoError(t, err)
			continue
		}
		assert.ErrorContains(t, err, "Config."+tc.field+" is "+tc.value+": ", "the error names field and value")

		_, err2 := NewEndpoint(&tc.config, newFakeWriter(t), boundAddr)
		assert.Equal(t, err, err2, "NewEndpoint validates")
	}
}

func TestConfigDefaults(t *testing.T) {
	mem := new(memory)
	params := func(c Config, ipv6 bool) engine.Params { return *c.params(mem, ipv6) }

	require.Equal(t, engine.Params{
		MaxDatagram: 1472, SendBuffer: 16 << 20, RecvBuffer: 16 << 20,
		Timeout: time.Minute, KeepAlive: 25 * time.Second, IdleTimeout: 0, Linger: 5 * time.Second,
		Memory: mem,
	}, params(Config{}, false), "zero is the documented default")
	require.Equal(t, 1452, params(Config{}, true).MaxDatagram, "the IPv6 header is longer")

	require.Equal(t, engine.Params{
		MaxDatagram: 1000, SendBuffer: 5000, RecvBuffer: 6000,
		Timeout: 1, KeepAlive: 2, IdleTimeout: 3, Linger: 4, Memory: mem,
	}, params(Config{
		MaxDatagram: 1000, SendBuffer: 5000, RecvBuffer: 6000,
		Timeout: 1, KeepAlive: 2, IdleTimeout: 3, Linger: 4,
	}, true), "what is set is used")

	off := params(Config{KeepAlive: -1, IdleTimeout: -1, Linger: -1}, false)
	require.Zero(t, off.KeepAlive, "negative is off")
	require.Zero(t, off.IdleTimeout, "negative is off")
	require.Equal(t, 5*time.Second, off.Linger, "SetLinger can turn it on again")
}

func TestConfigIsCopied(t *testing.T) {
	config := Config{Backlog: 3}
	e, err := NewEndpoint(&config, newFakeWriter(t), boundAddr)
	require.NoError(t, err)
	defer e.Close()
	require.Equal(t, Config{Backlog: 3}, config, "it is not changed")
	config.Backlog = 4
	require.Equal(t, 3, e.config.Backlog, "what the caller does with it later has no effect")

	e2, err := NewEndpoint(nil, newFakeWriter(t), boundAddr)
	require.NoError(t, err, "nil is the default")
	e2.Close()
}

func TestCongestionControlString(t *testing.T) {
	require.Equal(t, "CUBIC", CUBIC.String())
	require.Equal(t, "CongestionControl(9)", CongestionControl(9).String())
}
