package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func dialTest(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string // in the error
	}{
		{nil, ""},
		{[]string{"-measure", "one,http-64K"}, ""},
		{[]string{"-profile", "x", "-measure", "http-64B-1"}, ""},
		{[]string{"-profile", "x"}, "one measurement"},
		{[]string{"-profile", "x", "-measure", "one", "-contestants", "tcp"}, "utp among"},
		{[]string{"-measure", "two"}, `no measurement "two"`},
		{[]string{"-measure", ""}, `no measurement ""`},
		{[]string{"-contestants", "utp,sctp"}, `no contestant "sctp"`},
		{[]string{"-env", "PATH=/"}, "PATH"},
		{[]string{"-env", "UTPPUNCH_DISABLE_GSO=1"}, ""},
		{[]string{"-runs", "0"}, "above zero"},
		{[]string{"-rcvbuf", "-1"}, "-rcvbuf and -sndbuf not below"},
		{[]string{"-netns", "-server", "localhost:1"}, "-netns"},
		{[]string{"-rate", "100"}, "needs -netns"},
		{[]string{"-measure", "crowd-flood", "-contestants", "tcp,quic"}, "none of -contestants"},
		{[]string{"-measure", "crowd", "-contestants", "tcp"}, ""},
		{[]string{"-x"}, "-x"},
		{[]string{"one"}, `"one" is no flag`},
	} {
		_, err := parseOptions("", tc.args, io.Discard)
		if tc.want == "" {
			require.NoError(t, err, "%q", tc.args)
		} else {
			require.ErrorContains(t, err, tc.want, "%q", tc.args)
		}
	}
	_, err := parseOptions("client", nil, io.Discard)
	require.ErrorContains(t, err, "client needs -server")

	o, err := parseOptions("", []string{"-quick", "-runs", "3", "-measure", "http-64B-1,rtt"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 3, o.runs, "-quick does not beat what is given")
	require.Equal(t, 200*time.Millisecond, o.duration)
	require.Len(t, o.measurements, 2, "a full name is not a beginning")

	s := spec{Contestant: "utp", Env: []string{"GODEBUG=x=1"}}
	require.Equal(t, s.Env, s.environ())
	s.NoOffload = true
	require.Equal(t, []string{"UTPPUNCH_DISABLE_GSO=1", "UTPPUNCH_DISABLE_GRO=1", "GODEBUG=x=1"}, s.environ())
	require.Equal(t, []string{"QUIC_GO_DISABLE_GSO=1"}, (&spec{Contestant: "quic", NoOffload: true}).environ())
	require.Empty(t, (&spec{Contestant: "tcp", NoOffload: true}).environ())

	var help strings.Builder
	_, err = parseOptions("", []string{"-h"}, &help)
	require.ErrorIs(t, err, flag.ErrHelp)
	for _, m := range measurements {
		require.Contains(t, help.String(), m.name)
	}
}

// TestBuffers has every contestant set the buffers that it is told to.
func TestBuffers(t *testing.T) {
	if runtime.GOOS != "linux" {
		require.Error(t, buffers{recv: 1 << 16}.check())
		t.Skip("elsewhere it is not known what becomes of them")
	}
	want := buffers{recv: 50_000, send: 40_000}
	require.NoError(t, want.check())
	require.ErrorContains(t, buffers{recv: 1 << 30}.check(), "net.core.rmem_max")
	require.ErrorContains(t, buffers{send: 1 << 30}.check(), "net.core.wmem_max")

	socket, err := openUDP("127.0.0.1", false)
	require.NoError(t, err)
	defer socket.Close()
	require.NoError(t, want.enlarge(socket))
	got, err := readBuffers(socket)
	require.NoError(t, err)
	require.Equal(t, want, got)

	l, err := quicContestant{want}.listen("127.0.0.1")
	require.NoError(t, err)
	defer l.Close()
	got, err = readBuffers(l.(*quicListener).socket)
	require.NoError(t, err)
	require.Equal(t, want, got, "quic-go enlarges them before")
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{0: "0.000", 0.1234: "0.123", 1.2345: "1.23", 12.345: "12.3", 123.45: "123", 12345.6: "12346"} {
		require.Equal(t, want, figure(v))
	}
	require.InDelta(t, 0.5, furthest([]int64{50, 100, 150}), 1e-9)
	sorted := []time.Duration{1, 2, 3, 4}
	require.Equal(t, time.Duration(3), percentile(sorted, 50))
	require.Equal(t, time.Duration(4), percentile(sorted, 99))
	require.Equal(t, time.Duration(4), percentile(sorted, 100))

	m := newMeter(new(spec))
	m.counter().Add(5)
	from := m.read()
	m.counters[0].Add(2)
	m.counter().Add(10)
	to := m.read()
	require.Equal(t, []int64{2, 10}, interval{from, to}.counts(), "a counter may be new")
	require.Equal(t, int64(12), interval{from, to}.total())
	require.NoError(t, m.failure())
	m.fail(io.EOF)
	m.fail(errors.New("a later one"))
	require.Equal(t, io.EOF, m.failure())
}

func TestTable(t *testing.T) {
	m := &measurement{name: "n", title: "t", unit: "µs", lower: true, cost: costPerOp, more: []string{figureP99}}
	good := func(name string, value float64) sample {
		return sample{Contestant: name, Value: value, Cost: 2 * value, More: map[string]float64{figureP99: 10 * value}}
	}
	var b bytes.Buffer
	printTable(&b, m, []sample{
		good("utp", 2), good("tcp", 1), {Contestant: "kcp", Run: 1, Error: "no luck"},
		good("utp", 6), good("tcp", 1), {Contestant: "kcp", Run: 2, Error: "none again"},
		good("utp", 3), {Contestant: "tcp", Run: 3, Error: "once"},
	})
	require.Equal(t, `
n: t (µs, less is better)
  contestant      µs  to TCP  to quic  CPU µs/op    min–max  p99 µs
         utp    3.00    3.00        -       6.00  2.00–6.00    30.0
         tcp    1.00    1.00        -       2.00  1.00–1.00    10.0
         kcp  failed
kcp, run 1, failed: no luck
kcp, run 2, failed: none again
tcp, run 3, failed: once
`, b.String())
}
