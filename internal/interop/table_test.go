//go:build interop

package interop

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
)

// table collects what was tested with whom, in the order in which it was first done.
type table struct {
	mu      sync.Mutex
	columns []string
	rows    []string
	cells   map[[2]string]*cell
}

type cell struct {
	failed bool
	detail []string
}

var results = table{cells: make(map[[2]string]*cell)}

// record puts the result of t, which is one test or one of several, into the table when it ends. The cell that it
// returns may get a word about it, such as how much was transferred.
func record(t *testing.T, peer string, r role, what string) *cell {
	column := peer + ", " + r.String()
	results.mu.Lock()
	defer results.mu.Unlock()
	if !slices.Contains(results.columns, column) {
		results.columns = append(results.columns, column)
	}
	if !slices.Contains(results.rows, what) {
		results.rows = append(results.rows, what)
	}
	c := results.cells[[2]string{what, column}]
	if c == nil {
		c = new(cell)
		results.cells[[2]string{what, column}] = c
	}
	t.Cleanup(func() {
		results.mu.Lock()
		defer results.mu.Unlock()
		c.failed = c.failed || t.Failed()
	})
	return c
}

// note adds a detail to the cell.
func (c *cell) note(format string, args ...any) {
	results.mu.Lock()
	defer results.mu.Unlock()
	c.detail = append(c.detail, fmt.Sprintf(format, args...))
}

func (c *cell) String() string {
	switch {
	case c == nil:
		return "–"
	case c.failed:
		return "**FAILED**"
	case len(c.detail) > 0:
		return strings.Join(c.detail, ", ")
	default:
		return "yes"
	}
}

// print writes the table in Markdown.
func (r *table) print(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n| | %s |\n|---|%s\n", strings.Join(r.columns, " | "), strings.Repeat("---|", len(r.columns)))
	for _, row := range r.rows {
		fmt.Fprintf(w, "| %s |", row)
		for _, column := range r.columns {
			fmt.Fprintf(w, " %v |", r.cells[[2]string{row, column}])
		}
		fmt.Fprintln(w)
	}
}
