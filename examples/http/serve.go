package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"utppunch"
)

// serve is the command that serves a directory.
func serve(ctx context.Context, args []string, stdout io.Writer) error {
	flags := newFlags("serve", "[-listen ADDR] [-dir DIR] [-tls]",
		`Serves the files below a directory over uTP and prints their URLs, for "http get".
An interrupt (Ctrl-C) or SIGTERM ends it when the requests under way are answered.`)
	listen := flags.String("listen", "127.0.0.1:8080",
		"the UDP port, as `host:port`; \":8080\" is open to other machines, port 0 is a free one")
	dir := flags.String("dir", ".", "the `directory`")
	withTLS := flags.Bool("tls", false,
		"encrypt, with a certificate made for this run; prints its fingerprint, for \"http get -pin\"")
	if err := parse(flags, args, 0, stdout); err != nil {
		return err
	}

	root, err := os.OpenRoot(*dir) // does not follow links out of the directory
	if err != nil {
		return err
	}
	defer root.Close()
	server := &http.Server{
		Handler:           logged(http.FileServerFS(root.FS())),
		ReadHeaderTimeout: time.Minute,
	}
	scheme := "http"
	if *withTLS {
		scheme = "https"
		cert, err := selfSigned()
		if err != nil {
			return err
		}
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
		fmt.Fprintln(stdout, "certificate", fingerprint(cert.Leaf))
	}

	transport, err := utppunch.Open("utp", *listen, nil)
	if err != nil {
		return err
	}
	defer transport.Close()
	listener, err := transport.Listen()
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- serveOn(listener, server) }()
	for _, address := range reachable(listener.Addr()) {
		fmt.Fprintf(stdout, "%s://%s/\n", scheme, address)
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return shutdown(server, transport)
	}
}

// serveOn is http.Serve, or http.ServeTLS if the server has a certificate. A
// listener is all that it takes.
func serveOn(l net.Listener, server *http.Server) error {
	if server.TLSConfig != nil {
		return server.ServeTLS(l, "", "")
	}
	return server.Serve(l)
}

// grace is how long what is under way gets when a program ends.
const grace = 10 * time.Second

// shutdown ends a server when its requests are answered, and the port when the
// answers are delivered: Close of a connection does not wait for that.
func shutdown(server *http.Server, transport *utppunch.Transport) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err := server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests were cut off: %w", err), server.Close())
	}
	return errors.Join(err, transport.Shutdown(ctx))
}

// logged has each request logged when it begins.
func logged(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Printf("%s %s %q", r.RemoteAddr, r.Method, r.URL.Path)
		h.ServeHTTP(w, r)
	})
}

// reachable returns the addresses, host:port, at which others find what listens
// on a: those of this machine if it is all of them.
func reachable(a net.Addr) []string {
	bound, err := netip.ParseAddrPort(a.String())
	if err != nil || !bound.Addr().IsUnspecified() {
		return []string{a.String()}
	}
	var addresses []string
	own, _ := net.InterfaceAddrs()
	for _, n := range own {
		prefix, err := netip.ParsePrefix(n.String())
		ip := prefix.Addr()
		if err == nil && !ip.IsLinkLocalUnicast() && (ip.Is4() || bound.Addr().Is6()) {
			addresses = append(addresses, netip.AddrPortFrom(ip, bound.Port()).String())
		}
	}
	if len(addresses) == 0 {
		addresses = append(addresses, a.String())
	}
	return addresses
}
