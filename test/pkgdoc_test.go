package test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines = 400
	maxFuncLines = 100 // golangci-lint's funlen asks for 60 outside tests
)

// sentenceEnd is where a sentence of a package comment ends.
var sentenceEnd = regexp.MustCompile(`[.!?]['")]?(\s|$)`)

// A source is one parsed Go file.
type source struct {
	path string // in the module
	*ast.File
	fset *token.FileSet
	test bool
}

func TestPackageComments(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		for _, problem := range checkComment(p, parse(t, p)) {
			t.Errorf("package %s: %s", p.name(), problem)
		}
	}
}

func TestExportedSymbolsAreDocumented(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		for _, s := range parse(t, p) {
			if s.test || ast.IsGenerated(s.File) {
				continue
			}
			for _, name := range undocumented(s.File) {
				t.Errorf("%s: %s has no comment: say what it promises", s.path, name)
			}
		}
	}
}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		for _, s := range parse(t, p) {
			for _, problem := range tooLong(s) {
				t.Error(problem)
			}
		}
	}
}

// TestDocRulesCatch holds the rules above against a file that breaks them all.
func TestDocRulesCatch(t *testing.T) {
	long := strings.Repeat("\n", maxFuncLines)
	text := "// Bad is short\npackage bad\n\ntype Open int\nfunc (Open) Close() {" + long + "}\n" +
		"const (\nA = 1 // is documented\nB = 2\n)\nvar V int\nfunc F() {}\ntype hidden int\nfunc (hidden) String() string { return \"\" }\n" +
		strings.Repeat("\n", maxFileLines)
	s := parseText(t, "bad/bad.go", []byte(text))
	if got, want := undocumented(s.File), []string{"Open", "Open.Close", "B", "V", "F"}; !slices.Equal(got, want) {
		t.Errorf("undocumented: %q, want %q", got, want)
	}
	if got := tooLong(s); len(got) != 2 {
		t.Errorf("too long: %q, want the file and Close", got)
	}
	if got := checkComment(goPackage{Name: "bad"}, []source{s}); len(got) != 2 {
		t.Errorf("comment: %q, want its beginning and its length", got)
	}
	if got := checkComment(goPackage{Name: "bad"}, []source{s, s}); len(got) != 1 {
		t.Errorf("comment: %q, want that there are two", got)
	}
	good := parseText(t, "good/good.go", []byte("// Package good is. It is short.\npackage good\n"))
	if got := checkComment(goPackage{Name: "good"}, []source{good}); len(got) != 0 {
		t.Errorf("comment: %q, want nothing", got)
	}
}

// checkComment wants one package comment that begins as godoc expects and says
// more than the package's name: what it is for, and what does not belong in it.
func checkComment(p goPackage, sources []source) []string {
	var docs, where []string
	for _, s := range sources {
		if s.Doc != nil && s.Doc.Text() != "" {
			docs = append(docs, s.Doc.Text())
			where = append(where, s.path)
		}
	}
	if len(docs) != 1 {
		return []string{fmt.Sprintf("%d package comments %q, want one", len(docs), where)}
	}
	var problems []string
	beginnings := []string{"Package " + p.Name + " "}
	if p.Name == "main" {
		beginnings = []string{"Command ", "Porthole "}
	}
	if !slices.ContainsFunc(beginnings, func(b string) bool { return strings.HasPrefix(docs[0], b) }) {
		problems = append(problems, fmt.Sprintf("%s: the package comment begins with none of %q", where[0], beginnings))
	}
	if n := len(sentenceEnd.FindAllString(docs[0], 2)); n < 2 {
		problems = append(problems, where[0]+": the package comment is one sentence: say also what does not belong here")
	}
	return problems
}

// undocumented names the exported declarations of a file that have no comment.
// One comment over a group of constants or variables is for all of them.
func undocumented(f *ast.File) []string {
	var names []string
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if name, exported := funcName(d); exported && d.Doc == nil {
				names = append(names, name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() && spec.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
						names = append(names, spec.Name.Name)
					}
				case *ast.ValueSpec:
					if d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
						names = append(names, exportedOf(spec.Names)...)
					}
				}
			}
		}
	}
	return names
}

// funcName gives F or T.F, and whether others can call it.
func funcName(d *ast.FuncDecl) (string, bool) {
	if d.Recv == nil {
		return d.Name.Name, d.Name.IsExported()
	}
	receiver := d.Recv.List[0].Type
	for {
		switch r := receiver.(type) {
		case *ast.StarExpr:
			receiver = r.X
		case *ast.IndexExpr:
			receiver = r.X
		case *ast.IndexListExpr:
			receiver = r.X
		case *ast.Ident:
			return r.Name + "." + d.Name.Name, r.IsExported() && d.Name.IsExported()
		default:
			return d.Name.Name, false
		}
	}
}

func exportedOf(idents []*ast.Ident) []string {
	var names []string
	for _, i := range idents {
		if i.IsExported() {
			names = append(names, i.Name)
		}
	}
	return names
}

func tooLong(s source) []string {
	if ast.IsGenerated(s.File) {
		return nil
	}
	var problems []string
	if n := s.fset.File(s.Package).LineCount() - 1; n > maxFileLines {
		problems = append(problems, fmt.Sprintf("%s has %d lines, at most %d: two ideas, two files", s.path, n, maxFileLines))
	}
	for _, d := range s.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		first, last := s.fset.Position(f.Pos()).Line, s.fset.Position(f.End()).Line
		if n := last - first + 1; n > maxFuncLines {
			problems = append(problems, fmt.Sprintf("%s:%d: %s has %d lines, at most %d", s.path, first, f.Name.Name, n, maxFuncLines))
		}
	}
	return problems
}

// parse reads every Go file of a package, those for other platforms too.
func parse(t *testing.T, p goPackage) []source {
	t.Helper()
	var sources []source
	for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles) {
		s := parseText(t, filepath.Join(p.Dir, name), nil)
		s.path = filepath.Join(p.name(), name)
		sources = append(sources, s)
	}
	return sources
}

// parseText parses text, or the file at path if text is nil.
func parseText(t *testing.T, path string, text []byte) source {
	t.Helper()
	var from any
	if text != nil {
		from = bytes.NewReader(text)
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, from, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return source{path, f, fset, strings.HasSuffix(path, "_test.go")}
}
