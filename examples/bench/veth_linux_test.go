package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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
		if os.Getenv("CI") == "true" {
			t.Fatal("it needs root, and ip: ", err, ipErr)
		}
		t.Skip("it needs root, and ip: ", err, ipErr)
	}
	file := filepath.Join(t.TempDir(), "samples.json")
	before, err := net.Interfaces()
	require.NoError(t, err)
	stdout, stderr, code := output(t, "-netns", "-quick", "-duration", "40ms", "-measure", "one,rtt,http-64B-1")
	require.Zero(t, code, "%s\n%s", stdout, stderr)
	require.Contains(t, stdout, "veth pair between two network namespaces, MTU 1500, ")

	if _, err := exec.LookPath("tc"); err == nil {
		stdout, stderr, code = output(t, "-netns", "-rate", "500", "-quick", "-measure", "one", "-contestants", "tcp", "-json", file)
		require.Zero(t, code, "%s\n%s", stdout, stderr)
		require.Contains(t, stdout, "; 500 Mbit/s each way\n")
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var got results
		require.NoError(t, json.Unmarshal(text, &got))
		require.Less(t, got.Samples[0].Value, 0.7, "Gbit/s")
	}
	after, err := net.Interfaces()
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestNetnsWithoutIP(t *testing.T) {
	t.Setenv("PATH", "")
	_, err := newVeth(0)
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
