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
	mu     sync.Mutex
	failed bool
	detail []string
}

var results, speeds table

// at returns a cell, which is made when it is first asked for.
func (r *table) at(column, row string) *cell {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.columns, column) {
		r.columns = append(r.columns, column)
	}
	if !slices.Contains(r.rows, row) {
		r.rows = append(r.rows, row)
	}
	c := r.cells[[2]string{row, column}]
	if c == nil {
		c = new(cell)
		if r.cells == nil {
			r.cells = make(map[[2]string]*cell)
		}
		r.cells[[2]string{row, column}] = c
	}
	return c
}

// record puts the result of t, which is one test or one of several, into the table when it ends. The cell that it
// returns may get a word about it, such as how long it took.
func record(t *testing.T, peer string, r role, what string) *cell {
	c := results.at(peer+", "+r.String(), what)
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failed = c.failed || t.Failed()
	})
	return c
}

// note adds a detail to the cell.
func (c *cell) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
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

// print writes the table in Markdown, when the tests are over.
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
