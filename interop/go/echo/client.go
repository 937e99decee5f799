// Package echo contains the echo server and its clients.
package echo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"

	"kcp-interop/peer"
)

// pingSize is the size of a ping in bytes. A ping fits into one segment, so that it measures a round trip without queueing.
const pingSize = 64

// echoPlan describes a run of the echo client.
type echoPlan struct {
	connect string
	bytes   int64
	message int
	seed    uint64
	pings   int
	oob     int
	timeout time.Duration
	hangUp  bool
	change  peer.FECChange
}

// echoReport is the line that the echo client prints.
type echoReport struct {
	OK       bool    `json:"ok"`
	Error    string  `json:"error,omitempty"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	MBPerS   float64 `json:"mb_per_s"`
	SHA256   string  `json:"sha256"`
	P50Micro float64 `json:"p50_us"`
	P99Micro float64 `json:"p99_us"`
}

// SetupClient registers the flags of the subcommand that sends bytes to an echo server and checks the echo.
func SetupClient(fs *flag.FlagSet, o *peer.Options) peer.Action {
	var plan echoPlan
	o.Register(fs)
	o.RegisterClient(fs)
	fs.StringVar(&plan.connect, "connect", "", "UDP address of the echo server (required)")
	fs.Int64Var(&plan.bytes, "bytes", 1<<20, "bytes to send in the bulk phase")
	fs.IntVar(&plan.message, "message", 4096, "bytes per write")
	fs.Uint64Var(&plan.seed, "seed", 1, "seed of the bytes sent")
	fs.IntVar(&plan.pings, "pings", 0, "round trips of 64 bytes after the bulk phase")
	fs.IntVar(&plan.oob, "datagrams", 0, "number of out-of-band datagrams, of all sizes, to exchange after the bulk phase")
	fs.BoolVar(&plan.hangUp, "hang-up", false, "instead write once, wait for an answer, write everything and close at once")
	timeout := fs.Float64("timeout", 60, "time limit of the run, in seconds")
	return func(ctx context.Context, out io.Writer) error {
		plan.timeout = peer.Seconds(*timeout)
		plan.change = o.FECChange
		report, err := echoClient(ctx, o, plan)
		report.OK = err == nil
		if err != nil {
			report.Error = err.Error()
		}
		return errors.Join(err, peer.PrintLine(out, report))
	}
}

func echoClient(ctx context.Context, o *peer.Options, plan echoPlan) (report echoReport, err error) {
	if err := o.Validate(); err != nil {
		return report, err
	}
	if plan.connect == "" || plan.bytes < 0 || plan.message <= 0 || plan.pings < 0 {
		return report, errors.New("need --connect, a positive --message, and no negative --bytes or --pings")
	}
	session, err := o.Dial(plan.connect)
	if err != nil {
		return report, err
	}
	if plan.hangUp {
		return report, errors.Join(hangUp(session, plan), session.Close())
	}
	// Close flushes once and retransmits nothing. The session stays open a little longer, so that lost ACKs (after an
	// error, also data) are sent again; otherwise the server would retransmit until it times out.
	defer func() {
		time.Sleep(o.Linger)
		session.Close()
	}()
	stop := context.AfterFunc(ctx, func() { session.SetDeadline(time.Now()) })
	defer stop()
	if err := session.SetDeadline(time.Now().Add(plan.timeout)); err != nil {
		return report, err
	}
	if err := bulk(session, plan, &report); err != nil {
		return report, err
	}
	if err := pings(session, plan, &report); err != nil || plan.oob == 0 {
		return report, err
	}
	ctx, cancel := context.WithTimeout(ctx, plan.timeout)
	defer cancel()
	return report, outOfBand(ctx, session, plan.oob)
}

// hangUp writes once, waits for the first byte of an answer, writes everything and returns. It waits for the answer
// because Close also drops segments that have never been sent, so that the server might see no connection at all.
func hangUp(session *kcp.UDPSession, plan echoPlan) error {
	first := plan
	first.bytes = int64(plan.message)
	if _, err := sendBytes(session, first); err != nil {
		return err
	}
	if _, err := session.Read(make([]byte, 1)); err != nil {
		return err
	}
	_, err := sendBytes(session, plan)
	return err
}

// bulk sends and reads back concurrently; one after the other would fill both windows and stall.
func bulk(session *kcp.UDPSession, plan echoPlan, report *echoReport) error {
	started := time.Now()
	type sent struct {
		sum []byte
		err error
	}
	sender := make(chan sent, 1)
	go func() {
		sum, err := sendBytes(session, plan)
		if err != nil {
			// Otherwise the reader would wait for missing bytes until the run times out.
			session.SetReadDeadline(time.Now())
		}
		sender <- sent{sum, err}
	}()

	received := sha256.New()
	n, readErr := io.CopyN(received, session, plan.bytes)
	report.Bytes = n
	report.Seconds = time.Since(started).Seconds()
	if readErr != nil {
		session.SetWriteDeadline(time.Now())
	}
	result := <-sender
	if err := errors.Join(result.err, readErr); err != nil {
		return fmt.Errorf("after %d of %d bytes were echoed: %w", n, plan.bytes, err)
	}
	report.MBPerS = float64(n) / 1e6 / report.Seconds
	sum := received.Sum(nil)
	report.SHA256 = hex.EncodeToString(sum)
	if !bytes.Equal(sum, result.sum) {
		return fmt.Errorf("SHA-256 of the echo is %x, want %x", sum, result.sum)
	}
	return nil
}

func sendBytes(session *kcp.UDPSession, plan echoPlan) ([]byte, error) {
	source := newByteSource(plan.seed)
	sum := sha256.New()
	buf := make([]byte, plan.message)
	for left := plan.bytes; left > 0; {
		chunk := buf[:min(left, int64(len(buf)))]
		source.fill(chunk)
		sum.Write(chunk)
		if err := plan.change.BeforeWrite(session, plan.bytes-left); err != nil {
			return nil, err
		}
		if _, err := session.Write(chunk); err != nil {
			return nil, err
		}
		left -= int64(len(chunk))
	}
	return sum.Sum(nil), nil
}

func pings(session *kcp.UDPSession, plan echoPlan, report *echoReport) error {
	source := newByteSource(^plan.seed)
	trips := make([]time.Duration, 0, plan.pings)
	sent, got := make([]byte, pingSize), make([]byte, pingSize)
	for i := range plan.pings {
		source.fill(sent)
		started := time.Now()
		if _, err := session.Write(sent); err != nil {
			return fmt.Errorf("ping %d: %w", i, err)
		}
		if _, err := io.ReadFull(session, got); err != nil {
			return fmt.Errorf("ping %d: %w", i, err)
		}
		trips = append(trips, time.Since(started))
		if !bytes.Equal(sent, got) {
			return fmt.Errorf("the echo of ping %d differs from it", i)
		}
	}
	report.P50Micro, report.P99Micro = peer.Percentiles(trips)
	return nil
}

// byteSource generates the test data: outputs of SplitMix64 as little-endian words, which peers in other languages can
// reproduce in five lines.
type byteSource struct {
	state uint64
	word  [8]byte
	used  int
}

func newByteSource(seed uint64) *byteSource {
	return &byteSource{state: seed, used: 8}
}

func (s *byteSource) fill(out []byte) {
	for len(out) > 0 {
		if s.used == len(s.word) {
			binary.LittleEndian.PutUint64(s.word[:], s.next())
			s.used = 0
		}
		n := copy(out, s.word[s.used:])
		s.used += n
		out = out[n:]
	}
}

func (s *byteSource) next() uint64 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
