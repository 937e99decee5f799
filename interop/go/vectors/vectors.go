// Package vectors writes the golden vectors.
package vectors

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"

	"kcp-interop/peer"
)

// hexBytes is written to JSON as a string of hexadecimal digits.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, h), nil
}

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// vectorFiles lists what the vectors command writes, each with the function that makes its contents.
var vectorFiles = []struct {
	name string
	make func(ctx context.Context) (any, error)
}{
	{"keys.json", func(context.Context) (any, error) { return makeKeyVectors() }},
	{"ciphers.json", func(context.Context) (any, error) { return makeCipherVectors() }},
	{"fec.json", func(ctx context.Context) (any, error) { return makeFECVectors(ctx) }},
	{"api.json", func(ctx context.Context) (any, error) { return makeAPIVectors(ctx) }},
	{"datagrams.json", func(ctx context.Context) (any, error) { return makeDatagramVectors(ctx) }},
}

// Setup registers the flags of the subcommand that writes the golden vectors to a directory.
func Setup(fs *flag.FlagSet, _ *peer.Options) peer.Action {
	dir := fs.String("out", "../vectors", "directory to write to")
	only := fs.String("only", "", "write this file alone, such as api.json")
	return func(ctx context.Context, out io.Writer) error {
		if err := os.MkdirAll(*dir, 0o755); err != nil {
			return err
		}
		for _, file := range vectorFiles {
			if *only != "" && file.name != *only {
				continue
			}
			contents, err := file.make(ctx)
			if err != nil {
				return err
			}
			text, err := vectorJSON(contents)
			if err != nil {
				return err
			}
			path := filepath.Join(*dir, file.name)
			if err := os.WriteFile(path, text, 0o644); err != nil {
				return err
			}
			if err := peer.PrintLine(out, map[string]any{"wrote": path, "bytes": len(text)}); err != nil {
				return err
			}
		}
		return nil
	}
}

// vectorJSON indents by one space: a line for each value keeps changes readable, and more would only add size.
func vectorJSON(v any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	err := encoder.Encode(v)
	return text.Bytes(), err
}

const kcpModule = "github.com/xtaci/kcp-go/v5"

// vectorSource names the kcp-go the vectors come from, as linked into this binary.
func vectorSource() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == kcpModule {
				return "kcp-go " + dep.Version
			}
		}
	}
	// A test of a package that is no program has no list of its modules.
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", kcpModule).Output()
	if err != nil {
		return "kcp-go"
	}
	return "kcp-go " + strings.TrimSpace(string(version))
}
