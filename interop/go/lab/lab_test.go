package lab

import (
	"context"
	"encoding/json"
	"io"
	"testing"

	"kcp-interop/peer"
	"kcp-interop/peer/peertest"
)

func TestLabClientsMeasureCallsAndUploads(t *testing.T) {
	plans := map[string]labPlan{
		"closed": {Kind: "closed", Connections: 2, Calls: 10, Request: 1024, Answer: 3000, Piece: 400},
		"open":   {Kind: "open", Connections: 2, Calls: 10, Request: 64, Answer: 64, IntervalUS: 1000},
		"first":  {Kind: "first", Connections: 2, Calls: 4, Request: 1024, Answer: 1024},
		"beside": {Kind: "closed", Connections: 1, Calls: 10, Request: 64, Answer: 64, BulkBeside: true},
		"bulk":   {Kind: "bulk", Connections: 2, Bytes: 200_000},
	}
	for name, plan := range plans {
		plan.LimitMS = 10_000
		t.Run(name, func(t *testing.T) { measureInLab(t, plan, false) })
		if plan.Kind == "bulk" || plan.BulkBeside {
			continue
		}
		t.Run(name+" by gRPC", func(t *testing.T) { measureInLab(t, plan, true) })
	}
}

func measureInLab(t *testing.T, plan labPlan, overGRPC bool) {
	o := peertest.Options("aes-128-gcm")
	addr := peertest.Serve(t, func(ctx context.Context, out io.Writer) error {
		if overGRPC {
			return labGRPCServer(ctx, &o, "127.0.0.1:0", out)
		}
		return labServer(ctx, &o, "127.0.0.1:0", out)
	})
	server, _ := json.Marshal(peer.Ready{Listening: addr})
	text, _ := json.Marshal(plan)
	client := labCalls{o: &o, overGRPC: overGRPC}
	measured, err := client.run(string(server), string(text), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(measured.LatenciesUS); got != plan.Calls || measured.CutShort {
		t.Errorf("%d calls of %d: %+v", got, plan.Calls, measured)
	}
	if want := int64(plan.Connections) * plan.Bytes; plan.Kind == "bulk" && measured.UsefulBytes != want {
		t.Errorf("%d of %d bytes arrived", measured.UsefulBytes, want)
	}
	if uploads := plan.Kind == "bulk" || plan.BulkBeside; uploads && (measured.MbitS == nil || *measured.MbitS <= 0) {
		t.Errorf("no goodput: %+v", measured)
	}
}
