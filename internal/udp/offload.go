package udp

import "os"

// The environment variables that turn segmentation offload off for the ports
// that are opened while they are set, to anything but the empty string: for
// tests of what happens without it, and for systems whose offload is broken.
const (
	disableGSO = "UTPPUNCH_DISABLE_GSO"
	disableGRO = "UTPPUNCH_DISABLE_GRO"
)

func disabled(name string) bool { return os.Getenv(name) != "" }
