package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/examples/internal/leak"
)

// asProgram has the test binary be the program, so that the tests run what they
// were built from. The processes that the program starts inherit it.
const asProgram = "UTPPUNCH_BENCH_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	leak.Main(m)
}

// program prepares a run of the program.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// output runs the program and returns what it and its processes wrote, and its
// exit status. It returns when all of them have ended, as they share stderr.
func output(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := program(t, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		require.IsType(t, new(exec.ExitError), err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// TestEverything takes every measurement of every contestant, if only for a
// moment.
func TestEverything(t *testing.T) {
	file := filepath.Join(t.TempDir(), "samples.json")
	stdout, stderr, code := output(t, "-quick", "-duration", "40ms", "-idle", "100", "-json", file)
	require.Zero(t, code, "%s\n%s", stdout, stderr)
	text, err := os.ReadFile(file)
	require.NoError(t, err)

	var got struct {
		Machine, Options map[string]any
		Samples          []map[string]any
	}
	require.NoError(t, json.Unmarshal(text, &got))
	for _, key := range []string{"Cores", "CPU", "Kernel", "OS", "Arch", "Go", "Load", "Modules"} {
		require.Contains(t, got.Machine, key)
	}
	for _, key := range []string{"Server", "Link", "Runs", "Duration", "Idle", "Env", "Offload", "RcvBuf", "SndBuf"} {
		require.Contains(t, got.Options, key)
	}
	next := 0
	for _, m := range measurements {
		require.Contains(t, stdout, "\n"+m.name+": "+m.title+" ("+m.unit)
		for _, name := range contestantNames {
			if !slices.Contains(m.contestants, name) {
				continue
			}
			require.Less(t, next, len(got.Samples))
			s := got.Samples[next]
			next++
			require.Equal(t, m.name, s["Measurement"])
			require.Equal(t, name, s["Contestant"])
			require.EqualValues(t, 1, s["Run"])
			require.Empty(t, s["Error"])
			require.Equal(t, m.unit, s["Unit"])
			require.Equal(t, m.cost, s["CostUnit"])
			require.NotZero(t, s["Value"], s)
			require.NotZero(t, s["Seconds"], s)
			require.NotZero(t, s["Bytes"].(float64)+s["Ops"].(float64), s)
			require.Contains(t, s, "Cost")
			require.Contains(t, s, "ClientCPU")
			require.Contains(t, s, "ServerCPU")
			for _, key := range m.more {
				require.Contains(t, s["More"], key)
			}
		}
	}
	require.Len(t, got.Samples, next)
}

// server is a running "bench serve".
type server struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	stderr  bytes.Buffer
	address string
}

func startTestServer(t *testing.T) *server {
	t.Helper()
	s := &server{cmd: program(t, "serve", "-listen", "127.0.0.1:0", "-until-eof")}
	s.cmd.Stderr = &s.stderr
	stdout, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	s.stdin, err = s.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	s.address = strings.TrimSpace(line)
	return s
}

// end ends the server and returns what it said.
func (s *server) end(t *testing.T) string {
	t.Helper()
	require.NoError(t, s.stdin.Close())
	require.NoError(t, s.cmd.Wait())
	return s.stderr.String()
}

// TestServeAndClient runs the two parts apart, with all that is for us alone.
func TestServeAndClient(t *testing.T) {
	s := startTestServer(t)
	profile := filepath.Join(t.TempDir(), "cpu")
	stdout, stderr, code := output(t, "client", "-server", s.address, "-measure", "one", "-contestants", "utp,tcp",
		"-runs", "2", "-duration", "50ms", "-profile", profile, "-env", "GODEBUG=madvdontneed=1", "-rcvbuf", "100000", "-offload=false")
	require.Zero(t, code, "%s\n%s", stdout, stderr)
	for _, want := range []string{
		"server at " + s.address + "\n2 runs of 50ms each",
		"ours with GODEBUG=madvdontneed=1; ours, quic-go and raw without UDP segmentation offload; UDP receive buffers 100000 bytes (SO_RCVBUF)",
		"one: one connection, one way (Gbit/s, more is better)",
	} {
		require.Contains(t, stdout, want)
	}
	for _, order := range []string{"one, run 1: utp ", "one, run 1: tcp ", "one, run 2: utp ", "one, run 2: tcp "} {
		before, after, found := strings.Cut(stderr, order)
		require.True(t, found, "%q is not in %q", order, stderr)
		require.Equal(t, 0, strings.Count(before, "\n"), "contestants take turns")
		_, stderr, _ = strings.Cut(after, "\n")
	}
	for _, name := range []string{profile, profile + ".server"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, "\x1f\x8b", string(text[:2]), "profiles are compressed with gzip")
	}
	require.Empty(t, s.end(t))
}

// TestFailures has runs fail in various ways: they are reported, and the others go
// on.
func TestFailures(t *testing.T) {
	s := startTestServer(t)
	task := clientTask{Server: s.address, Spec: spec{Measurement: "one", Contestant: "none"}}
	_, err := runClient(t.Context(), &task)
	require.ErrorContains(t, err, `there is no contestant "none"`)

	conn := newControl(dialTest(t, s.address))
	_, err = conn.ask(spec{Measurement: "none", Contestant: "utp"})
	require.EqualError(t, err, `server: there is no measurement "none"`)
	conn = newControl(dialTest(t, s.address))
	_, err = conn.ask(spec{Measurement: "one", Contestant: "tcp", Env: []string{"LD_PRELOAD=x"}})
	require.ErrorContains(t, err, "LD_PRELOAD")
	conn = newControl(dialTest(t, s.address))
	_, err = conn.ask(spec{Measurement: "one", Contestant: "tcp"})
	require.NoError(t, err)
	_, err = conn.ask("something")
	require.EqualError(t, err, `server: there is no request "something"`)
	s.end(t)

	stdout, stderr, code := output(t, "-server", s.address, "-quick", "-measure", "one", "-contestants", "utp,tcp")
	require.Equal(t, 1, code)
	require.Contains(t, stdout, "tcp, run 1, failed: dial tcp")
	require.Contains(t, stderr, "bench: 2 of 2 runs failed")
}

// TestHung has a run end that would not.
func TestHung(t *testing.T) {
	s := startTestServer(t)
	task := clientTask{Server: s.address, Spec: spec{Measurement: "one", Contestant: "tcp", Duration: time.Hour}}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errHung)
	defer cancel()
	_, err := runClient(ctx, &task)
	require.ErrorIs(t, err, errHung)
	s.end(t)
}

// TestInterrupt interrupts what would take hours: no process is left over.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be interrupted there")
	}
	cmd := program(t, "-measure", "one", "-duration", "1h")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr // Wait waits for all that have it
	require.NoError(t, cmd.Start())
	_, err = bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	time.Sleep(300 * time.Millisecond) // so that there are processes
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	start := time.Now()
	require.Error(t, cmd.Wait())
	require.Less(t, time.Since(start), 5*time.Second)
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	require.Contains(t, stderr.String(), "bench: interrupted")
}
