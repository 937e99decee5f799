// Command kcp-interop-v5.4 contains the echo peers over kcp-go v5.4.20, the version that rpcx links. Flags and output
// are those of the peers in ../go, as far as this version supports them: it has no AEAD ciphers, and with FEC on it
// drops packets without an FEC header.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Exit codes, the same as those of the other peers.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	var o options
	fs := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	o.register(fs)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch os.Args[1] {
	case "echo-server":
		listen := fs.String("listen", "127.0.0.1:0", "UDP address to serve")
		fs.Parse(os.Args[2:])
		err = echoServer(untilEOF(ctx, os.Stdin), &o, *listen)
	case "echo-client":
		var plan echoPlan
		plan.register(fs)
		fs.Parse(os.Args[2:])
		report, failure := echoClient(&o, plan)
		report.OK = failure == nil
		if failure != nil {
			report.Error = failure.Error()
		}
		err = errors.Join(failure, printLine(report))
	default:
		usage()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFailed)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: kcp-interop-v5.4 echo-server|echo-client [flags]; -h lists the flags")
	os.Exit(exitUsage)
}

// untilEOF cancels the returned context at the end of r, so that a server cannot outlive the test that started it.
func untilEOF(ctx context.Context, r io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		io.Copy(io.Discard, r)
	}()
	return ctx
}

// printLine writes v as one line of JSON.
func printLine(v any) error {
	return json.NewEncoder(os.Stdout).Encode(v)
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second))
}
