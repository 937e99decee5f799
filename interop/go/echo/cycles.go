package echo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"

	"kcp-interop/peer"
)

// cyclesPlan describes a series of short-lived sessions, one at a time.
type cyclesPlan struct {
	connect string
	cycles  int
	rate    float64
	bytes   int
	slow    time.Duration
}

// cyclesReport is the line that the subcommand prints.
type cyclesReport struct {
	OK       bool    `json:"ok"`
	Error    string  `json:"error,omitempty"`
	Cycles   int     `json:"cycles"`
	Seconds  float64 `json:"seconds"`
	P50Micro float64 `json:"p50_us"`
	P99Micro float64 `json:"p99_us"`
	MaxMicro float64 `json:"max_us"`
	Slow     int     `json:"slow"`
}

// SetupCycles registers the flags of the subcommand that opens, uses and closes short sessions.
func SetupCycles(fs *flag.FlagSet, o *peer.Options) peer.Action {
	var plan cyclesPlan
	o.Register(fs)
	o.RegisterClient(fs)
	fs.StringVar(&plan.connect, "connect", "", "UDP address of the echo server (required)")
	fs.IntVar(&plan.cycles, "cycles", 300, "number of sessions, one at a time")
	fs.Float64Var(&plan.rate, "rate", 0, "sessions to start per second; 0 starts the next one at once")
	fs.IntVar(&plan.bytes, "bytes", pingSize, "bytes that each session sends and reads back")
	fs.DurationVar(&plan.slow, "slow", 100*time.Millisecond, "count a session as slow if it takes this long from dialling to its last byte")
	return func(ctx context.Context, out io.Writer) error {
		report, err := echoCycles(ctx, o, plan)
		report.OK = err == nil
		if err != nil {
			report.Error = err.Error()
		}
		return errors.Join(err, peer.PrintLine(out, report))
	}
}

// echoCycles dials, writes, reads and closes at once, like short-lived programs. kcp-go's Close drops the last ACK.
func echoCycles(ctx context.Context, o *peer.Options, plan cyclesPlan) (report cyclesReport, err error) {
	if err := o.Validate(); err != nil {
		return report, err
	}
	if plan.connect == "" || plan.cycles <= 0 || plan.bytes <= 0 || plan.rate < 0 {
		return report, errors.New("need --connect, positive --cycles and --bytes, and no negative --rate")
	}
	started := time.Now()
	took := make([]time.Duration, 0, plan.cycles)
	for i := range plan.cycles {
		if plan.rate > 0 {
			time.Sleep(time.Until(started.Add(peer.Seconds(float64(i) / plan.rate))))
		}
		if err := ctx.Err(); err != nil {
			return report, err
		}
		cycle := time.Now()
		if err := echoOnce(o, plan); err != nil {
			return report, fmt.Errorf("session %d: %w", i, err)
		}
		took = append(took, time.Since(cycle))
	}
	report.Cycles = plan.cycles
	report.Seconds = time.Since(started).Seconds()
	for _, one := range took {
		if one >= plan.slow {
			report.Slow++
		}
	}
	report.MaxMicro = float64(slices.Max(took).Nanoseconds()) / 1e3
	report.P50Micro, report.P99Micro = peer.Percentiles(took)
	return report, nil
}

func echoOnce(o *peer.Options, plan cyclesPlan) error {
	session, err := o.Dial(plan.connect)
	if err != nil {
		return err
	}
	defer session.Close()
	if err := session.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	sent := make([]byte, plan.bytes)
	newByteSource(1).fill(sent)
	if _, err := session.Write(sent); err != nil {
		return err
	}
	got := make([]byte, plan.bytes)
	if _, err := io.ReadFull(session, got); err != nil {
		return err
	}
	if !slices.Equal(sent, got) {
		return errors.New("the echo differs from the bytes sent")
	}
	return nil
}
