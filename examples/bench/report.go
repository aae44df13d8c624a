package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// printHead says what was measured on what, and how.
func printHead(w io.Writer, r *results, o *options) {
	m := &r.Machine
	fmt.Fprintf(w, "%d cores, %s, %s/%s, %s", m.Cores, m.Kernel, m.OS, m.Arch, m.Go)
	if m.CPU != "" {
		fmt.Fprintf(w, ", %s", m.CPU)
	}
	if m.Load != "" {
		fmt.Fprintf(w, ", load at start %s", m.Load)
	}
	fmt.Fprintf(w, "\n%s\n", strings.Join(m.Modules, ", "))
	fmt.Fprintf(w, "%s\n%d runs of %v each, contestants in turn; medians", r.Options.Link, o.runs, o.duration)
	if len(o.env) > 0 {
		fmt.Fprintf(w, "; ours with %s", strings.Join(o.env, " "))
	}
	if !o.offload {
		fmt.Fprint(w, "; ours, quic-go and raw without UDP segmentation offload")
	}
	if o.buffers.recv > 0 {
		fmt.Fprintf(w, "; UDP receive buffers %d bytes (SO_RCVBUF)", o.buffers.recv)
	}
	if o.buffers.send > 0 {
		fmt.Fprintf(w, "; UDP send buffers %d bytes (SO_SNDBUF)", o.buffers.send)
	}
	fmt.Fprint(w, "\nA ratio is our value, or another's, divided by that of TCP or quic-go. CPU is user and system time of both ends.\n")
}

// printTable prints one measurement.
func printTable(w io.Writer, m *measurement, samples []sample) {
	better := "more is better"
	if m.lower {
		better = "less is better"
	}
	fmt.Fprintf(w, "\n%s: %s (%s, %s)\n", m.name, m.title, m.unit, better)
	good := map[string][]sample{}
	var names, failed []string
	for _, s := range samples {
		if !slices.Contains(names, s.Contestant) {
			names = append(names, s.Contestant)
		}
		if s.Error != "" {
			failed = append(failed, fmt.Sprintf("%s, run %d, failed: %s", s.Contestant, s.Run, s.Error))
			continue
		}
		good[s.Contestant] = append(good[s.Contestant], s)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...string) { fmt.Fprintf(t, "%s\t\n", strings.Join(cells, "\t")) }
	head := []string{"contestant", m.unit, "to TCP", "to quic"}
	if m.cost != "" {
		head = append(head, m.cost)
	}
	row(slices.Concat(head, []string{"min–max"}, m.more)...)
	value := func(s sample) float64 { return s.Value }
	for _, name := range names {
		own := good[name]
		if len(own) == 0 {
			row(name, "failed")
			continue
		}
		cells := []string{name, figure(median(own, value)), ratio(own, good["tcp"]), ratio(own, good["quic"])}
		if m.cost != "" {
			cells = append(cells, figure(median(own, func(s sample) float64 { return s.Cost })))
		}
		byValue := func(a, b sample) int { return cmp.Compare(a.Value, b.Value) }
		cells = append(cells, figure(slices.MinFunc(own, byValue).Value)+"–"+figure(slices.MaxFunc(own, byValue).Value))
		for _, key := range m.more {
			cells = append(cells, figure(median(own, func(s sample) float64 { return s.More[key] })))
		}
		row(cells...)
	}
	_ = t.Flush() // as with fmt.Fprint, there is nobody to tell
	for _, f := range failed {
		fmt.Fprintln(w, f)
	}
}

// median returns the median of a figure.
func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	n := len(values)
	return (values[n/2] + values[(n-1)/2]) / 2
}

// ratio compares the medians of two contestants.
func ratio(own, other []sample) string {
	if len(other) == 0 {
		return "-"
	}
	value := func(s sample) float64 { return s.Value }
	return figure(median(own, value) / median(other, value))
}

// figure writes a number with three digits, or more if there are more before the
// decimal point.
func figure(v float64) string {
	decimals := 0
	for limit := 100.0; decimals < 3 && v < limit; limit /= 10 {
		decimals++
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}
