package utppunch_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maxLines is how long a file may get: one that is longer holds more than one concept.
const maxLines = 600

// unfinished matches what should be an issue or should be done. It is put together so as not to match itself.
var unfinished = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "X" + "XX"}, "|") + `)\b`)

// sourceFile is one Go file of the repository, whatever its build tags.
type sourceFile struct {
	path string // from the root, with slashes
	dir  string // "." is the root
	test bool
	text []byte
	ast  *ast.File
	fset *token.FileSet
}

// sourceFiles parses every Go file, examples and their module included.
func sourceFiles(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		base := path.Base(name)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules"):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		f := sourceFile{path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), fset: token.NewFileSet()}
		if f.text, err = fs.ReadFile(root, name); err != nil {
			return err
		}
		f.ast, err = parser.ParseFile(f.fset, name, f.text, parser.ParseComments|parser.SkipObjectResolution)
		files = append(files, f)
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

// line returns where pos is, as line number.
func (f sourceFile) line(pos token.Pos) int { return f.fset.Position(pos).Line }

func TestFilesAreShort(t *testing.T) {
	for _, f := range sourceFiles(t) {
		assert.LessOrEqual(t, bytes.Count(f.text, []byte("\n")), maxLines, "lines of %s", f.path)
	}
}

func TestNothingIsLeftUnfinished(t *testing.T) {
	for _, f := range sourceFiles(t) {
		for _, at := range unfinished.FindAllIndex(f.text, -1) {
			t.Errorf("%s:%d: %s", f.path, 1+bytes.Count(f.text[:at[0]], []byte("\n")), f.text[at[0]:at[1]])
		}
	}
}

func TestPackagesHaveComments(t *testing.T) {
	commented := map[string]bool{}
	for _, f := range sourceFiles(t) {
		if !f.test {
			commented[f.dir] = commented[f.dir] || f.ast.Doc.Text() != ""
		}
	}
	for dir, ok := range commented {
		assert.True(t, ok, "package %s has no comment", dir)
	}
}

func TestExportedNamesHaveComments(t *testing.T) {
	for _, f := range sourceFiles(t) {
		if f.test || isInternal(f.dir) || f.ast.Name.Name == "main" {
			continue
		}
		for _, name := range f.undocumented() {
			t.Errorf("%s:%d: %s has no comment", f.path, f.line(name.Pos()), name.Name)
		}
	}
}

func isInternal(dir string) bool { return strings.Contains("/"+dir+"/", "/internal/") }

// undocumented returns the exported names in f that no comment explains.
func (f sourceFile) undocumented() []*ast.Ident {
	var names []*ast.Ident
	for _, decl := range f.ast.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Name.IsExported() && receiverIsExported(decl) && decl.Doc.Text() == "" {
				names = append(names, decl.Name)
			}
		case *ast.GenDecl:
			names = append(names, f.undocumentedSpecs(decl)...)
		}
	}
	return names
}

// receiverIsExported reports whether users can see the methods of fn's receiver; a function has none that hides it.
func receiverIsExported(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return true
	}
	exported := false
	ast.Inspect(fn.Recv.List[0].Type, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		exported = exported || ok && id.IsExported()
		return !ok
	})
	return exported
}

func (f sourceFile) undocumentedSpecs(decl *ast.GenDecl) []*ast.Ident {
	var run commentRun
	var names []*ast.Ident
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			documented := spec.Doc.Text() != "" || !decl.Lparen.IsValid() && decl.Doc.Text() != ""
			if !spec.Name.IsExported() {
				continue
			}
			if !documented {
				names = append(names, spec.Name)
			}
			switch typ := spec.Type.(type) {
			case *ast.StructType:
				names = append(names, f.undocumentedFields(typ.Fields)...)
			case *ast.InterfaceType:
				names = append(names, f.undocumentedFields(typ.Methods)...)
			}
		case *ast.ValueSpec:
			ok := run.explains(f, spec, spec.Doc, spec.Comment)
			if !ok && decl.Doc.Text() == "" {
				names = append(names, exportedNames(spec.Names)...)
			}
		}
	}
	return names
}

func (f sourceFile) undocumentedFields(fields *ast.FieldList) []*ast.Ident {
	var run commentRun
	var names []*ast.Ident
	for _, field := range fields.List {
		if !run.explains(f, field, field.Doc, field.Comment) {
			names = append(names, exportedNames(field.Names)...)
		}
	}
	return names
}

// commentRun follows the lines of a declaration: a comment covers what it stands at and all that follows without a
// blank line between.
type commentRun struct {
	covered bool
	last    int // the line where the previous node ended
}

// explains reports whether node, which has these comments of its own, is covered.
func (r *commentRun) explains(f sourceFile, node ast.Node, comments ...*ast.CommentGroup) bool {
	follows := r.covered && f.line(node.Pos()) == r.last+1
	r.covered = follows
	for _, c := range comments {
		r.covered = r.covered || c.Text() != ""
	}
	r.last = f.line(node.End())
	return r.covered
}

func exportedNames(names []*ast.Ident) []*ast.Ident {
	var all []*ast.Ident
	for _, name := range names {
		if name.IsExported() {
			all = append(all, name)
		}
	}
	return all
}

// TestUndocumentedNamesAreFound tests the test: it has to bite, and only where it should.
func TestUndocumentedNamesAreFound(t *testing.T) {
	const text = `package p

const Bad1 = 1

// These are explained.
const (
	Good1 = 1

	Good2 = 2
)

var (
	// Good3 begins a run.
	Good3 int
	Good4 int

	Bad2 int
	Good5 int // by its own comment
)

type Bad3 struct {
	Bad4 int
	// Good6 and what follows.
	Good6 int
	Good7, Good8 int

	Bad5, hidden int
}

type hidden struct{ Unseen int }

func (hidden) Unseen2() {}

func (*Bad3) Bad6() {}

//go:noinline
func Bad7[T any]() {}

// Good9 is explained.
type Good9[T any] interface {
	Bad8()
}

func (Good9[T]) Bad9() {}
`
	f := sourceFile{fset: token.NewFileSet()}
	var err error
	f.ast, err = parser.ParseFile(f.fset, "p.go", text, parser.ParseComments)
	require.NoError(t, err)
	var names []string
	for _, name := range f.undocumented() {
		names = append(names, name.Name)
	}
	require.Equal(t, []string{"Bad1", "Bad2", "Bad3", "Bad4", "Bad5", "Bad6", "Bad7", "Bad8", "Bad9"}, names)

	require.Regexp(t, unfinished, "// "+"TO"+"DO: later")
	require.NotRegexp(t, unfinished, "a method of mastodons, XXXL")
}
