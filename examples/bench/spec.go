package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// spec says what is to be measured. It goes to both halves of a run.
type spec struct {
	Measurement string
	Contestant  string
	Env         []string // for the processes of the two halves
	NoOffload   bool     // whether to do without UDP segmentation offload
	RcvBuf      int      // bytes, of UDP sockets; zero: not set
	SndBuf      int      // the same
	Duration    time.Duration
	Idle        int // connections
	Profile     bool
}

// environ returns what is added to the environment of the processes.
func (s *spec) environ() []string {
	if !s.NoOffload {
		return s.Env
	}
	return slices.Concat(noOffload[s.Contestant], s.Env)
}

// noOffload is what turns UDP segmentation offload off. TCP's is another, raw has
// no such variable, and kcp-go uses none.
var noOffload = map[string][]string{
	"utp":  {"UTPPUNCH_DISABLE_GSO=1", "UTPPUNCH_DISABLE_GRO=1"},
	"quic": {"QUIC_GO_DISABLE_GSO=1"},
}

// limit is how long a run may take before it counts as hung.
func (s *spec) limit() time.Duration {
	return 30*time.Second + 10*s.Duration + time.Duration(s.Idle)*5*time.Millisecond
}

// A run is two processes: the client's half, which measures, and the server's
// half, which "bench serve" starts when the client's half connects to it. Over
// this connection, the control connection, the client sends a spec, reads a
// report with an address, and then sends requests, each answered by a report. The
// server's half ends with the connection.

// request is what the client's half asks for.
type request string

const (
	// askReading asks for the counters.
	askReading request = "reading"
	// askBegin and askEnd ask for them where the interval to be measured begins
	// and ends.
	askBegin request = "begin"
	askEnd   request = "end"
	// askMemory asks for the memory in use, after a garbage collection.
	askMemory request = "memory"
)

// report is what the server's half answers.
type report struct {
	Error   string
	Address string // where the contestant listens
	Reading reading
	Memory  memory
}

// control is the client's end of the control connection.
type control struct {
	encoder *json.Encoder
	decoder *json.Decoder
}

func newControl(conn io.ReadWriter) *control {
	return &control{json.NewEncoder(conn), json.NewDecoder(conn)}
}

// ask sends a spec or a request and returns the answer.
func (c *control) ask(what any) (*report, error) {
	if err := c.encoder.Encode(what); err != nil {
		return nil, fmt.Errorf("the server's half has ended: %w", err)
	}
	answer := new(report)
	if err := c.decoder.Decode(answer); err != nil {
		return nil, fmt.Errorf("the server's half has ended: %w", err)
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("server: %s", answer.Error)
	}
	return answer, nil
}
