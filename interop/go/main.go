// Command kcp-interop is the kcp-go side of the interoperability tests: echo and gRPC peers, the peers of the lab, and
// the generator of the golden vectors.
//
// Every subcommand prints its results on standard output, one JSON object per line, and nothing else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"kcp-interop/conformance"
	"kcp-interop/echo"
	"kcp-interop/lab"
	"kcp-interop/peer"
	"kcp-interop/rpc"
	"kcp-interop/vectors"
)

// Exit codes, so that scripts can tell a failed run from an invalid command line.
const (
	exitFailed = 1
	exitUsage  = 2
)

// command is one subcommand. setup registers its flags and returns the action to run after they are parsed.
type command struct {
	name    string
	summary string
	setup   func(fs *flag.FlagSet, o *peer.Options) peer.Action
}

var commands = []command{
	{"echo-server", "echo the bytes of every session until standard input closes", echo.SetupServer},
	{"echo-client", "send bytes to an echo server and check the echo", echo.SetupClient},
	{"echo-cycles", "open, use and close short sessions with an echo server, one at a time", echo.SetupCycles},
	{"grpc-server", "serve the Greeter and Echo services until standard input closes", rpc.SetupServer},
	{"grpc-client", "call the Greeter and Echo services and check the replies", rpc.SetupClient},
	{"grpc-interop-server", "serve grpc-go's test service until standard input closes", conformance.SetupServer},
	{"grpc-interop-client", "run one case of grpc-go's interoperability client", conformance.SetupClient},
	{"lab-server", "answer the requests of the lab until standard input closes", lab.SetupServer},
	{"lab-client", "measure calls and uploads, then wait until standard input closes", lab.SetupClient},
	{"vectors", "generate the golden vectors", vectors.Setup},
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, out, diagnostics io.Writer) int {
	if len(args) == 0 {
		usage(diagnostics)
		return exitUsage
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(args[1:], out, diagnostics)
		}
	}
	usage(diagnostics)
	return exitUsage
}

func (c command) run(args []string, out, diagnostics io.Writer) int {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(diagnostics)
	var o peer.Options
	act := c.setup(fs, &o)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitUsage
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(diagnostics, "%s: unexpected argument %q\n", c.name, fs.Arg(0))
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := act(ctx, out); err != nil {
		fmt.Fprintf(diagnostics, "%s: %v\n", c.name, err)
		return exitFailed
	}
	return 0
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: kcp-interop COMMAND [flags]; COMMAND -h lists the flags")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-20s %s\n", c.name, c.summary)
	}
}
