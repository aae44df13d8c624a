//go:build unix

package main

import (
	"os"
	"syscall"
)

// stopProcess has a process stand still, until it is killed.
func stopProcess(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }
