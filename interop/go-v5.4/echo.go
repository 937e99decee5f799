package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	kcp "github.com/xtaci/kcp-go"
)

// echoServer serves until ctx is done.
func echoServer(ctx context.Context, o *options, listen string) error {
	conn, listener, err := o.listen(listen)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		listener.Close()
		conn.Close()
	})
	defer stop()
	if err := printLine(map[string]string{"listening": listener.Addr().String()}); err != nil {
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
		go echoBack(session)
	}
}

func echoBack(session *kcp.UDPSession) {
	defer session.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := session.Read(buf)
		if err != nil {
			return
		}
		if _, err := session.Write(buf[:n]); err != nil {
			return
		}
	}
}

// echoPlan describes a run of the echo client.
type echoPlan struct {
	connect string
	bytes   int64
	message int
	seed    uint64
	timeout float64
}

func (p *echoPlan) register(fs *flag.FlagSet) {
	fs.StringVar(&p.connect, "connect", "", "UDP address of the echo server (required)")
	fs.Int64Var(&p.bytes, "bytes", 1<<20, "bytes to send")
	fs.IntVar(&p.message, "message", 4096, "bytes per write")
	fs.Uint64Var(&p.seed, "seed", 1, "seed of the bytes sent")
	fs.Float64Var(&p.timeout, "timeout", 60, "time limit of the run, in seconds")
}

// echoReport is the line that the echo client prints.
type echoReport struct {
	OK     bool   `json:"ok"`
	Error  string `json:"error,omitempty"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// echoClient sends and reads back concurrently.
func echoClient(o *options, plan echoPlan) (report echoReport, err error) {
	if plan.connect == "" || plan.bytes < 0 || plan.message <= 0 {
		return report, errors.New("need --connect, a positive --message, and no negative --bytes")
	}
	session, err := o.dial(plan.connect)
	if err != nil {
		return report, err
	}
	// Close retransmits nothing, and the server's last data must still be acknowledged.
	defer func() {
		time.Sleep(o.linger)
		session.Close()
	}()
	if err := session.SetDeadline(time.Now().Add(seconds(plan.timeout))); err != nil {
		return report, err
	}
	sent := make(chan error, 1)
	go func() { sent <- send(session, plan) }()
	sum := sha256.New()
	report.Bytes, err = io.CopyN(sum, session, plan.bytes)
	report.SHA256 = hex.EncodeToString(sum.Sum(nil))
	if err != nil {
		session.SetWriteDeadline(time.Now())
		err = fmt.Errorf("after %d of %d bytes were echoed: %w", report.Bytes, plan.bytes, err)
	}
	return report, errors.Join(err, <-sent)
}

// send writes outputs of SplitMix64 as little-endian words.
func send(session *kcp.UDPSession, plan echoPlan) error {
	data := make([]byte, 0, plan.bytes+8)
	for state := plan.seed; int64(len(data)) < plan.bytes; {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		data = binary.LittleEndian.AppendUint64(data, z^z>>31)
	}
	for data = data[:plan.bytes]; len(data) > 0; {
		n := min(len(data), plan.message)
		if _, err := session.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
