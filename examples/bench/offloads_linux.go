package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// siocEthtool is the request of an interface's driver, of linux/sockios.h.
const siocEthtool = 0x8946

// offloads are what an interface may do for its users, with the commands of
// linux/ethtool.h that ask for them.
var offloads = []struct {
	name    string
	command uint32
}{
	{"rx checksums", 0x14}, // ETHTOOL_GRXCSUM
	{"tx checksums", 0x16}, // ETHTOOL_GTXCSUM
	{"TSO", 0x1e},          // ETHTOOL_GTSO
	{"GSO", 0x23},          // ETHTOOL_GGSO
	{"GRO", 0x2b},          // ETHTOOL_GGRO
}

// readOffloads says which offloads an interface has on, and which off.
func readOffloads(device string) (string, error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", os.NewSyscallError("socket", err)
	}
	defer syscall.Close(socket)
	var on, off []string
	for _, o := range offloads {
		// struct ethtool_value in struct ifreq.
		value := struct{ command, data uint32 }{command: o.command}
		var request struct {
			name [syscall.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte // more than the rest of it
		}
		copy(request.name[:len(request.name)-1], device)
		request.data = unsafe.Pointer(&value)
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(socket), siocEthtool, uintptr(unsafe.Pointer(&request)))
		switch {
		case errno != 0:
			return "", os.NewSyscallError("SIOCETHTOOL", errno)
		case value.data != 0:
			on = append(on, o.name)
		default:
			off = append(off, o.name)
		}
	}
	return fmt.Sprintf("on %s; off %s", list(on), list(off)), nil
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
