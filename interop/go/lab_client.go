package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

// labBin is the time whose arrivals are counted together.
const labBin = 100 * time.Millisecond

// labChunk is what a server acknowledges of an upload.
const labChunk = 64 << 10

func setupLabClient(fs *flag.FlagSet, o *options) action {
	o.register(fs)
	o.registerClient(fs)
	server := fs.String("server", "", "the line that the server printed (required)")
	plan := fs.String("plan", "", "what to do, in JSON (required)")
	return func(ctx context.Context, out io.Writer) error {
		ctx = untilEOF(ctx, os.Stdin)
		measured, err := labClient(o, *server, *plan, out)
		if err != nil {
			err = printLine(out, labEvent{"failed", err.Error()})
		} else {
			err = printLine(out, measured)
		}
		// Whoever started this process looks at its processor time before it lets it end.
		<-ctx.Done()
		return err
	}
}

func labClient(o *options, server, planText string, out io.Writer) (measured labMeasured, err error) {
	measured.Event = "done"
	var plan labPlan
	var to ready
	if err := errors.Join(json.Unmarshal([]byte(planText), &plan), json.Unmarshal([]byte(server), &to)); err != nil {
		return measured, err
	}
	if err := o.validate(); err != nil {
		return measured, err
	}
	client := labCalls{o: o, plan: plan, server: to.Listening}
	client.left.Store(int64(plan.Calls))
	if plan.Kind == "first" {
		if err := printLine(out, labEvent{Event: "start"}); err != nil {
			return measured, err
		}
		client.begin()
		err := client.onAll(make([]*kcp.UDPSession, plan.Connections), client.first)
		return client.called(measured), err
	}
	sessions, err := client.dialAll(plan.Connections)
	if err != nil {
		return measured, err
	}
	var beside *kcp.UDPSession
	if plan.BulkBeside {
		extra, err := client.dialAll(1)
		if err != nil {
			return measured, err
		}
		beside = extra[0]
	}
	if err := printLine(out, labEvent{Event: "start"}); err != nil {
		return measured, err
	}
	client.begin()
	if plan.Kind == "bulk" {
		return client.uploads(measured, sessions)
	}
	var uploading sync.WaitGroup
	upload := labUpload{bins: []int64{}, starts: client.start, ends: client.deadline, stop: &client.stop}
	if beside != nil {
		uploading.Go(func() { upload.run(beside) })
	}
	work := client.closed
	if plan.Kind == "open" {
		work = client.open
	}
	err = client.onAll(sessions, work)
	measured = client.called(measured)
	client.stop.Store(true)
	uploading.Wait()
	if beside != nil {
		addUploads(&measured, client.start, []*labUpload{&upload})
	}
	return measured, err
}

// labCalls makes calls on sessions and gathers their latencies.
type labCalls struct {
	o               *options
	plan            labPlan
	server          string
	left            atomic.Int64
	stop            atomic.Bool
	start, deadline int64
	mu              sync.Mutex
	latencies       []int64
}

func (c *labCalls) begin() {
	c.start = monotonicNanos()
	c.deadline = c.start + c.plan.LimitMS*int64(time.Millisecond)
}

// dialAll opens sessions and makes a short call on each: a session of kcp-go does not know whether its server is there.
func (c *labCalls) dialAll(n int) ([]*kcp.UDPSession, error) {
	sessions := make([]*kcp.UDPSession, n)
	var errs []error
	for i := range sessions {
		session, err := c.o.dial(c.server)
		if err != nil {
			return nil, err
		}
		session.SetDeadline(time.Now().Add(15 * time.Second))
		errs = append(errs, labCall(session, 64, 64, 0, make([]byte, 64)))
		sessions[i] = session
	}
	return sessions, errors.Join(errs...)
}

// onAll runs work on all sessions at once.
func (c *labCalls) onAll(sessions []*kcp.UDPSession, work func(i int, s *kcp.UDPSession) error) error {
	// An answer may be late by this much.
	limit := time.Now().Add(time.Duration(c.plan.LimitMS)*time.Millisecond + 15*time.Second)
	errs := make([]error, len(sessions))
	var group sync.WaitGroup
	for i, session := range sessions {
		if session != nil {
			session.SetDeadline(limit)
		}
		group.Go(func() { errs[i] = work(i, session) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func (c *labCalls) takeOne() bool {
	return monotonicNanos() < c.deadline && c.left.Add(-1) >= 0
}

func (c *labCalls) note(since int64) {
	latency := (monotonicNanos() - since) / int64(time.Microsecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latencies = append(c.latencies, latency)
}

// closed makes a call when the one before is answered.
func (c *labCalls) closed(_ int, session *kcp.UDPSession) error {
	buf := make([]byte, 64<<10)
	for c.takeOne() {
		start := monotonicNanos()
		if err := labCall(session, c.plan.Request, c.plan.Answer, c.plan.Piece, buf); err != nil {
			return err
		}
		c.note(start)
	}
	return nil
}

// first makes calls on sessions of their own.
func (c *labCalls) first(_ int, _ *kcp.UDPSession) error {
	buf := make([]byte, 64<<10)
	for c.takeOne() {
		start := monotonicNanos()
		session, err := c.o.dial(c.server)
		if err != nil {
			return err
		}
		session.SetDeadline(time.Now().Add(30 * time.Second))
		if err := labCall(session, c.plan.Request, c.plan.Answer, c.plan.Piece, buf); err != nil {
			return err
		}
		c.note(start)
		session.Close()
	}
	return nil
}

// open makes calls at fixed times, which their latencies count from.
func (c *labCalls) open(i int, session *kcp.UDPSession) error {
	interval := c.plan.IntervalUS * int64(time.Microsecond)
	calls := c.plan.Calls / c.plan.Connections
	if i < c.plan.Calls%c.plan.Connections {
		calls++
	}
	due := func(call int) int64 {
		return c.start + interval*int64(i)/int64(c.plan.Connections) + interval*int64(call)
	}
	var writing sync.WaitGroup
	var writeErr error
	writing.Go(func() {
		request := labRequest(c.plan.Request, c.plan.Answer, c.plan.Piece, false)
		for call := range calls {
			time.Sleep(time.Duration(due(call) - monotonicNanos()))
			if writeErr = labWrite(session, request, c.plan.Piece); writeErr != nil {
				return
			}
		}
	})
	buf := make([]byte, 64<<10)
	var readErr error
	for call := 0; call < calls && readErr == nil; call++ {
		if readErr = labSkip(session, c.plan.Answer, buf); readErr == nil {
			c.note(due(call))
		}
	}
	writing.Wait()
	return errors.Join(writeErr, readErr)
}

func (c *labCalls) called(measured labMeasured) labMeasured {
	measured.LatenciesUS = c.latencies
	measured.UsefulBytes = int64(len(c.latencies)) * int64(c.plan.Request+c.plan.Answer)
	measured.Seconds = float64(monotonicNanos()-c.start) / 1e9
	measured.CutShort = len(c.latencies) < c.plan.Calls
	return measured
}

// labRequest is a request with its header.
func labRequest(request, answer, piece int, timed bool) []byte {
	data := make([]byte, request)
	labHeader{uint32(request), uint32(answer), uint32(piece), timed}.encode(data)
	return data
}

// labCall makes one call.
func labCall(session *kcp.UDPSession, request, answer, piece int, buf []byte) error {
	if err := labWrite(session, labRequest(request, answer, piece, false), piece); err != nil {
		return err
	}
	return labSkip(session, answer, buf)
}

// labUpload is one upload, and what has arrived of it.
type labUpload struct {
	bytes        int64 // 0 is until stopped
	starts, ends int64
	stop         *atomic.Bool
	arrived      int64
	last         int64
	bins         []int64
	complete     bool
	err          error
}

func (c *labCalls) uploads(measured labMeasured, sessions []*kcp.UDPSession) (labMeasured, error) {
	uploads := make([]*labUpload, len(sessions))
	var group sync.WaitGroup
	for i, session := range sessions {
		starts := c.start + int64(i)*c.plan.StaggerMS*int64(time.Millisecond)
		upload := &labUpload{bytes: c.plan.Bytes, bins: []int64{}, starts: starts, ends: c.deadline, stop: &c.stop}
		uploads[i] = upload
		group.Go(func() { upload.run(session) })
	}
	group.Wait()
	var errs []error
	for _, upload := range uploads {
		errs = append(errs, upload.err)
		measured.CutShort = measured.CutShort || c.plan.Bytes > 0 && !upload.complete
	}
	addUploads(&measured, c.start, uploads)
	return measured, errors.Join(errs...)
}

// run uploads in chunks and reads the time of each one's arrival.
func (u *labUpload) run(session *kcp.UDPSession) {
	time.Sleep(time.Duration(u.starts - monotonicNanos()))
	session.SetDeadline(time.Now().Add(time.Duration(u.ends - monotonicNanos())))
	var writing sync.WaitGroup
	writing.Go(func() {
		for chunk := range u.chunks() {
			if err := labWrite(session, labRequest(int(chunk), 8, 0, true), 0); err != nil {
				return
			}
		}
	})
	var at [8]byte
	u.complete = true
	for chunk := range u.chunks() {
		if _, err := io.ReadFull(session, at[:]); err != nil {
			u.complete = false
			u.last = u.ends
			if monotonicNanos() < u.ends {
				u.err = fmt.Errorf("uploading: %w", err)
			}
			break
		}
		u.last = int64(binary.LittleEndian.Uint64(at[:]))
		u.arrived += chunk
		bin := max(0, int((u.last-u.starts)/int64(labBin)))
		for len(u.bins) <= bin {
			u.bins = append(u.bins, 0)
		}
		u.bins[bin] += chunk
	}
	// Wakes the writer.
	session.SetWriteDeadline(time.Now())
	writing.Wait()
}

// chunks are the lengths of what is written, until there is no more or it is stopped.
func (u *labUpload) chunks() func(yield func(int64) bool) {
	return func(yield func(int64) bool) {
		for left := cmp.Or(u.bytes, int64(1)<<62); left > 0 && !u.stop.Load(); {
			chunk := max(min(left, labChunk), labHeaderLen)
			if !yield(chunk) {
				return
			}
			left -= chunk
		}
	}
}

func addUploads(measured *labMeasured, start int64, uploads []*labUpload) {
	var bytes, last int64
	for _, upload := range uploads {
		bytes += upload.arrived
		last = max(last, upload.last)
		measured.Flows = append(measured.Flows, upload.bins)
	}
	seconds := float64(last-start) / 1e9
	measured.UsefulBytes += bytes
	measured.Seconds = max(measured.Seconds, seconds)
	if seconds > 0 {
		rate := float64(bytes) * 8 / 1e6 / seconds
		measured.MbitS = &rate
	}
}
