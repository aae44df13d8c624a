package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"utppunch"
)

// tour is the demonstration as its client sees it: each step is a method that
// does one thing, checks it, and says so.
type tour struct {
	stdout        io.Writer
	dir           string
	files         []file // in dir
	plain, secure end
	transport     *utppunch.Transport // of the client
	client        *http.Client

	dialled, accepted tally
	mu                sync.Mutex
	received          int64 // payload; guarded by mu

	held    chan struct{} // a request for /held has arrived
	release chan struct{} // closed: it may be answered
}

// handler serves the files, and /held, a request that stays under way until it
// is released.
func (t *tour) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(t.dir)))
	mux.HandleFunc("/held", func(w http.ResponseWriter, r *http.Request) {
		t.held <- struct{}{}
		<-t.release
		http.ServeFile(w, r, filepath.Join(t.dir, t.files[1].name))
	})
	return mux
}

func (t *tour) say(format string, args ...any) { fmt.Fprintf(t.stdout, format+"\n", args...) }

// get requests a URL and returns the response, if it has the status that it
// should have.
func (t *tour) get(ctx context.Context, url string, header http.Header, status int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != status {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: the status is %s and not %d", url, resp.Status, status)
	}
	return resp, nil
}

// receive reads a body to its end and compares it with what was served.
func (t *tour) receive(resp *http.Response, want file) error {
	defer resp.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, resp.Body)
	t.count(n)
	switch {
	case err != nil:
		return fmt.Errorf("%s after %d of %d bytes: %w", want.name, n, want.size, err)
	case n != want.size:
		return fmt.Errorf("%s has %d bytes instead of %d", want.name, n, want.size)
	case !bytes.Equal(sum.Sum(nil), want.sum[:]):
		return fmt.Errorf("%s has another checksum than what was served", want.name)
	}
	return nil
}

func (t *tour) count(n int64) {
	t.mu.Lock()
	t.received += n
	t.mu.Unlock()
}

// manySmall fetches one file after the other: HTTP/1.1 keeps the connection.
func (t *tour) manySmall(ctx context.Context) error {
	start := time.Now()
	var n int64
	for _, f := range t.files[1:] {
		resp, err := t.get(ctx, t.plain.url+"/"+f.name, nil, http.StatusOK)
		if err != nil {
			return err
		}
		if err := t.receive(resp, f); err != nil {
			return err
		}
		n += f.size
	}
	if conns := t.accepted.count(); conns != 1 {
		return fmt.Errorf("keep-alive does not work: %d connections for %d requests", conns, len(t.files)-1)
	}
	t.say("%d files over 1 connection, HTTP/1.1: %s", len(t.files)-1, rate(n, time.Since(start)))
	return nil
}

// oneLarge fetches the large file.
func (t *tour) oneLarge(ctx context.Context) error {
	start := time.Now()
	f := t.files[0]
	resp, err := t.get(ctx, t.plain.url+"/"+f.name, nil, http.StatusOK)
	if err != nil {
		return err
	}
	if err := t.receive(resp, f); err != nil {
		return err
	}
	t.say("a file of %d MiB, checksum equal: %s", f.size>>20, rate(f.size, time.Since(start)))
	return nil
}

// aRange fetches the middle of the large file.
func (t *tour) aRange(ctx context.Context) error {
	const from, n = largeSize/2 - 12345, 1 << 20
	f := t.files[0]
	want := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", from, from+n-1)}}
	resp, err := t.get(ctx, t.plain.url+"/"+f.name, want, http.StatusPartialContent)
	if err != nil {
		return err
	}
	served, err := os.Open(filepath.Join(t.dir, f.name))
	if err != nil {
		return err
	}
	defer served.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(served, from, n)); err != nil {
		return err
	}
	part := file{name: "the range", size: n}
	sum.Sum(part.sum[:0])
	if err := t.receive(resp, part); err != nil {
		return err
	}
	t.say("a range of 1 MiB out of it, checksum equal: %s", resp.Header.Get("Content-Range"))
	return nil
}

// encrypted fetches files over TLS, many at once: HTTP/2 needs one connection.
func (t *tour) encrypted(ctx context.Context) error {
	before, start := t.accepted.count(), time.Now()
	// The first request finds out that the server speaks HTTP/2.
	first, others := t.files[1], slices.Concat(t.files[:1], t.files[2:])
	if err := t.receiveEncrypted(ctx, first); err != nil {
		return err
	}
	n := first.size
	results := make(chan error)
	for _, f := range others {
		n += f.size
		go func() { results <- t.receiveEncrypted(ctx, f) }()
	}
	var err error
	for range others {
		err = errors.Join(err, <-results)
	}
	if err != nil {
		return err
	}
	if conns := t.accepted.count() - before; conns != 1 {
		return fmt.Errorf("HTTP/2 took %d connections", conns)
	}
	t.say("%d files at once over 1 connection, HTTP/2, TLS, certificate pinned: %s",
		len(others), rate(n, time.Since(start)))
	return nil
}

func (t *tour) receiveEncrypted(ctx context.Context, f file) error {
	resp, err := t.get(ctx, t.secure.url+"/"+f.name, nil, http.StatusOK)
	if err != nil {
		return err
	}
	if resp.ProtoMajor != 2 {
		return errors.Join(fmt.Errorf("the protocol is %s", resp.Proto), resp.Body.Close())
	}
	return t.receive(resp, f)
}

// wrongPin sees that a server with another certificate is refused.
func (t *tour) wrongPin(ctx context.Context) error {
	config, err := pinned(strings.Repeat("00", sha256.Size))
	if err != nil {
		return err
	}
	wary := newClient(t.transport, config)
	defer wary.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.secure.url, nil)
	if err != nil {
		return err
	}
	resp, err := wary.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	if !errors.Is(err, errOtherCertificate) {
		return fmt.Errorf("a server with a certificate that is not the pinned one was not refused: %v", err)
	}
	t.say("a certificate that is not the pinned one is refused")
	return nil
}

// shutdowns ends the servers, one of them while a request is under way.
func (t *tour) shutdowns(ctx context.Context) error {
	begun := make(chan struct{})
	t.plain.server.RegisterOnShutdown(func() { close(begun) })
	answer, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		resp, err := t.get(ctx, t.plain.url+"/held", nil, http.StatusOK)
		if err == nil {
			err = t.receive(resp, t.files[1])
		}
		answer <- err
	}()
	select {
	case <-t.held:
	case err := <-answer:
		return fmt.Errorf("a request that should be under way has ended: %w", err)
	}
	go func() { ended <- t.plain.close() }()
	<-begun
	close(t.release)
	if err := errors.Join(<-answer, <-ended); err != nil {
		return fmt.Errorf("shutting down: %w", err)
	}
	t.say("Shutdown with a request under way: it was answered in full")
	return t.secure.close()
}
