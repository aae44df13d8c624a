//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package udp

import (
	"net/netip"
	"syscall"
)

const controlSize = 0

// requestPacketInfo reports that there is no packet info: package net has it on
// no such system.
func requestPacketInfo(syscall.RawConn, bool) bool { return false }

func packetInfo([]byte) netip.Addr { return netip.Addr{} }
