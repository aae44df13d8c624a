package utppunch_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"utppunch"
)

// A web server that is reached over uTP, and a client for it.
func ExampleListen() {
	l, err := utppunch.Listen("utp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello over %s", r.Context().Value(http.LocalAddrContextKey).(interface{ Network() string }).Network())
	})}
	go server.Serve(l)

	client := http.Client{Transport: &http.Transport{DialContext: utppunch.DialContext}}
	res, err := client.Get("http://" + l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Status, string(body))

	// Before a program ends it lets go of its connections and waits until what they sent has arrived.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client.CloseIdleConnections()
	if err := server.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	if err := utppunch.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: 200 OK hello over utp
}

// One port for both directions: it accepts connections and dials others. Here it dials itself.
func ExampleTransport() {
	port, err := utppunch.Open("utp", "127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	l, err := port.Listen()
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintln(c, "welcome") // the side that accepts may speak first
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := port.DialContext(ctx, "utp", port.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	text, err := io.ReadAll(c)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(text))
	fmt.Println("one port:", c.LocalAddr().String() == c.RemoteAddr().String())
	if err := c.Close(); err != nil {
		log.Fatal(err)
	}
	if err := port.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// welcome
	// one port: true
}

// A port can be shared with another protocol, whose datagrams must not look like uTP.
func ExampleTransport_PacketConn() {
	port, err := utppunch.Open("utp", "127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer port.Close()
	pc := port.PacketConn()
	if _, err := pc.WriteTo([]byte("a datagram"), pc.LocalAddr()); err != nil {
		log.Fatal(err)
	}
	b := make([]byte, 1500)
	n, from, err := pc.ReadFrom(b)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(b[:n]), "from myself:", from.String() == port.Addr().String())
	// Output: a datagram from myself: true
}

// A Dialer sets limits, and the port to dial from.
func ExampleDialer() {
	l, err := utppunch.Listen("utp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(c, c)
		c.Close()
	}()

	port, err := utppunch.Open("utp4", ":0", nil)
	if err != nil {
		log.Fatal(err)
	}
	dialer := &utppunch.Dialer{Transport: port, Timeout: 10 * time.Second}
	c, err := dialer.DialContext(context.Background(), "utp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "there and back")
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil { // the echo ends when we do
		log.Fatal(err)
	}
	text, err := io.ReadAll(c)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))

	c.Close()
	l.Close()
	if err := port.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: there and back
}
