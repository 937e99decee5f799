package rpc

import (
	"context"
	"io"
	"testing"
	"time"

	"kcp-interop/peer/peertest"
)

func TestGRPCClientChecksEveryKind(t *testing.T) {
	o := peertest.Options("aes-128-gcm")
	timers := grpcTimers{ping: 10 * time.Second, pingTimeout: 5 * time.Second, maxIdle: time.Minute}
	addr := peertest.Serve(t, func(ctx context.Context, out io.Writer) error {
		return grpcServer(ctx, &o, timers, "127.0.0.1:0", out)
	})
	report, err := grpcClient(t.Context(), &o, grpcPlan{
		connect: addr, calls: 5, name: "peer-{n}", timeout: 20 * time.Second,
		kinds: []string{"unary", "server", "client", "bidi"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, passed := range []*bool{report.Unary, report.Server, report.Client, report.Bidi} {
		if passed == nil || !*passed {
			t.Fatalf("incomplete report: %+v", report)
		}
	}
}
