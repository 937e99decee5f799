package conformance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"kcp-interop/peer"
)

// report is the line that the client prints if the case passed. grpc-go's checks end the process if it did not.
type report struct {
	OK   bool   `json:"ok"`
	Case string `json:"case"`
}

// SetupClient registers the flags of the subcommand that runs one of grpc-go's client cases.
func SetupClient(fs *flag.FlagSet, o *peer.Options) peer.Action {
	var tls identity
	o.Register(fs)
	o.RegisterClient(fs)
	tls.register(fs)
	connect := fs.String("connect", "", "UDP address of the server (required)")
	name := fs.String("case", "", strings.Join(slices.Sorted(maps.Keys(cases)), "|"))
	timeout := fs.Float64("timeout", 60, "time limit of the case, in seconds")
	return func(ctx context.Context, out io.Writer) error {
		ctx, cancel := context.WithTimeout(ctx, peer.Seconds(*timeout))
		defer cancel()
		if err := run(ctx, o, tls, *connect, *name); err != nil {
			return err
		}
		return peer.PrintLine(out, report{OK: true, Case: *name})
	}
}

func run(ctx context.Context, o *peer.Options, tls identity, connect, name string) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if connect == "" {
		return errors.New("need --connect")
	}
	check, ok := cases[name]
	if !ok {
		return fmt.Errorf("unknown case %q", name)
	}
	creds, err := tls.credentials()
	if err != nil {
		return err
	}
	dial := func() (*grpc.ClientConn, error) {
		// passthrough: the dialer resolves the address itself.
		return grpc.NewClient("passthrough:///"+connect,
			grpc.WithTransportCredentials(creds),
			grpc.WithContextDialer(func(_ context.Context, addr string) (net.Conn, error) {
				return o.Dial(addr)
			}),
		)
	}
	conn, err := dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	check(ctx, &target{conn: conn, dial: dial, addr: connect})
	return nil
}

// target is the server of a case.
type target struct {
	conn *grpc.ClientConn
	// dial opens another channel.
	dial func() (*grpc.ClientConn, error)
	addr string
}

func (t *target) client() testgrpc.TestServiceClient {
	return testgrpc.NewTestServiceClient(t.conn)
}

var cases = map[string]func(ctx context.Context, t *target){
	"empty_unary":                 onService(interop.DoEmptyUnaryCall),
	"large_unary":                 onService(interop.DoLargeUnaryCall),
	"client_streaming":            onService(interop.DoClientStreaming),
	"server_streaming":            onService(interop.DoServerStreaming),
	"ping_pong":                   onService(interop.DoPingPong),
	"empty_stream":                onService(interop.DoEmptyStream),
	"timeout_on_sleeping_server":  onService(interop.DoTimeoutOnSleepingServer),
	"cancel_after_begin":          onService(interop.DoCancelAfterBegin),
	"cancel_after_first_response": onService(interop.DoCancelAfterFirstResponse),
	"status_code_and_message":     onService(interop.DoStatusCodeAndMessage),
	"special_status_message":      onService(interop.DoSpecialStatusMessage),
	"custom_metadata":             onService(interop.DoCustomMetadata),
	"unimplemented_method": func(ctx context.Context, t *target) {
		interop.DoUnimplementedMethod(ctx, t.conn)
	},
	"unimplemented_service": func(ctx context.Context, t *target) {
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(t.conn))
	},
	"rpc_soak": func(ctx context.Context, t *target) {
		soak(ctx, t, func() (*grpc.ClientConn, func()) { return t.conn, func() {} })
	},
	"channel_soak": func(ctx context.Context, t *target) {
		soak(ctx, t, func() (*grpc.ClientConn, func()) {
			conn, err := t.dial()
			if err != nil {
				// The arguments are those of the first channel.
				panic(err)
			}
			return conn, func() { conn.Close() }
		})
	},
}

func onService(check func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)) func(context.Context, *target) {
	return func(ctx context.Context, t *target) { check(ctx, t.client()) }
}

func soak(ctx context.Context, t *target, channel func() (*grpc.ClientConn, func())) {
	interop.DoSoakTest(ctx, interop.SoakTestConfig{
		RequestSize:                      271828,
		ResponseSize:                     314159,
		PerIterationMaxAcceptableLatency: 10 * time.Second,
		OverallTimeout:                   soakLimit,
		ServerAddr:                       t.addr,
		NumWorkers:                       1,
		Iterations:                       soakCalls,
		MaxFailures:                      0,
		ChannelForTest:                   channel,
	})
}

const (
	// soakCalls is few enough for a cell of a matrix.
	soakCalls = 10
	soakLimit = 50 * time.Second
)
