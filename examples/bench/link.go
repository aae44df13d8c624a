package main

import "os/exec"

// link is what lies between the server's and the client's processes.
type link struct {
	name  string // for the head of the report
	host  string // the server's address
	close func() // when all processes have ended

	// startServer and startClient start a process at one end.
	startServer, startClient func(*exec.Cmd) error
}

// loopback has all processes where this one is.
func loopback() *link {
	return &link{
		name:        "loopback",
		host:        "127.0.0.1",
		close:       func() {},
		startServer: (*exec.Cmd).Start,
		startClient: (*exec.Cmd).Start,
	}
}

// newLink returns the link that the options ask for. A server that runs already
// can be anywhere.
func newLink(o *options) (*link, error) {
	if o.netns {
		return newVeth(o.rate)
	}
	l := loopback()
	if o.server != "" {
		l.name = "server at " + o.server
	}
	return l, nil
}
