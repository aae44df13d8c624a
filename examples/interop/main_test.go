package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"utppunch/examples/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestBothSides(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out bytes.Buffer
	require.NoError(t, run(ctx, nil, &out))
	said := strings.Split(strings.TrimSpace(out.String()), "\n")
	of := func(who string) []string {
		return slices.DeleteFunc(slices.Clone(said), func(line string) bool { return !strings.HasPrefix(line, who) })
	}
	require.Equal(t, []string{"server: ready", "server: socket connected", "server: received 'hello'", "server: socket disconnected"}, of("server"))
	require.Equal(t, []string{"client: socket connected", "client: received 'world'", "client: socket disconnected"}, of("client"))
	require.Len(t, said, 7)
}

func TestArguments(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-h"}, &out))
	require.Equal(t, usage, out.String())
	require.ErrorContains(t, run(t.Context(), []string{"dance"}, &out), `"dance"`)
	require.ErrorContains(t, run(t.Context(), []string{"server", "nowhere"}, &out), "missing port")
}
