package main

import (
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNetns measures between namespaces, if this process may make some, and looks
// whether the system is as before.
func TestNetns(t *testing.T) {
	_, ipErr := exec.LookPath("ip")
	n, err := newNamespace()
	if err == nil {
		n.end()
	}
	if os.Geteuid() != 0 {
		require.ErrorContains(t, err, "needs root")
	}
	if ipErr != nil || err != nil {
		t.Skip("it needs root, and ip: ", err, ipErr)
	}
	before, err := net.Interfaces()
	require.NoError(t, err)
	stdout, stderr, code := output(t, "-netns", "-quick", "-duration", "40ms", "-measure", "one,rtt,http-64B-1")
	require.Zero(t, code, "%s\n%s", stdout, stderr)
	require.Contains(t, stdout, "veth pair between two network namespaces, MTU 1500, ")
	after, err := net.Interfaces()
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestNetnsWithoutIP(t *testing.T) {
	t.Setenv("PATH", "")
	_, err := newVeth()
	require.ErrorContains(t, err, "-netns needs the command ip, of iproute2")
}

func TestOffloads(t *testing.T) {
	text, err := readOffloads("lo")
	require.NoError(t, err)
	for _, o := range offloads {
		require.Contains(t, text, o.name)
	}
	_, err = readOffloads("none")
	require.Error(t, err)
}
