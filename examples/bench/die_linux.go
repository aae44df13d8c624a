package main

import (
	"os/exec"
	"syscall"
)

// dieWithParent has a process killed when this one ends in whatever way. One that
// is stopped does not notice by itself.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
