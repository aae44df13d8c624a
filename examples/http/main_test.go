package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch"
	"utppunch/examples/internal/leak"
)

// asProgram has the test binary be the program, so that the tests run what they
// were built from, with the race detector if they have it.
const asProgram = "UTPPUNCH_HTTP_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	leak.Main(m)
}

// limit is how long a process may take.
const limit = 5 * time.Minute

// program prepares a run of the program.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Dir = t.TempDir()
	return cmd
}

// output runs the program and returns what it wrote, and its exit status.
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

func TestDemo(t *testing.T) {
	stdout, stderr, code := output(t)
	require.Zero(t, code, "%s%s", stdout, stderr)
	require.Empty(t, stderr)
	for _, want := range []string{
		"50 files over 1 connection, HTTP/1.1",
		"a file of 256 MiB, checksum equal",
		"a range of 1 MiB out of it, checksum equal",
		"over 1 connection, HTTP/2, TLS, certificate pinned",
		"a certificate that is not the pinned one is refused",
		"Shutdown with a request under way: it was answered in full",
		"in all 538.9 MB in ",
		"client:  2 connections, round trip ",
		"servers: 3 connections, round trip ",
	} {
		require.Contains(t, stdout, want)
	}
	dir, _, _ := strings.Cut(strings.TrimPrefix(stdout, "serving "), "\n")
	require.NoDirExists(t, dir, "the files are taken away")
}

func TestDemoFails(t *testing.T) {
	cmd := program(t)
	// Without a directory for temporary files it cannot begin.
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	cmd.Env = append(cmd.Env, "TMPDIR="+nowhere, "TMP="+nowhere, "TEMP="+nowhere)
	text, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	require.Contains(t, string(text), "http: ")
	require.Contains(t, string(text), "nowhere")
}

// serving is a running "http serve".
type serving struct {
	cmd *exec.Cmd
	url string
	pin string // of the certificate, if it has one
	log bytes.Buffer
}

// startServing serves dir on a free port of loopback.
func startServing(t *testing.T, dir string, args ...string) *serving {
	t.Helper()
	s := &serving{cmd: program(t, append([]string{"serve", "-listen", "127.0.0.1:0", "-dir", dir}, args...)...)}
	s.cmd.Stderr = &s.log
	stdout, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			s.cmd.Process.Kill()
			s.cmd.Wait()
		}
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if pin, ok := strings.CutPrefix(lines.Text(), "certificate "); ok {
			s.pin = pin
		}
		if strings.HasPrefix(lines.Text(), "http") {
			s.url = lines.Text()
			break
		}
	}
	require.NotEmpty(t, s.url, "it printed no URL: %s", &s.log)
	return s
}

// end has the process end as its user would.
func (s *serving) end(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		return // it is killed there
	}
	start := time.Now()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, s.cmd.Wait(), "%s", &s.log)
	require.Less(t, time.Since(start), 2*time.Second, "an idle server ends at once")
}

// TestServeAndGet transfers a file between two processes.
func TestServeAndGet(t *testing.T) {
	dir := t.TempDir()
	content := make([]byte, 32<<20+777)
	rand.NewChaCha8([32]byte{1}).Read(content)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a file"), content, 0o600))

	for _, tc := range []struct {
		name  string
		args  []string
		proto string
	}{
		{"plain", nil, "HTTP/1.1"},
		{"TLS", []string{"-tls"}, "HTTP/2.0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startServing(t, dir, tc.args...)
			var pin []string
			if s.pin != "" {
				pin = []string{"-pin", strings.ToUpper(s.pin)}
			}
			get := func(args ...string) (string, string, int) {
				return output(t, append([]string{"get"}, append(pin, args...)...)...)
			}

			to := filepath.Join(t.TempDir(), "received")
			stdout, stderr, code := get("-o", to, s.url+"a%20file")
			require.Zero(t, code, stderr)
			require.Empty(t, stdout)
			require.Contains(t, stderr, tc.proto+", 33.6 MB in ")
			require.Contains(t, stderr, "1 connection, round trip ")
			require.NotContains(t, stderr, "\r", "no progress where there is no terminal")
			received, err := os.ReadFile(to)
			require.NoError(t, err)
			require.Equal(t, sha256.Sum256(content), sha256.Sum256(received))

			stdout, stderr, code = get(s.url + "a%20file")
			require.Zero(t, code, stderr)
			require.Equal(t, sha256.Sum256(content), sha256.Sum256([]byte(stdout)))

			_, stderr, code = get(s.url + "none")
			require.Equal(t, 1, code)
			require.Contains(t, stderr, "404 Not Found")
			s.end(t)
		})
	}
}

// TestGetRefusesOtherCertificates checks the pin, and what happens without one.
func TestGetRefusesOtherCertificates(t *testing.T) {
	s := startServing(t, t.TempDir(), "-tls")
	other := strings.Repeat("ab", sha256.Size)
	require.NotEqual(t, other, s.pin)
	_, stderr, code := output(t, "get", "-pin", other, s.url)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "not the pinned one: it is "+s.pin)

	_, stderr, code = output(t, "get", s.url)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "-pin")
	s.end(t)
}

// TestInterruptedGet interrupts a transfer that would take hours.
func TestInterruptedGet(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be interrupted there")
	}
	dir := t.TempDir()
	endless := filepath.Join(dir, "endless")
	require.NoError(t, os.WriteFile(endless, nil, 0o600))
	require.NoError(t, os.Truncate(endless, 1<<40))
	s := startServing(t, dir)
	cmd := program(t, "get", s.url+"endless")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	_, err = io.CopyN(io.Discard, stdout, 1<<20)
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	_, err = io.Copy(io.Discard, stdout)
	require.NoError(t, err)
	require.Error(t, cmd.Wait())
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	require.Contains(t, stderr.String(), "endless is incomplete after ")
	s.end(t) // the server has noticed, or it would wait for the transfer
}

// TestFetchNoticesWhatIsMissing has a server break off.
func TestFetchNoticesWhatIsMissing(t *testing.T) {
	var e end
	require.NoError(t, e.open("http", &http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/announced" {
				w.Header().Set("Content-Length", "1000")
			}
			io.WriteString(w, "0123456789")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}),
	}))
	transport, err := utppunch.Open("utp4", "127.0.0.1:0", nil)
	require.NoError(t, err)
	client := newClient(transport, nil)
	for _, path := range []string{"/announced", "/chunked"} {
		var got bytes.Buffer
		err := fetch(t.Context(), client, e.url+path, "", &got)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.ErrorContains(t, err, "is incomplete after 10 bytes")
		require.Equal(t, "0123456789", got.String())
	}
	client.CloseIdleConnections()
	leave(transport)
	require.NoError(t, e.close())
}

func TestHelp(t *testing.T) {
	for _, tc := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"-h"}, 0, "http get [-o FILE] [-pin SHA256] URL", ""},
		{[]string{"serve", "-h"}, 0, "Serves the files below a directory", ""},
		{[]string{"get", "-h"}, 0, "accept only the certificate", ""},
		{[]string{"put"}, 1, "", `there is no command "put"`},
		{[]string{"serve", "-x"}, 1, "", "-x; see http serve -h"},
		{[]string{"serve", "there"}, 1, "", "see http serve -h"},
		{[]string{"serve", "-dir", "nowhere"}, 1, "", "nowhere"},
		{[]string{"serve", "-listen", "there"}, 1, "", "there"},
		{[]string{"get"}, 1, "", "see http get -h"},
		{[]string{"get", "127.0.0.1:1"}, 1, "", "127.0.0.1:1"},
		{[]string{"get", "ftp://127.0.0.1:1"}, 1, "", "no URL like http"},
		{[]string{"get", "-pin", "12", "https://127.0.0.1:1"}, 1, "", "not a SHA-256"},
		{[]string{"get", "-pin", strings.Repeat("12", 32), "http://127.0.0.1:1"}, 1, "", "needs an https URL"},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			stdout, stderr, code := output(t, tc.args...)
			require.Equal(t, tc.code, code)
			require.Contains(t, stdout, tc.stdout)
			require.Contains(t, stderr, tc.stderr)
			require.Equal(t, tc.code != 0, stderr != "", stderr)
		})
	}
}
