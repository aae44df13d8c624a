package main

import (
	"bytes"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCrowd has our port serve healthy connections beside each kind of others, if
// only for a moment, and looks at what comes out.
func TestCrowd(t *testing.T) {
	s := startTestServer(t)
	t.Setenv(asProgram, "1") // for the processes of the others
	for _, m := range crowdMeasurements() {
		task := clientTask{Server: s.address, Spec: spec{Measurement: m.name, Contestant: "utp", Duration: 40 * time.Millisecond}}
		result, err := runClient(t.Context(), &task)
		require.NoError(t, err, m.name)
		more := result.Sample.More
		for _, key := range m.more {
			require.Contains(t, more, key)
		}
		require.InEpsilon(t, result.Sample.Value, more[figureAlone]*more[figureRateRel], 1e-9)
		require.Less(t, more[figureP50], float64(time.Second/time.Microsecond))
		require.LessOrEqual(t, more[figureP50], more[figureP99])
		require.LessOrEqual(t, more[figureP99], more[figureMax])
	}
	s.end(t)
}

// TestCrowdInterrupted interrupts a run with a stopped process, which cannot end
// by itself.
func TestCrowdInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process can be neither interrupted nor stopped there")
	}
	cmd := program(t, "-measure", "crowd-stopped", "-contestants", "tcp", "-duration", "400ms")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr // Wait waits for all that have it
	require.NoError(t, cmd.Start())
	time.Sleep(1500 * time.Millisecond) // twice 0.5 s alone, and some of 1 s beside others
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	start := time.Now()
	require.Error(t, cmd.Wait())
	require.Less(t, time.Since(start), 5*time.Second)
	require.Equal(t, "bench: interrupted\n", stderr.String())
}

// TestStoodStill has a connection stand still, which is an error.
func TestStoodStill(t *testing.T) {
	c := &client{meter: newMeter(new(spec))}
	moves := c.meter.counter()
	c.meter.counter()
	c.client.from = c.meter.read()
	moves.Add(1)
	c.client.to = c.meter.read()
	require.NoError(t, c.allMoved(2), "not for so short a time")
	c.client.to.At += standstill
	require.NoError(t, c.allMoved(1))
	require.ErrorContains(t, c.allMoved(2), "1 of 2 connections stood still")
	require.Equal(t, 1, c.moved())
}

// TestSlowReader reads as slowly as it says.
func TestSlowReader(t *testing.T) {
	a, b := net.Pipe()
	go func() { _ = send(b) }()
	done := make(chan error)
	start := time.Now()
	go func() { done <- receiveSlowly(a) }()
	time.Sleep(3 * slowPause / 2)
	require.NoError(t, a.Close())
	require.Error(t, <-done)
	require.GreaterOrEqual(t, time.Since(start), 2*slowPause)
	require.NoError(t, b.Close())
}
