package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
)

// measurement is one table.
type measurement struct {
	name  string
	title string
	unit  string   // of the value
	lower bool     // whether less is better
	cost  string   // the unit of sample.Cost; empty: there is none
	more  []string // the names of further figures, in order

	contestants []string
	activity    activity
}

// activity is what the two halves of a run do with each other.
type activity interface {
	// serve does the server's part, on all connections of l.
	serve(l net.Listener, m *meter)

	// run does the client's part and puts into c.result what came out.
	run(ctx context.Context, c *client) error
}

// measurements are all there are, in the order in which they are taken.
var measurements = slices.Concat([]*measurement{
	{
		name: "one", title: "one connection, one way", unit: "Gbit/s", cost: costPerGB,
		contestants: contestantNames,
		activity:    transfer{conns: 1},
	},
	{
		name: "sixteen", title: "16 connections at once, one way, in all", unit: "Gbit/s", cost: costPerGB,
		more:        []string{figureSpread},
		contestants: []string{"utp", "tcp", "quic", "kcp"},
		activity:    transfer{conns: 16},
	},
	{
		name: "both", title: "one connection, both ways at once, in all", unit: "Gbit/s", cost: costPerGB,
		contestants: contestantNames,
		activity:    transfer{conns: 1, both: true},
	},
	{
		name: "rtt", title: "round trips of 64 bytes, median", unit: "µs", lower: true, cost: costPerOp,
		more:        []string{figureP99, figureMax, figureRate},
		contestants: contestantNames,
		activity:    roundTrips{size: 64},
	},
	{
		name: "dial", title: "connections one after the other: dial, echo of 1 byte, close", unit: "/s", cost: costPerOp,
		more:        []string{figureP50, figureP99, figureMax},
		contestants: []string{"utp", "tcp", "quic"},
		activity:    dials{},
	},
}, httpMeasurements(), crowdMeasurements(), []*measurement{
	{
		name: "idle", title: "memory of an idle connection at the server, one port", unit: "bytes", lower: true,
		more:        []string{figureConns, figureGoroutines, figureIdleCPU},
		contestants: []string{"utp"},
		activity:    idle{ports: 4},
	},
})

// Units of sample.Cost.
const (
	costPerGB = "CPU s/GB"
	costPerOp = "CPU µs/op"
)

// Names of further figures.
const (
	figureSpread     = "furthest from mean %"
	figureP50        = "p50 µs"
	figureP99        = "p99 µs"
	figureMax        = "max µs"
	figureRate       = "per s"
	figureConns      = "connections"
	figureGoroutines = "goroutines"
	figureIdleCPU    = "CPU %"
	figureAlone      = "alone"
	figureRateRel    = "to alone"
	figureP50Rel     = "p50 to alone"
	figureP99Rel     = "p99 to alone"
	figureMaxAlone   = "max alone µs"
	figureDropped    = "dropped per s"
)

func httpMeasurements() (all []*measurement) {
	for _, body := range []struct {
		name string
		size int
	}{{"64B", 64}, {"64KiB", 64 << 10}} {
		for _, atOnce := range []int{1, 16, 256} {
			all = append(all, &measurement{
				name:  fmt.Sprintf("http-%s-%d", body.name, atOnce),
				title: fmt.Sprintf("net/http, bodies of %s, %d at once", body.name, atOnce),
				unit:  "requests/s", cost: costPerOp,
				contestants: []string{"utp", "tcp"},
				activity:    requests{size: body.size, atOnce: atOnce},
			})
		}
	}
	return all
}

func crowdMeasurements() []*measurement {
	figures := []string{figureAlone, figureRateRel, figureP50, figureP50Rel, figureP99, figureP99Rel, figureMax, figureMaxAlone}
	return []*measurement{
		{
			name: "crowd-slow", unit: "Gbit/s", cost: costPerGB, more: figures,
			title: fmt.Sprintf("bulk and round trips beside %d connections whose ends send all the time and read 1 KB every 100 ms",
				crowdOthers),
			contestants: []string{"utp", "tcp", "quic"},
			activity:    crowd{disturb: readSlowly, moving: crowdOthers},
		},
		{
			name: "crowd-stopped", unit: "Gbit/s", cost: costPerGB, more: figures,
			title:       fmt.Sprintf("bulk and round trips beside %d bulk connections to a process that is stopped", crowdOthers),
			contestants: []string{"utp", "tcp", "quic"},
			activity:    crowd{disturb: readAll, moving: crowdOthers, stopped: true},
		},
		{
			name: "crowd-bulk", unit: "Gbit/s", cost: costPerGB, more: figures,
			title:       fmt.Sprintf("bulk and round trips beside %d bulk connections to another process", crowdOthers),
			contestants: []string{"utp", "tcp", "quic"},
			activity:    crowd{disturb: readAll, moving: crowdOthers},
		},
		{
			name: "crowd-flood", unit: "Gbit/s", cost: costPerGB, more: append(slices.Clip(figures), figureDropped),
			title:       "bulk and round trips while a socket floods the server's port with datagrams that mean nothing",
			contestants: []string{"utp"},
			activity:    crowd{disturb: flood, moving: 1},
		},
	}
}

func findMeasurement(name string) (*measurement, error) {
	for _, m := range measurements {
		if m.name == name {
			return m, nil
		}
	}
	return nil, fmt.Errorf("there is no measurement %q", name)
}

// selectMeasurements returns those whose names begin with one of a list: "all" is
// all, and a full name is that one alone.
func selectMeasurements(list string) (selected []*measurement, err error) {
	for name := range strings.SplitSeq(list, ",") {
		found := false
		exact, _ := findMeasurement(name)
		for _, m := range measurements {
			if m == exact || exact == nil && name != "" && strings.HasPrefix(m.name, name) || name == "all" {
				found = true
				if !slices.Contains(selected, m) {
					selected = append(selected, m)
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no measurement %q; see bench -h", name)
		}
	}
	return selected, nil
}

func measurementHelp() string {
	var b strings.Builder
	for _, m := range measurements {
		fmt.Fprintf(&b, "  %-13s %s\n", m.name, m.title)
	}
	return b.String()
}
