package rpc

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/examples/features/proto/echo"
	"google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/keepalive"

	"kcp-interop/peer"
)

const (
	// echoReplies is the number of replies to a ServerStreamingEcho request.
	echoReplies = 10
	// drainLimit bounds GracefulStop: plain KCP has no close, so that a connection of a peer that is gone would block
	// it for ever.
	drainLimit = 2 * time.Second
)

// grpcTimers are the server settings that detect a peer that is gone. grpc-go's default of two hours suits TCP, where
// the kernel reports most of them.
type grpcTimers struct {
	ping, pingTimeout, maxIdle time.Duration
}

// SetupServer registers the flags of the subcommand that serves the Greeter and Echo services.
func SetupServer(fs *flag.FlagSet, o *peer.Options) peer.Action {
	var timers grpcTimers
	o.Register(fs)
	listen := fs.String("listen", "127.0.0.1:0", "UDP address to serve")
	fs.DurationVar(&timers.ping, "keepalive", 10*time.Second, "send a PING to a peer that was silent for this long")
	fs.DurationVar(&timers.pingTimeout, "keepalive-timeout", 5*time.Second, "close a connection whose PING is unanswered for this long")
	fs.DurationVar(&timers.maxIdle, "max-idle", time.Minute, "send GOAWAY on a connection without calls for this long")
	return func(ctx context.Context, out io.Writer) error {
		return grpcServer(peer.UntilEOF(ctx, os.Stdin), o, timers, *listen, out)
	}
}

// grpcServer serves until ctx is done, then drains for at most drainLimit.
func grpcServer(ctx context.Context, o *peer.Options, timers grpcTimers, listen string, out io.Writer) error {
	if err := o.Validate(); err != nil {
		return err
	}
	conn, listener, err := o.Listen(listen)
	if err != nil {
		return err
	}
	// Closed last, because draining sessions still send through it.
	defer conn.Close()

	server := grpc.NewServer(
		// kcp-go accepts a session for any stray datagram; this closes sessions on which no HTTP/2 handshake follows.
		grpc.ConnectionTimeout(5*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: timers.ping, Timeout: timers.pingTimeout, MaxConnectionIdle: timers.maxIdle,
		}),
	)
	helloworld.RegisterGreeterServer(server, greeter{})
	echo.RegisterEchoServer(server, echoService{})

	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		limit := time.AfterFunc(drainLimit, server.Stop)
		defer limit.Stop()
		server.GracefulStop()
	})
	if err := peer.PrintLine(out, peer.Ready{Listening: listener.Addr().String()}); err != nil {
		return err
	}
	err = server.Serve(TunedListener{listener, o})
	if stop() {
		return fmt.Errorf("the server ended early: %w", err)
	}
	<-drained
	return nil
}

// TunedListener applies the options to each session before gRPC writes to it.
type TunedListener struct {
	*kcp.Listener
	Options *peer.Options
}

func (l TunedListener) Accept() (net.Conn, error) {
	session, err := l.AcceptKCP()
	if err != nil {
		return nil, err
	}
	if err := l.Options.Tune(session); err != nil {
		return nil, err
	}
	return lingeringConn{session, l.Options.Linger}, nil
}

// lingeringConn lets the session retransmit for a while before it closes it, as the kernel does for TCP. kcp-go's Close
// flushes once, so that the loss of one datagram would lose a GOAWAY or the end of a reply.
type lingeringConn struct {
	*kcp.UDPSession
	linger time.Duration
}

func (c lingeringConn) Close() error {
	time.Sleep(c.linger)
	return c.UDPSession.Close()
}

type greeter struct {
	helloworld.UnimplementedGreeterServer
}

func (greeter) SayHello(_ context.Context, in *helloworld.HelloRequest) (*helloworld.HelloReply, error) {
	return &helloworld.HelloReply{Message: "Hello " + in.GetName()}, nil
}

// echoService implements the table in README.md; the checks of the clients rely on it.
type echoService struct {
	echo.UnimplementedEchoServer
}

func (echoService) UnaryEcho(_ context.Context, in *echo.EchoRequest) (*echo.EchoResponse, error) {
	return &echo.EchoResponse{Message: in.GetMessage()}, nil
}

func (echoService) ServerStreamingEcho(in *echo.EchoRequest, stream echo.Echo_ServerStreamingEchoServer) error {
	for i := range echoReplies {
		if err := stream.Send(&echo.EchoResponse{Message: streamedReply(in.GetMessage(), i)}); err != nil {
			return err
		}
	}
	return nil
}

func streamedReply(message string, index int) string {
	return fmt.Sprintf("%s %d", message, index)
}

func (echoService) ClientStreamingEcho(stream echo.Echo_ClientStreamingEchoServer) error {
	var messages []string
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&echo.EchoResponse{Message: strings.Join(messages, ",")})
		}
		if err != nil {
			return err
		}
		messages = append(messages, in.GetMessage())
	}
}

func (echoService) BidirectionalStreamingEcho(stream echo.Echo_BidirectionalStreamingEchoServer) error {
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&echo.EchoResponse{Message: in.GetMessage()}); err != nil {
			return err
		}
	}
}
