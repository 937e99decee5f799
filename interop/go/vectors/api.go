package vectors

import (
	"context"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/xtaci/kcp-go/v5"
)

type apiVectors struct {
	Note     string   `json:"note"`
	Source   string   `json:"source"`
	Exported []string `json:"exported"`
	Header   []string `json:"header"`
}

// makeAPIVectors lists kcp-go's exported names on this platform. It reads the source, because reflection cannot list
// a package.
func makeAPIVectors(ctx context.Context) (apiVectors, error) {
	vectors := apiVectors{
		Note:   "exported = kind and name of all that the package exports; header = Snmp.Header()",
		Source: vectorSource(),
		Header: kcp.DefaultSnmp.Header(),
	}
	dir, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", kcpModule).Output()
	if err != nil {
		return vectors, fmt.Errorf("go list: %w", err)
	}
	pkg, err := build.ImportDir(strings.TrimSpace(string(dir)), 0)
	if err != nil {
		return vectors, err
	}
	for _, name := range pkg.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(pkg.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return vectors, err
		}
		for _, decl := range file.Decls {
			vectors.Exported = append(vectors.Exported, exportedBy(decl)...)
		}
	}
	slices.Sort(vectors.Exported)
	return vectors, nil
}

func exportedBy(decl ast.Decl) []string {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Recv == nil {
			return exportedNames("func ", decl.Name)
		}
		if receiver := receiverName(decl.Recv.List[0].Type); ast.IsExported(receiver) {
			return exportedNames("method "+receiver+".", decl.Name)
		}
	case *ast.GenDecl:
		var names []string
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				names = append(names, exportedNames(decl.Tok.String()+" ", spec.Names...)...)
			case *ast.TypeSpec:
				names = append(names, exportedByType(spec)...)
			}
		}
		return names
	}
	return nil
}

// exportedByType lists a type with the fields and methods in its declaration.
func exportedByType(spec *ast.TypeSpec) []string {
	names := exportedNames("type ", spec.Name)
	if names == nil {
		return nil
	}
	kind, members := "field ", (*ast.FieldList)(nil)
	switch t := spec.Type.(type) {
	case *ast.StructType:
		members = t.Fields
	case *ast.InterfaceType:
		kind, members = "method ", t.Methods
	default:
		return names
	}
	for _, member := range members.List {
		names = append(names, exportedNames(kind+spec.Name.Name+".", member.Names...)...)
	}
	return names
}

func exportedNames(prefix string, names ...*ast.Ident) []string {
	var exported []string
	for _, name := range names {
		if name.IsExported() {
			exported = append(exported, prefix+name.Name)
		}
	}
	return exported
}

// receiverName returns T for a receiver of type T, *T or *T[P].
func receiverName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiverName(t.X)
	case *ast.IndexExpr:
		return receiverName(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}
