package echo

import (
	"context"
	"flag"
	"io"
	"os"

	kcp "github.com/xtaci/kcp-go/v5"

	"kcp-interop/peer"
)

// SetupServer registers the flags of the subcommand that echoes the bytes of every session.
func SetupServer(fs *flag.FlagSet, o *peer.Options) peer.Action {
	o.Register(fs)
	listen := fs.String("listen", "127.0.0.1:0", "UDP address to serve")
	return func(ctx context.Context, out io.Writer) error {
		return echoServer(peer.UntilEOF(ctx, os.Stdin), o, *listen, out)
	}
}

// echoServer serves until ctx is done.
func echoServer(ctx context.Context, o *peer.Options, listen string, out io.Writer) error {
	if err := o.Validate(); err != nil {
		return err
	}
	conn, listener, err := o.Listen(listen)
	if err != nil {
		return err
	}
	// Closing the socket makes the reads of all sessions fail, which ends their goroutines.
	stop := context.AfterFunc(ctx, func() {
		listener.Close()
		conn.Close()
	})
	defer stop()
	if err := peer.PrintLine(out, peer.Ready{Listening: listener.Addr().String()}); err != nil {
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
		if err := o.Tune(session); err != nil {
			return err
		}
		echoOutOfBand(session)
		go echoBack(session, o.FECChange)
	}
}

// echoBack echoes one session. KCP has no end of stream: it returns when the socket fails, or when kcp-go closes the
// session because another conversation arrived from the peer's address.
func echoBack(session *kcp.UDPSession, change peer.FECChange) {
	defer session.Close()
	buf := make([]byte, 64<<10)
	for written := int64(0); ; {
		n, err := session.Read(buf)
		if err != nil {
			return
		}
		if err := change.BeforeWrite(session, written); err != nil {
			return
		}
		if _, err := session.Write(buf[:n]); err != nil {
			return
		}
		written += int64(n)
	}
}
