package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"time"

	"utppunch"
)

// get is the command that fetches a file.
func get(ctx context.Context, args []string, stdout io.Writer) error {
	flags := newFlags("get", "[-o FILE] [-pin SHA256] URL",
		`Fetches what "http serve" serves, over uTP, to standard output or a file.
An https URL needs -pin, unless a known authority has signed the server's certificate.`)
	output := flags.String("o", "", "the `file` to write; it is replaced")
	pin := flags.String("pin", "",
		"accept only the certificate with this SHA-256 `fingerprint`, which \"http serve -tls\" prints")
	if err := parse(flags, args, 1, stdout); err != nil {
		return err
	}
	from, err := url.Parse(flags.Arg(0))
	switch {
	case err != nil:
		return err
	case from.Scheme != "http" && from.Scheme != "https" || from.Host == "":
		return fmt.Errorf("%q is no URL like http://host:port/file", flags.Arg(0))
	case *pin != "" && from.Scheme != "https":
		return errors.New("-pin needs an https URL: over http nothing is encrypted")
	}
	var config *tls.Config
	if *pin != "" {
		if config, err = pinned(*pin); err != nil {
			return err
		}
	}

	transport, err := utppunch.Open("utp", ":0", nil)
	if err != nil {
		return err
	}
	defer leave(transport)
	client := newClient(transport, config)
	defer client.CloseIdleConnections()
	return fetch(ctx, client, from.String(), *output, stdout)
}

// newClient returns an HTTP client that dials over uTP: DialContext is all that
// it takes.
func newClient(transport *utppunch.Transport, config *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:         transport.DialContext,
		TLSClientConfig:     config,
		ForceAttemptHTTP2:   true, // not by itself when either of the above is set
		DisableCompression:  true, // files are wanted as they are
		MaxIdleConnsPerHost: 16,
	}}
}

// leave ends a port whose connections are closed, as soon as the peers know. If
// one of them is gone there is no point in waiting for it.
func leave(transport *utppunch.Transport) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if transport.Shutdown(ctx) != nil {
		_ = transport.Close()
	}
}

// fetch writes what a URL has to a file, or to stdout if that has no name, and
// tells on standard error how it went.
func fetch(ctx context.Context, client *http.Client, from, output string, stdout io.Writer) (err error) {
	var conns tally
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { conns.add(info.Conn) },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	start := time.Now()
	resp, err := client.Do(req)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		err = fmt.Errorf("%w (give -pin if it is self-signed)", err)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: the server says %s", from, resp.Status)
	}

	to := stdout
	if output != "" {
		file, createErr := os.Create(output)
		if createErr != nil {
			return createErr
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		to = file
	}
	shown := isTerminal(os.Stderr) && (output != "" || !isTerminal(os.Stdout))
	progress := newProgress(os.Stderr, resp.ContentLength, shown)
	n, err := io.Copy(to, io.TeeReader(resp.Body, progress))
	progress.end()
	if err != nil {
		return fmt.Errorf("%s is incomplete after %d bytes: %w", from, n, err)
	}
	if resp.ContentLength >= 0 && n != resp.ContentLength {
		return fmt.Errorf("%s: the server announced %d bytes and sent %d", from, resp.ContentLength, n)
	}
	fmt.Fprintf(os.Stderr, "%s, %s, %s\n", resp.Proto, rate(n, time.Since(start)), conns.summary())
	return nil
}
