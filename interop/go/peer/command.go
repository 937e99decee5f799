// Package peer is what all subcommands share: the flags of a session, ciphers and keys, sockets, and lines of output.
package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// Action runs a subcommand until it is done or ctx ends.
type Action func(ctx context.Context, out io.Writer) error

// UntilEOF ends the returned context when r does: a server whose parent dies sees its standard input close, and so
// cannot outlive the test that started it.
func UntilEOF(ctx context.Context, r io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		io.Copy(io.Discard, r)
	}()
	return ctx
}

// PrintLine writes v as one line of JSON.
func PrintLine(out io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", line)
	return err
}

// Ready is the line a server prints once datagrams sent to it will be read.
type Ready struct {
	Listening string `json:"listening"`
}
