package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// options is what the flags say.
type options struct {
	server       string // the address of a running server; empty: start one
	netns        bool
	rate         int // Mbit/s; zero: no limit
	contestants  []string
	measurements []*measurement
	runs         int
	duration     time.Duration
	idle         int
	env          []string
	buffers      buffers
	offload      bool
	json         string
	profile      string
}

// parseOptions parses the flags of "bench" and of "bench client".
func parseOptions(command string, args []string, stdout io.Writer) (*options, error) {
	o := new(options)
	flags := flag.NewFlagSet(strings.TrimSpace("bench "+command), flag.ContinueOnError)
	flags.StringVar(&o.server, "server", "", "the `address` of a running \"bench serve\"; by default one is started")
	flags.BoolVar(&o.netns, "netns", false, "measure between two network namespaces, which it makes for that, instead of over loopback: a veth\n"+
		"pair with an MTU of 1500 bytes; Linux, as root, with ip of iproute2")
	flags.IntVar(&o.rate, "rate", 0, "what the link of -netns carries each way, in `Mbit/s`, with a queue longer than any socket buffer, so\n"+
		"that it is these that are full; 0: no limit. It needs tc of iproute2")
	contestants := flags.String("contestants", strings.Join(contestantNames, ","), "who is measured, a `list`")
	measure := flags.String("measure", "all", "what is measured, a `list` of names or beginnings of names out of:\n"+measurementHelp())
	flags.IntVar(&o.runs, "runs", 5, "how often each measurement is taken, contestants in turn; the median is reported")
	flags.DurationVar(&o.duration, "duration", 2*time.Second, "how long each run takes, after a warm-up of a quarter of it; a crowd-… has four such parts")
	flags.IntVar(&o.idle, "idle", 20_000, "the number of idle connections")
	quick := flags.Bool("quick", false, "1 run of 200 ms, 1,000 idle connections, unless flags say otherwise")
	flags.StringVar(&o.json, "json", "", "write all samples to this `file`")
	flags.StringVar(&o.profile, "profile", "", "write CPU profiles of our client to this `file`, and of our server to file.server;\n"+
		"for one measurement; of the last run")
	flags.Func("env", "a `KEY=VALUE` in the environment of our processes, UTPPUNCH_… or GO…; may be repeated", func(s string) error {
		o.env = append(o.env, s)
		return checkEnv(s)
	})
	flags.BoolVar(&o.offload, "offload", true, "let ours, quic-go and raw use the system's UDP segmentation offload (GSO, GRO), as they do by themselves")
	flags.IntVar(&o.buffers.recv, "rcvbuf", 0, "the receive buffers of all UDP sockets (SO_RCVBUF), in `bytes`; 0: as each contestant does;\n"+
		"212992 is what Linux allows everybody. TCP is left alone")
	flags.IntVar(&o.buffers.send, "sndbuf", 0, "the same for send buffers (SO_SNDBUF), in `bytes`")
	if err := parse(flags, args, stdout); err != nil {
		return nil, err
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if *quick {
		for name, value := range map[string]string{"runs": "1", "duration": "200ms", "idle": "1000"} {
			if !given[name] {
				_ = flags.Set(name, value) // which cannot fail
			}
		}
	}
	var err error
	if o.measurements, err = selectMeasurements(*measure); err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(*contestants, ",") {
		if !slices.Contains(contestantNames, name) {
			return nil, fmt.Errorf("there is no contestant %q; there are %s", name, strings.Join(contestantNames, ", "))
		}
		o.contestants = append(o.contestants, name)
	}
	return o, o.check(command)
}

// check finds what cannot be done.
func (o *options) check(command string) error {
	switch {
	case command == "client" && o.server == "":
		return errors.New("client needs -server")
	case o.netns && o.server != "":
		return errors.New("-netns starts both ends itself, and -server says that one is there; give one of them")
	case o.rate < 0 || o.rate > 0 && !o.netns:
		return errors.New("-rate must not be below zero, and needs -netns")
	case o.runs < 1 || o.duration <= 0 || o.idle < 1 || o.buffers.recv < 0 || o.buffers.send < 0:
		return errors.New("-runs, -duration and -idle must be above zero, and -rcvbuf and -sndbuf not below")
	case o.profile != "" && (len(o.measurements) != 1 || !slices.Contains(o.contestants, "utp")):
		return errors.New("-profile needs one measurement (-measure), and utp among the contestants")
	case !o.measuresAnything():
		return errors.New("none of -contestants takes part in any of -measure")
	}
	return o.buffers.check()
}

func (o *options) measuresAnything() bool {
	for _, m := range o.measurements {
		for _, name := range o.contestants {
			if slices.Contains(m.contestants, name) {
				return true
			}
		}
	}
	return false
}

// checkEnv refuses variables that have no business here: a server takes them
// from whoever reaches its port.
func checkEnv(s string) error {
	key, _, ok := strings.Cut(s, "=")
	if !ok || !strings.HasPrefix(key, "UTPPUNCH_") && !strings.HasPrefix(key, "GO") {
		return fmt.Errorf("%q is not UTPPUNCH_…=… or GO…=…", s)
	}
	return nil
}
