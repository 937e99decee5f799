package lab

import (
	"context"
	"encoding/binary"
	"flag"
	"io"
	"os"

	kcp "github.com/xtaci/kcp-go/v5"

	"kcp-interop/peer"
)

// labHeaderLen is the length of the header of a request: four little-endian uint32.
const labHeaderLen = 16

// labHeader is the header of a request of the lab's protocol.
type labHeader struct {
	// request is the length of the request, this header included.
	request uint32
	// answer is the length of the answer.
	answer uint32
	// piece is the number of bytes per write of the answer; 0 writes all at once.
	piece uint32
	// timed selects an answer that is the arrival time of the request instead.
	timed bool
}

func (h labHeader) encode(to []byte) {
	binary.LittleEndian.PutUint32(to, h.request)
	binary.LittleEndian.PutUint32(to[4:], h.answer)
	binary.LittleEndian.PutUint32(to[8:], h.piece)
	timed := uint32(0)
	if h.timed {
		timed = 1
	}
	binary.LittleEndian.PutUint32(to[12:], timed)
}

func decodeLabHeader(from []byte) labHeader {
	return labHeader{
		request: binary.LittleEndian.Uint32(from),
		answer:  binary.LittleEndian.Uint32(from[4:]),
		piece:   binary.LittleEndian.Uint32(from[8:]),
		timed:   binary.LittleEndian.Uint32(from[12:]) != 0,
	}
}

// SetupServer registers the flags of the subcommand that answers the requests of the lab.
func SetupServer(fs *flag.FlagSet, o *peer.Options) peer.Action {
	o.Register(fs)
	listen := fs.String("listen", "127.0.0.1:0", "UDP address to serve")
	overGRPC := fs.Bool("grpc", false, "serve gRPC calls")
	return func(ctx context.Context, out io.Writer) error {
		if *overGRPC {
			return labGRPCServer(peer.UntilEOF(ctx, os.Stdin), o, *listen, out)
		}
		return labServer(peer.UntilEOF(ctx, os.Stdin), o, *listen, out)
	}
}

// labServer answers requests until ctx is done.
func labServer(ctx context.Context, o *peer.Options, listen string, out io.Writer) error {
	if err := o.Validate(); err != nil {
		return err
	}
	conn, listener, err := o.Listen(listen)
	if err != nil {
		return err
	}
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
		go labServe(session)
	}
}

// labServe answers the requests of one session, in order.
func labServe(session *kcp.UDPSession) {
	defer session.Close()
	var header [labHeaderLen]byte
	buf := make([]byte, 64<<10)
	for {
		if _, err := io.ReadFull(session, header[:]); err != nil {
			return
		}
		h := decodeLabHeader(header[:])
		if err := labSkip(session, int(h.request)-labHeaderLen, buf); err != nil {
			return
		}
		var answer []byte
		if h.timed {
			answer = binary.LittleEndian.AppendUint64(nil, uint64(monotonicNanos()))
		} else {
			answer = make([]byte, h.answer)
		}
		if err := labWrite(session, answer, int(h.piece)); err != nil {
			return
		}
	}
}

// labWrite writes in pieces; kcp-go sends each piece at once.
func labWrite(w io.Writer, data []byte, piece int) error {
	if piece <= 0 {
		piece = max(len(data), 1)
	}
	for len(data) > 0 {
		part := data[:min(piece, len(data))]
		if _, err := w.Write(part); err != nil {
			return err
		}
		data = data[len(part):]
	}
	return nil
}

// labSkip reads and discards n bytes.
func labSkip(r io.Reader, n int, buf []byte) error {
	for n > 0 {
		read, err := r.Read(buf[:min(n, len(buf))])
		if err != nil {
			return err
		}
		n -= read
	}
	return nil
}
