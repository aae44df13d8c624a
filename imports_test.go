package utppunch_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// importRule says what the non-test files of one package may import. Patterns: "std" is the standard library, "p/..."
// is p and all below it, and "./" is the module.
type importRule struct {
	dir       string
	allow     []string
	deny      []string // beats allow
	clockless bool     // whether the package must not ask for the time, nor wait for it
	why       string
}

// impure is what a state machine has no use for: whatever waits, locks, draws at random, or talks to the outside.
var impure = []string{
	"net/...", "sync/...", "context/...", "os/...", "math/rand/...", "crypto/...", "log/...", "syscall/...",
}

// clockFuncs is what the state machines do not call in package time: they are told what time it is.
var clockFuncs = []string{"Now", "Since", "Until", "AfterFunc", "NewTimer", "NewTicker", "Sleep", "After", "Tick"}

var importRules = []importRule{
	{
		dir:   ".",
		allow: []string{"std", "./utp", "./punch", "./internal/udp"},
		why:   "Transport joins sockets, connections and NAT traversal; streams are for who wants them",
	},
	{
		dir:   "utp",
		allow: []string{"std", "./utp/internal/..."},
		why:   "connections know neither sockets nor NAT traversal: Transport brings them together",
	},
	{
		dir:       "utp/internal/engine",
		allow:     []string{"std", "./utp/internal/wire"},
		deny:      impure,
		clockless: true,
		why:       "the protocol is a pure state machine: that makes it testable in virtual time, and repeatable",
	},
	{
		dir:       "utp/internal/wire",
		allow:     []string{"std"},
		deny:      impure,
		clockless: true,
		why:       "packets are values: to read and write them takes nothing from outside",
	},
	{
		dir:   "punch",
		allow: []string{"std"},
		why:   "NAT traversal opens no socket and knows no uTP: Transport gives it what it needs",
	},
	{
		dir:   "muxer",
		allow: []string{"std", "github.com/hashicorp/yamux"},
		why:   "streams run over any net.Conn",
	},
	{
		dir:   "internal/udp",
		allow: []string{"std", "golang.org/x/net/..."},
		why:   "a socket knows nothing of what it carries",
	},
	{
		dir:   "internal/simnet",
		allow: []string{"std", "golang.org/x/net/..."},
		why:   "a network knows nothing of what it carries",
	},
}

// exclusiveImports is an import that only some files may have, whatever else their rule allows.
var exclusiveImports = []struct {
	path string
	dir  string // "": only test files
	why  string
}{
	{path: "github.com/hashicorp/yamux/...", dir: "muxer", why: "only muxer needs yamux, and its licence"},
	{path: "github.com/stretchr/testify/...", why: "users do not get our test tools"},
	{path: "golang.org/x/net/nettest", why: "users do not get our test tools"},
	{path: "./internal/simnet", why: "it exists for tests"},
}

func TestImports(t *testing.T) {
	module := modulePath(t)
	for _, f := range libraryFiles(t) {
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if err := checkImport(module, f.dir, imported); err != nil {
				t.Errorf("%s:%d: %v", f.path, f.line(spec.Pos()), err)
			}
		}
	}
}

func TestStateMachinesCallNoClock(t *testing.T) {
	for _, f := range libraryFiles(t) {
		rule, ok := ruleFor(f.dir)
		if !ok || !rule.clockless {
			continue
		}
		for _, call := range f.clockUses() {
			t.Errorf("%s:%d: %s uses the clock; %s", f.path, f.line(call.Pos()), f.dir, rule.why)
		}
	}
}

// TestImportRulesBite tests the tests: a table that allows everything would pass them, too.
func TestImportRulesBite(t *testing.T) {
	for _, c := range []struct{ dir, good, bad string }{
		{".", "utppunch/utp", "utppunch/muxer"},
		{".", "utppunch/internal/udp", "utppunch/internal/simnet"},
		{".", "net/http", "github.com/stretchr/testify/assert"},
		{"utp", "utppunch/utp/internal/engine", "utppunch/internal/udp"},
		{"utp", "sync", "utppunch/punch"},
		{"utp", "utppunch/utp/internal/wire", "utppunch"},
		{"utp/internal/engine", "utppunch/utp/internal/wire", "net/netip"},
		{"utp/internal/engine", "time", "math/rand/v2"},
		{"utp/internal/engine", "math/bits", "sync/atomic"},
		{"utp/internal/wire", "encoding/binary", "utppunch/utp/internal/engine"},
		{"utp/internal/wire", "iter", "log/slog"},
		{"punch", "crypto/ed25519", "utppunch/utp"},
		{"muxer", "github.com/hashicorp/yamux", "utppunch/utp"},
		{"internal/udp", "golang.org/x/net/ipv4", "golang.org/x/net/nettest"},
		{"internal/simnet", "time", "C"},
	} {
		assert.NoError(t, checkImport("utppunch", c.dir, c.good))
		assert.Error(t, checkImport("utppunch", c.dir, c.bad), "%s imports %s", c.dir, c.bad)
	}
	assert.Error(t, checkImport("utppunch", "elsewhere", "fmt"), "a package without a rule")
}

// TestClockUsesAreFound does the same for the clock.
func TestClockUsesAreFound(t *testing.T) {
	for text, want := range map[string]int{
		`import "time"; var _, _ = time.Now(), time.Since`:             2,
		`import t "time"; func f() { t.Sleep(t.Second) }`:              1,
		`import . "time"; var x = Now()`:                               1,
		`import "time"; const x = time.Second; var y time.Time`:        0,
		`import "time"; func f(r rtt) { r.After(time.Second) }`:        0,
		`var time struct{ Now int }; func f() int { return time.Now }`: 0,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "p.go", "package p; "+text, 0)
		require.NoError(t, err)
		assert.Len(t, sourceFile{ast: file}.clockUses(), want, text)
	}
}

// libraryFiles returns what users get: all but tests and the module of the examples.
func libraryFiles(t *testing.T) []sourceFile {
	t.Helper()
	return slices.DeleteFunc(sourceFiles(t), func(f sourceFile) bool {
		return f.test || matchesImport("examples/...", f.dir)
	})
}

// modulePath reads the module's name from go.mod, since users may rename it.
func modulePath(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	require.Fail(t, "go.mod names no module")
	return ""
}

func ruleFor(dir string) (importRule, bool) {
	i := slices.IndexFunc(importRules, func(r importRule) bool { return r.dir == dir })
	if i < 0 {
		return importRule{}, false
	}
	return importRules[i], true
}

// checkImport returns why the package in dir may not import a package, or nil.
func checkImport(module, dir, imported string) error {
	rule, ok := ruleFor(dir)
	if !ok {
		return fmt.Errorf("package %s has no import rule: decide what it may import, and why", dir)
	}
	name := imported
	if inModule, ok := strings.CutPrefix(imported, module); ok && (inModule == "" || inModule[0] == '/') {
		name = "." + inModule
	}
	isPattern := func(pattern string) bool { return matchesImport(pattern, name) }
	if !slices.ContainsFunc(rule.allow, isPattern) || slices.ContainsFunc(rule.deny, isPattern) {
		return fmt.Errorf("%s may not import %s: %s", dir, imported, rule.why)
	}
	for _, e := range exclusiveImports {
		if isPattern(e.path) && dir != e.dir {
			return fmt.Errorf("%s may not import %s: %s", dir, imported, e.why)
		}
	}
	return nil
}

// matchesImport reports whether a pattern of importRule covers name.
func matchesImport(pattern, name string) bool {
	if pattern == "std" {
		// As the go command has it: the first element of any other path contains a dot. Cgo is not part of it.
		first, _, _ := strings.Cut(name, "/")
		return name != "C" && !strings.Contains(first, ".")
	}
	if parent, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == parent || strings.HasPrefix(name, parent+"/")
	}
	return name == pattern
}

// clockUses returns the uses of package time that read the clock or wait. A dot import of it counts as one.
func (f sourceFile) clockUses() []ast.Node {
	var uses []ast.Node
	for _, spec := range f.ast.Imports {
		if spec.Path.Value != `"time"` {
			continue
		}
		name := "time"
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name == "." {
			uses = append(uses, spec)
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains(clockFuncs, sel.Sel.Name) {
				if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == name {
					uses = append(uses, sel)
				}
			}
			return true
		})
	}
	return uses
}
