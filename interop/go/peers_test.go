package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"reflect"
	"testing"
	"time"
)

func TestEchoClientGetsItsBytesBack(t *testing.T) {
	for _, crypt := range []string{"null", "aes", "aes-256-gcm"} {
		t.Run(crypt, func(t *testing.T) {
			o := testOptions(crypt)
			o.dataShard, o.parityShard = 10, 3
			addr := serve(t, func(ctx context.Context, out io.Writer) error {
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

func TestBytesComeBackAcrossAChangeOfFEC(t *testing.T) {
	for _, crypt := range []string{"null", "aes", "aes-256-gcm"} {
		t.Run(crypt, func(t *testing.T) {
			o := testOptions(crypt)
			o.dataShard, o.parityShard = 10, 3
			o.fecChange = fecChange{dataShard: 3, parityShard: 1, after: 100_000}
			addr := serve(t, func(ctx context.Context, out io.Writer) error {
				return echoServer(ctx, &o, "127.0.0.1:0", out)
			})
			_, err := echoClient(t.Context(), &o, echoPlan{
				connect: addr, bytes: 300_000, message: 5000, seed: 7, change: o.fecChange, timeout: 20 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestChangedEncoderGoesOnFromTheBeginningOfAGroup(t *testing.T) {
	o := testOptions("null")
	o.dataShard, o.parityShard = 10, 3
	session, err := o.dial("127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := changeFEC(session, 3, 1); err != nil {
		t.Fatal(err)
	}
	encoder := reflect.ValueOf(session).Elem().FieldByName("fecEncoder").Elem()
	next := encoder.FieldByName("next").Uint()
	if shards := encoder.FieldByName("dataShards").Int(); shards != 3 || next == 0 || next%4 != 0 {
		t.Fatalf("%d data shards, next number %d", shards, next)
	}
	if changeFEC(session, 300, 1) == nil {
		t.Error("want an error for an unusable ratio")
	}
}

func TestDatagramsOutOfBandAreEchoed(t *testing.T) {
	o := testOptions("aes")
	o.dataShard, o.parityShard = 10, 3
	addr := serve(t, func(ctx context.Context, out io.Writer) error {
		return echoServer(ctx, &o, "127.0.0.1:0", out)
	})
	plan := echoPlan{connect: addr, bytes: 1000, message: 100, oob: 5, timeout: 20 * time.Second}
	if _, err := echoClient(t.Context(), &o, plan); err != nil {
		t.Fatal(err)
	}
}

func TestDatagramsOfAnotherDSCPAreLost(t *testing.T) {
	for _, sent := range []int{46, 10} {
		o := testOptions("null")
		o.dscp, o.wantDSCP = 46, 46
		addr := serve(t, func(ctx context.Context, out io.Writer) error {
			return echoServer(ctx, &o, "127.0.0.1:0", out)
		})
		client := o
		client.dscp = sent
		plan := echoPlan{connect: addr, bytes: 1000, message: 100, timeout: time.Second}
		_, err := echoClient(t.Context(), &client, plan)
		if (err == nil) != (sent == 46) {
			t.Errorf("DSCP %d: %v", sent, err)
		}
	}
}

func TestEchoClientFailsAgainstAnotherKey(t *testing.T) {
	o := testOptions("aes")
	addr := serve(t, func(ctx context.Context, out io.Writer) error {
		return echoServer(ctx, &o, "127.0.0.1:0", out)
	})
	other := o
	other.key = "another password"
	plan := echoPlan{connect: addr, bytes: 1000, message: 100, timeout: 500 * time.Millisecond}
	if _, err := echoClient(t.Context(), &other, plan); err == nil {
		t.Fatal("want an error")
	}
}

func TestGRPCClientChecksEveryKind(t *testing.T) {
	o := testOptions("aes-128-gcm")
	timers := grpcTimers{ping: 10 * time.Second, pingTimeout: 5 * time.Second, maxIdle: time.Minute}
	addr := serve(t, func(ctx context.Context, out io.Writer) error {
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

func TestUnusableOptionsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(o *options){
		"cipher":          func(o *options) { o.crypt = "rot13" },
		"mode":            func(o *options) { o.mode = "fast9" },
		"data only":       func(o *options) { o.dataShard = 3 },
		"too many shards": func(o *options) { o.dataShard, o.parityShard = 250, 7 },
		"negative parity": func(o *options) { o.dataShard, o.parityShard = 3, -1 },
		"parity only":     func(o *options) { o.parityShard = 1 },
	} {
		o := testOptions("aes")
		spoil(&o)
		if o.validate() == nil {
			t.Errorf("%s: want an error", name)
		}
	}
}

func TestByteSourceIsSplitMix64(t *testing.T) {
	// The generator's published first two outputs for seed 0, so peers in other languages can rely on the stream.
	got := make([]byte, 16)
	source := newByteSource(0)
	source.fill(got[:3])
	source.fill(got[3:])
	if want := "afcd1d7b39a820e2f465b9a16a9e786e"; hex.EncodeToString(got) != want {
		t.Fatalf("got %x, want %s", got, want)
	}
}

func testOptions(crypt string) options {
	return options{
		crypt: crypt, key: "test password", mode: "fast3", mtu: 1400, sndWnd: 1024, rcvWnd: 1024,
		sockBuf: 1 << 20, stream: true, bind: "127.0.0.1:0", linger: 50 * time.Millisecond,
	}
}

// serve starts a server, returns the address of its ready line, and stops it with the test.
func serve(t *testing.T, server func(ctx context.Context, out io.Writer) error) string {
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
	var line ready
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

// lineWriter passes on each line written; printLine writes a line at once.
type lineWriter chan []byte

func (w lineWriter) Write(line []byte) (int, error) {
	w <- bytes.Clone(line)
	return len(line), nil
}
