package udp

import "os"

// The environment variables that turn something off for the ports that are opened
// while they are set, to anything but the empty string: for tests of what happens
// without it, and for systems where it is broken.
const (
	disableGSO  = "UTPPUNCH_DISABLE_GSO"  // segmentation offload, sending
	disableGRO  = "UTPPUNCH_DISABLE_GRO"  // and receiving
	disableMMSG = "UTPPUNCH_DISABLE_MMSG" // several messages in one call
)

func disabled(name string) bool { return os.Getenv(name) != "" }
