// Package peer contains the code that all subcommands share: session flags, ciphers and keys, sockets, lines of output.
package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// Action runs a subcommand until it has finished or ctx is done.
type Action func(ctx context.Context, out io.Writer) error

// UntilEOF cancels the returned context at the end of r. Standard input closes when the parent process exits, so that a
// server cannot outlive the test that started it.
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

// Ready is the line that a server prints as soon as it can receive datagrams.
type Ready struct {
	Listening string `json:"listening"`
}
