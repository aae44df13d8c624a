//go:build !linux

package udp

import "syscall"

func requestRuns(syscall.RawConn) bool { return false }

func segmentSize([]byte) int { return 0 }
