// Package vectors generates the golden vectors.
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

// hexBytes is encoded in JSON as a string of hexadecimal digits.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, h), nil
}

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// vectorFiles lists the files of golden vectors, each with the function that generates its contents.
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
	only := fs.String("only", "", "write only this file, such as api.json")
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

// vectorJSON indents by one space: one value per line keeps diffs readable, and more indentation would only add size.
func vectorJSON(v any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	err := encoder.Encode(v)
	return text.Bytes(), err
}

const kcpModule = "github.com/xtaci/kcp-go/v5"

// vectorSource returns name and version of the kcp-go that is linked into this binary.
func vectorSource() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == kcpModule {
				return "kcp-go " + dep.Version
			}
		}
	}
	// Test binaries of packages other than main contain no list of modules.
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", kcpModule).Output()
	if err != nil {
		return "kcp-go"
	}
	return "kcp-go " + strings.TrimSpace(string(version))
}
