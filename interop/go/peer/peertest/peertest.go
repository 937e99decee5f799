// Package peertest starts servers for tests.
package peertest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"testing"
	"time"

	"kcp-interop/peer"
)

// Options returns the options of tests: loopback, and a short linger.
func Options(crypt string) peer.Options {
	return peer.Options{
		Crypt: crypt, Key: "test password", Mode: "fast3", MTU: 1400, SndWnd: 1024, RcvWnd: 1024,
		SockBuf: 1 << 20, Stream: true, Bind: "127.0.0.1:0", Linger: 50 * time.Millisecond,
	}
}

// Serve starts a server, returns the address from its ready line, and stops the server at the end of the test.
func Serve(t *testing.T, server func(ctx context.Context, out io.Writer) error) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	lines, done := make(lineWriter, 1), make(chan error, 1)
	go func() { done <- server(ctx, lines) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	var line peer.Ready
	select {
	case text := <-lines:
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatal(err)
		}
	case err := <-done:
		done <- nil
		t.Fatalf("server ended before it was ready: %v", err)
	}
	return line.Listening
}

// lineWriter sends each line to a channel. PrintLine writes a line in one call.
type lineWriter chan []byte

func (w lineWriter) Write(line []byte) (int, error) {
	w <- bytes.Clone(line)
	return len(line), nil
}
