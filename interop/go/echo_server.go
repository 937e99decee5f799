package main

import (
	"context"
	"flag"
	"io"
	"os"

	kcp "github.com/xtaci/kcp-go/v5"
)

func setupEchoServer(fs *flag.FlagSet, o *options) action {
	o.register(fs)
	listen := fs.String("listen", "127.0.0.1:0", "UDP address to serve")
	return func(ctx context.Context, out io.Writer) error {
		return echoServer(untilEOF(ctx, os.Stdin), o, *listen, out)
	}
}

// echoServer serves until ctx ends.
func echoServer(ctx context.Context, o *options, listen string, out io.Writer) error {
	if err := o.validate(); err != nil {
		return err
	}
	conn, listener, err := o.listen(listen)
	if err != nil {
		return err
	}
	// Closing the socket fails the reads of every session, so their goroutines end too.
	stop := context.AfterFunc(ctx, func() {
		listener.Close()
		conn.Close()
	})
	defer stop()
	if err := printLine(out, ready{listener.Addr().String()}); err != nil {
		return err
	}
	for {
		session, err := listener.AcceptKCP()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := o.tune(session); err != nil {
			return err
		}
		echoOutOfBand(session)
		go echoBack(session, o.fecChange)
	}
}

// echoBack ends when the socket fails or another conversation takes the peer's address over: KCP has no end of stream.
func echoBack(session *kcp.UDPSession, change fecChange) {
	defer session.Close()
	buf := make([]byte, 64<<10)
	for written := int64(0); ; {
		n, err := session.Read(buf)
		if err != nil {
			return
		}
		if err := change.beforeWrite(session, written); err != nil {
			return
		}
		if _, err := session.Write(buf[:n]); err != nil {
			return
		}
		written += int64(n)
	}
}
