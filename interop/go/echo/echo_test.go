package echo

import (
	"context"
	"encoding/hex"
	"io"
	"testing"
	"time"

	"kcp-interop/peer"
	"kcp-interop/peer/peertest"
)

func TestEchoClientReadsTheEcho(t *testing.T) {
	for _, crypt := range []string{"null", "aes", "aes-256-gcm"} {
		t.Run(crypt, func(t *testing.T) {
			o := peertest.Options(crypt)
			o.DataShard, o.ParityShard = 10, 3
			addr := peertest.Serve(t, func(ctx context.Context, out io.Writer) error {
				return echoServer(ctx, &o, "127.0.0.1:0", out)
			})
			report, err := echoClient(t.Context(), &o, echoPlan{
				connect: addr, bytes: 300_000, message: 5000, seed: 7, pings: 5, timeout: 20 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			if report.Bytes != 300_000 || report.SHA256 == "" || report.P50Micro <= 0 {
				t.Fatalf("incomplete report: %+v", report)
			}
		})
	}
}

func TestEchoSurvivesAChangeOfFEC(t *testing.T) {
	for _, crypt := range []string{"null", "aes", "aes-256-gcm"} {
		t.Run(crypt, func(t *testing.T) {
			o := peertest.Options(crypt)
			o.DataShard, o.ParityShard = 10, 3
			o.FECChange = peer.FECChange{DataShard: 3, ParityShard: 1, After: 100_000}
			addr := peertest.Serve(t, func(ctx context.Context, out io.Writer) error {
				return echoServer(ctx, &o, "127.0.0.1:0", out)
			})
			_, err := echoClient(t.Context(), &o, echoPlan{
				connect: addr, bytes: 300_000, message: 5000, seed: 7, change: o.FECChange, timeout: 20 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestOutOfBandDatagramsAreEchoed(t *testing.T) {
	o := peertest.Options("aes")
	o.DataShard, o.ParityShard = 10, 3
	addr := peertest.Serve(t, func(ctx context.Context, out io.Writer) error {
		return echoServer(ctx, &o, "127.0.0.1:0", out)
	})
	plan := echoPlan{connect: addr, bytes: 1000, message: 100, oob: 5, timeout: 20 * time.Second}
	if _, err := echoClient(t.Context(), &o, plan); err != nil {
		t.Fatal(err)
	}
}

func TestDatagramsWithAnotherDSCPAreDropped(t *testing.T) {
	for _, sent := range []int{46, 10} {
		o := peertest.Options("null")
		o.DSCP, o.WantDSCP = 46, 46
		addr := peertest.Serve(t, func(ctx context.Context, out io.Writer) error {
			return echoServer(ctx, &o, "127.0.0.1:0", out)
		})
		client := o
		client.DSCP = sent
		plan := echoPlan{connect: addr, bytes: 1000, message: 100, timeout: time.Second}
		_, err := echoClient(t.Context(), &client, plan)
		if (err == nil) != (sent == 46) {
			t.Errorf("DSCP %d: %v", sent, err)
		}
	}
}

func TestEchoClientWithAnotherKeyFails(t *testing.T) {
	o := peertest.Options("aes")
	addr := peertest.Serve(t, func(ctx context.Context, out io.Writer) error {
		return echoServer(ctx, &o, "127.0.0.1:0", out)
	})
	other := o
	other.Key = "another password"
	plan := echoPlan{connect: addr, bytes: 1000, message: 100, timeout: 500 * time.Millisecond}
	if _, err := echoClient(t.Context(), &other, plan); err == nil {
		t.Fatal("want an error")
	}
}

func TestByteSourceIsSplitMix64(t *testing.T) {
	// The first two published outputs of the generator for seed 0.
	got := make([]byte, 16)
	source := newByteSource(0)
	source.fill(got[:3])
	source.fill(got[3:])
	if want := "afcd1d7b39a820e2f465b9a16a9e786e"; hex.EncodeToString(got) != want {
		t.Fatalf("got %x, want %s", got, want)
	}
}
