// Command greeter is the hello world of grpc-go over kcp-go, as a server for clients made with kcp-tonic and as a client
// of their servers:
//
//	go run ./greeter server 127.0.0.1:4000
//	go run ./greeter client 127.0.0.1:4000
package main

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha1"
	"fmt"
	"log"
	"net"
	"os"

	kcp "github.com/xtaci/kcp-go/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/examples/helloworld/helloworld"
)

// cipher derives its key as Security::from_password does with KCPTUN_SALT.
func cipher() kcp.BlockCrypt {
	key := must(pbkdf2.Key(sha1.New, "a password", []byte("kcp-go"), 4096, 16))
	return must(kcp.NewAESGCMCrypt(key))
}

// tune sets what HTTP/2 needs of a session: kcp-go's defaults keep the boundaries of writes, and wait 40 ms.
func tune(session *kcp.UDPSession, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	session.SetStreamMode(true)
	session.SetNoDelay(1, 10, 2, 1)
	session.SetWindowSize(1024, 1024)
	return session, nil
}

type listener struct{ *kcp.Listener }

func (l listener) Accept() (net.Conn, error) { return tune(l.AcceptKCP()) }

type greeter struct {
	helloworld.UnimplementedGreeterServer
}

func (greeter) SayHello(_ context.Context, request *helloworld.HelloRequest) (*helloworld.HelloReply, error) {
	return &helloworld.HelloReply{Message: "Hello " + request.Name}, nil
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: greeter server|client HOST:PORT")
	}
	addr := os.Args[2]
	if os.Args[1] == "server" {
		l := must(kcp.ListenWithOptions(addr, cipher(), 10, 3))
		fmt.Println(l.Addr())
		server := grpc.NewServer()
		helloworld.RegisterGreeterServer(server, greeter{})
		log.Fatal(server.Serve(listener{l}))
	}
	dial := func(_ context.Context, addr string) (net.Conn, error) {
		return tune(kcp.DialWithOptions(addr, cipher(), 10, 3))
	}
	channel := must(grpc.NewClient("passthrough:///"+addr, grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(insecure.NewCredentials())))
	client := helloworld.NewGreeterClient(channel)
	reply := must(client.SayHello(context.Background(), &helloworld.HelloRequest{Name: "Go"}))
	fmt.Println(reply.Message)
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
