// Package rpc contains the gRPC server and client, over grpc-go.
package rpc

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/examples/features/proto/echo"
	"google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/keepalive"

	"kcp-interop/peer"
)

const (
	// largePayload is a length in bytes above HTTP/2's initial flow-control window (64 KiB), so that a reply needs WINDOW_UPDATEs.
	largePayload = 100 << 10
	// streamMessages is the number of messages that the client-streaming and bidirectional checks send.
	streamMessages = 10
)

// grpcPlan describes the calls of the gRPC client.
type grpcPlan struct {
	connect string
	calls   int
	name    string
	kinds   []string
	timeout time.Duration
}

// grpcReport is the line that the gRPC client prints. A kind that was not requested has no field.
type grpcReport struct {
	OK       bool    `json:"ok"`
	Error    string  `json:"error,omitempty"`
	Calls    int     `json:"calls"`
	Unary    *bool   `json:"unary,omitempty"`
	Server   *bool   `json:"server,omitempty"`
	Client   *bool   `json:"client,omitempty"`
	Bidi     *bool   `json:"bidi,omitempty"`
	Seconds  float64 `json:"seconds"`
	P50Micro float64 `json:"p50_us"`
	P99Micro float64 `json:"p99_us"`
}

// SetupClient registers the flags of the subcommand that calls the Greeter and Echo services and checks the replies.
func SetupClient(fs *flag.FlagSet, o *peer.Options) peer.Action {
	var plan grpcPlan
	o.Register(fs)
	o.RegisterClient(fs)
	fs.StringVar(&plan.connect, "connect", "", "UDP address of the gRPC server (required)")
	fs.IntVar(&plan.calls, "calls", 1, "number of SayHello calls")
	fs.StringVar(&plan.name, "name", "kcp-{n}", "name to send; {n} becomes the number of the call")
	kinds := fs.String("kinds", "unary,server,client,bidi", "Echo calls to check; greeter makes SayHello calls only")
	timeout := fs.Float64("timeout", 60, "time limit of the run, in seconds")
	return func(ctx context.Context, out io.Writer) error {
		plan.kinds = strings.Split(*kinds, ",")
		plan.timeout = peer.Seconds(*timeout)
		report, err := grpcClient(ctx, o, plan)
		report.OK = err == nil
		if err != nil {
			report.Error = err.Error()
		}
		return errors.Join(err, peer.PrintLine(out, report))
	}
}

func grpcClient(ctx context.Context, o *peer.Options, plan grpcPlan) (report grpcReport, err error) {
	if err := errors.Join(o.Validate(), plan.validate()); err != nil {
		return report, err
	}
	ctx, cancel := context.WithTimeout(ctx, plan.timeout)
	defer cancel()
	conn, err := Dial(o, plan.connect)
	if err != nil {
		return report, err
	}
	defer conn.Close()
	started := time.Now()
	defer func() { report.Seconds = time.Since(started).Seconds() }()
	if err := sayHellos(ctx, conn, plan, &report); err != nil {
		return report, err
	}
	for _, check := range echoChecks {
		if !slices.Contains(plan.kinds, check.kind) {
			continue
		}
		err := check.run(ctx, echo.NewEchoClient(conn))
		passed := err == nil
		*check.field(&report) = &passed
		if err != nil {
			return report, fmt.Errorf("%s: %w", check.kind, err)
		}
	}
	return report, nil
}

func (p grpcPlan) validate() error {
	if p.connect == "" || p.calls < 0 {
		return errors.New("need --connect and no negative --calls")
	}
	for _, kind := range p.kinds {
		known := slices.ContainsFunc(echoChecks, func(c echoCheck) bool { return c.kind == kind })
		if !known && kind != "greeter" {
			return fmt.Errorf("unknown kind %q; allowed: unary|server|client|bidi|greeter", kind)
		}
	}
	return nil
}

// Dial creates a gRPC channel to a server, over one session at a time.
func Dial(o *peer.Options, addr string) (*grpc.ClientConn, error) {
	// passthrough: the default resolver would look the address up in DNS; the dialer resolves it itself.
	return grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(_ context.Context, addr string) (net.Conn, error) {
			session, err := o.Dial(addr)
			if err != nil {
				return nil, err
			}
			return lingeringConn{session, o.Linger}, nil
		}),
		// grpc-go accepts no interval below ten seconds.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true,
		}),
	)
}

func sayHellos(ctx context.Context, conn *grpc.ClientConn, plan grpcPlan, report *grpcReport) error {
	client := helloworld.NewGreeterClient(conn)
	trips := make([]time.Duration, 0, plan.calls)
	for i := range plan.calls {
		name := strings.ReplaceAll(plan.name, "{n}", fmt.Sprint(i))
		started := time.Now()
		reply, err := client.SayHello(ctx, &helloworld.HelloRequest{Name: name})
		if err != nil {
			return fmt.Errorf("SayHello %d: %w", i, err)
		}
		trips = append(trips, time.Since(started))
		// grpc-go's example greets with "Hello NAME", tonic's with "Hello NAME!".
		if got := reply.GetMessage(); strings.TrimSuffix(got, "!") != "Hello "+name {
			return fmt.Errorf("SayHello %d: the reply to %q is %q", i, name, got)
		}
		report.Calls++
	}
	report.P50Micro, report.P99Micro = peer.Percentiles(trips)
	return nil
}

// echoCheck is a value of --kinds.
type echoCheck struct {
	kind  string
	run   func(ctx context.Context, client echo.EchoClient) error
	field func(r *grpcReport) **bool
}

var echoChecks = []echoCheck{
	{"unary", checkUnary, func(r *grpcReport) **bool { return &r.Unary }},
	{"server", checkServerStreaming, func(r *grpcReport) **bool { return &r.Server }},
	{"client", checkClientStreaming, func(r *grpcReport) **bool { return &r.Client }},
	{"bidi", checkBidirectional, func(r *grpcReport) **bool { return &r.Bidi }},
}

func checkUnary(ctx context.Context, client echo.EchoClient) error {
	for _, message := range []string{"", "one", largeMessage()} {
		reply, err := client.UnaryEcho(ctx, &echo.EchoRequest{Message: message})
		if err != nil {
			return err
		}
		if err := same(reply.GetMessage(), message); err != nil {
			return err
		}
	}
	return nil
}

func checkServerStreaming(ctx context.Context, client echo.EchoClient) error {
	stream, err := client.ServerStreamingEcho(ctx, &echo.EchoRequest{Message: "MSG"})
	if err != nil {
		return err
	}
	for i := range echoReplies {
		reply, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("reply %d: %w", i, err)
		}
		if err := same(reply.GetMessage(), streamedReply("MSG", i)); err != nil {
			return err
		}
	}
	return expectEnd(stream.Recv())
}

func checkClientStreaming(ctx context.Context, client echo.EchoClient) error {
	stream, err := client.ClientStreamingEcho(ctx)
	if err != nil {
		return err
	}
	var sent []string
	for i := range streamMessages {
		message := fmt.Sprintf("part-%d", i)
		sent = append(sent, message)
		if err := stream.Send(&echo.EchoRequest{Message: message}); err != nil {
			return err
		}
	}
	reply, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	return same(reply.GetMessage(), strings.Join(sent, ","))
}

func checkBidirectional(ctx context.Context, client echo.EchoClient) error {
	stream, err := client.BidirectionalStreamingEcho(ctx)
	if err != nil {
		return err
	}
	messages := make([]string, streamMessages, streamMessages+1)
	for i := range messages {
		messages[i] = fmt.Sprintf("ping-%d", i)
	}
	for _, message := range append(messages, largeMessage()) {
		if err := stream.Send(&echo.EchoRequest{Message: message}); err != nil {
			return err
		}
		reply, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := same(reply.GetMessage(), message); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return expectEnd(stream.Recv())
}

// largeMessage repeats a pattern whose length divides no buffer size, so that moved or repeated bytes are detected.
func largeMessage() string {
	const pattern = "0123456789abcdefghijklmnopqrstuvwxyz-"
	return strings.Repeat(pattern, largePayload/len(pattern)+1)[:largePayload]
}

func same(got, want string) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("got %d bytes %.40q, want %d bytes %.40q", len(got), got, len(want), want)
}

func expectEnd(_ *echo.EchoResponse, err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		return errors.New("a message after the last expected one")
	}
	return err
}
