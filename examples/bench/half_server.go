package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
)

// Commands of the processes that this program starts, for one run each.
const (
	serverCommand = "half-server"
	clientCommand = "half-client"
)

// serverTask is what the server's half reads first.
type serverTask struct {
	Host string // where to listen
	Spec spec
}

// serverHalf is the process of the server in one run. It reads a task and then
// requests, writes reports, and ends with its input.
func serverHalf(stdin io.Reader, stdout io.Writer) error {
	decoder, encoder := json.NewDecoder(stdin), json.NewEncoder(stdout)
	var task serverTask
	if err := decoder.Decode(&task); err != nil {
		return err
	}
	m := newMeter(&task.Spec)
	l, err := startServing(&task, m)
	if err != nil {
		return encoder.Encode(report{Error: err.Error()})
	}
	defer l.Close()
	if err := encoder.Encode(report{Address: l.Addr().String()}); err != nil {
		return err
	}
	for {
		var what request
		if err := decoder.Decode(&what); err != nil {
			return nil // the client has what it wanted, or is no more
		}
		var answer report
		switch what {
		case askReading:
			answer.Reading = m.read()
		case askBegin:
			answer.Reading = m.begin()
		case askEnd:
			answer.Reading = m.end()
		case askMemory:
			answer.Memory = readMemory()
		default:
			answer.Error = fmt.Sprintf("there is no request %q", what)
		}
		if err := m.failure(); err != nil {
			answer.Error = err.Error()
		}
		if err := encoder.Encode(answer); err != nil {
			return err
		}
	}
}

func startServing(task *serverTask, m *meter) (net.Listener, error) {
	what, err := findMeasurement(task.Spec.Measurement)
	if err != nil {
		return nil, err
	}
	with, err := newContestant(&task.Spec)
	if err != nil {
		return nil, err
	}
	if err := (buffers{task.Spec.RcvBuf, task.Spec.SndBuf}).check(); err != nil {
		return nil, err
	}
	l, err := with.listen(task.Host)
	if err == nil {
		m.dropped = dropped(l)
		go what.activity.serve(l, m)
	}
	return l, err
}
