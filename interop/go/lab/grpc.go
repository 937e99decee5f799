package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/examples/features/proto/echo"
	"google.golang.org/grpc/status"

	"kcp-interop/peer"
	"kcp-interop/rpc"
)

// labDigits is the number of digits at the beginning of a message that give the length of its answer.
const labDigits = 8

// labService answers with as many bytes as the message requests.
type labService struct {
	echo.UnimplementedEchoServer
}

func (labService) UnaryEcho(_ context.Context, in *echo.EchoRequest) (*echo.EchoResponse, error) {
	message := in.GetMessage()
	length, err := strconv.Atoi(message[:min(labDigits, len(message))])
	if err != nil || length < 0 {
		return nil, status.Error(codes.InvalidArgument, "the message does not begin with a length")
	}
	return &echo.EchoResponse{Message: strings.Repeat("b", length)}, nil
}

// labGRPCServer serves until ctx is done.
func labGRPCServer(ctx context.Context, o *peer.Options, listen string, out io.Writer) error {
	if err := o.Validate(); err != nil {
		return err
	}
	conn, listener, err := o.Listen(listen)
	if err != nil {
		return err
	}
	defer conn.Close()
	server := grpc.NewServer()
	echo.RegisterEchoServer(server, labService{})
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := peer.PrintLine(out, peer.Ready{Listening: listener.Addr().String()}); err != nil {
		return err
	}
	return server.Serve(rpc.TunedListener{Listener: listener, Options: o})
}

// labChannel is a gRPC channel as a labConn.
type labChannel struct {
	*grpc.ClientConn
}

func (c *labCalls) dialGRPC() (labConn, error) {
	conn, err := rpc.Dial(c.o, c.server)
	if err != nil {
		return nil, err
	}
	return labChannel{conn}, nil
}

func (c labChannel) call(request, answer, _ int) error {
	ctx, cancel := context.WithTimeout(context.Background(), labTimeout)
	defer cancel()
	message := fmt.Sprintf("%0*d%s", labDigits, answer, strings.Repeat("a", max(0, request-labDigits)))
	reply, err := echo.NewEchoClient(c.ClientConn).UnaryEcho(ctx, &echo.EchoRequest{Message: message})
	if err != nil {
		return err
	}
	if len(reply.GetMessage()) != answer {
		return errors.New("the answer has the wrong length")
	}
	return nil
}
