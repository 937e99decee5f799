package conformance

import (
	"context"
	"flag"
	"io"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"kcp-interop/peer"
	"kcp-interop/rpc"
)

// SetupServer registers the flags of the subcommand that serves grpc-go's test service.
func SetupServer(fs *flag.FlagSet, o *peer.Options) peer.Action {
	var tls identity
	o.Register(fs)
	tls.register(fs)
	listen := fs.String("listen", "127.0.0.1:0", "UDP address to serve")
	return func(ctx context.Context, out io.Writer) error {
		return serve(peer.UntilEOF(ctx, os.Stdin), o, tls, *listen, out)
	}
}

// serve runs a server with grpc-go's default policies until ctx is done.
func serve(ctx context.Context, o *peer.Options, tls identity, listen string, out io.Writer) error {
	if err := o.Validate(); err != nil {
		return err
	}
	creds, err := tls.credentials()
	if err != nil {
		return err
	}
	conn, listener, err := o.Listen(listen)
	if err != nil {
		return err
	}
	defer conn.Close()
	server := grpc.NewServer(grpc.Creds(creds))
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := peer.PrintLine(out, peer.Ready{Listening: listener.Addr().String()}); err != nil {
		return err
	}
	return server.Serve(rpc.TunedListener{Listener: listener, Options: o})
}
