package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/examples/internal/leak"
	"utppunch/utp"
)

func TestMain(m *testing.M) { leak.Main(m) }

const patience = 30 * time.Second

// listening runs utpcat -l and returns its address, and what it says in the end.
func listening(t *testing.T, ctx context.Context, stdin io.Reader, stdout io.Writer, flags ...string) (string, <-chan error) {
	t.Helper()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, append(flags, "-l", "127.0.0.1:0"), stdin, stdout, w)
		_ = w.Close()
	}()
	b := make([]byte, 100)
	n, err := r.Read(b)
	require.NoError(t, err)
	address, ok := strings.CutPrefix(strings.TrimSpace(string(b[:n])), "listening on ")
	require.True(t, ok, "it says where: %q", b[:n])
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return address, done
}

func wait(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("it does not end")
		return nil
	}
}

// TestBothWays: either side's end of input leaves the other direction open.
func TestBothWays(t *testing.T) {
	for _, dialect := range []string{"auto", "bep29", "utp-punch"} {
		question, answer := make([]byte, 3<<20), make([]byte, 5<<20)
		random := rand.NewChaCha8([32]byte{1})
		_, _ = random.Read(question)
		_, _ = random.Read(answer)
		if dialect == "utp-punch" {
			answer = nil // ends at once
		}
		var gotQuestion, gotAnswer bytes.Buffer
		flags := []string{"-dialect", dialect}
		address, done := listening(t, t.Context(), bytes.NewReader(answer), &gotQuestion, flags...)
		require.NoError(t, run(t.Context(), append(flags, address), bytes.NewReader(question), &gotAnswer, io.Discard), dialect)
		require.NoError(t, wait(t, done), dialect)
		require.Equal(t, sha256.Sum256(question), sha256.Sum256(gotQuestion.Bytes()), dialect)
		require.Equal(t, sha256.Sum256(answer), sha256.Sum256(gotAnswer.Bytes()), dialect)
	}
}

func TestNobodyThere(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	err = run(t.Context(), []string{"-w", "50ms", silent.LocalAddr().String()}, strings.NewReader(""), io.Discard, io.Discard)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	err = run(t.Context(), []string{"-w", "50ms", "-l", "127.0.0.1:0"}, strings.NewReader(""), io.Discard, io.Discard)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stdin, keep := io.Pipe() // never ends
	defer keep.Close()
	address, done := listening(t, ctx, stdin, io.Discard)
	peer := make(chan error, 1)
	go func() {
		peer <- run(t.Context(), []string{address}, strings.NewReader("hello"), io.Discard, io.Discard)
	}()
	time.Sleep(100 * time.Millisecond)
	cancel()
	require.ErrorIs(t, wait(t, done), context.Canceled)
	require.Error(t, wait(t, peer), "the stream has not ended, it was cut")
}

func TestBadArguments(t *testing.T) {
	for want, args := range map[string][]string{
		"0 addresses":          {},
		"2 addresses":          {"127.0.0.1", "9000"},
		`no dialect "klingon"`: {"-dialect", "klingon", "127.0.0.1:1"},
		"in the past":          {"-w", "-1s", "127.0.0.1:1"},
		"not defined: -x":      {"-x", "127.0.0.1:1"},
		"missing port":         {"127.0.0.1"},
	} {
		err := run(t.Context(), args, strings.NewReader(""), io.Discard, io.Discard)
		require.ErrorContains(t, err, want)
	}
}

func TestHelp(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-h"}, strings.NewReader(""), &out, io.Discard))
	require.Contains(t, out.String(), "utpcat [flags] HOST:PORT")
	require.Contains(t, out.String(), "-dialect")
}

func TestProgress(t *testing.T) {
	s := utp.Stats{BytesSent: 1_500_000, BytesReceived: 20, SRTT: 12_345 * time.Microsecond}
	require.Equal(t, "1.5 MB sent, 20 B received, 750 KB/s, round trip 12.35ms", progress(s, 2*time.Second))
	require.False(t, isTerminal(io.Discard))
	f, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer f.Close()
	require.False(t, isTerminal(f))
}
