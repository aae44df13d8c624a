package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// machine is what the figures depend on.
type machine struct {
	Cores   int
	CPU     string // its model; empty: unknown, as with Load
	Kernel  string
	OS      string
	Arch    string
	Go      string
	Load    string   // of the last minute, at the start: who else is using it
	Modules []string // the other contestants, with their versions
}

func thisMachine() machine {
	m := machine{
		Cores:  runtime.NumCPU(),
		CPU:    cpuModel(),
		Kernel: "kernel unknown",
		OS:     runtime.GOOS,
		Arch:   runtime.GOARCH,
		Go:     runtime.Version(),
	}
	// All of this is for Linux; elsewhere there are no such files.
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = "kernel " + strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(b), " ")
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			switch dep.Path {
			case "github.com/quic-go/quic-go", "github.com/xtaci/kcp-go/v5", "github.com/xtaci/smux":
				m.Modules = append(m.Modules, dep.Path+" "+dep.Version)
			}
		}
	}
	return m
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
