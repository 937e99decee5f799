// Package lab contains the kcp-go peers of the lab in benches, which measures calls and uploads over lossy links.
package lab

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"

	"kcp-interop/peer"
)

// labTimeout is the time limit of a call.
const labTimeout = 15 * time.Second

// labConn is a connection for calls: a session of kcp-go, or a gRPC channel over one.
type labConn interface {
	// call sends a request and waits for the answer, both of the given lengths in bytes. It writes pieces of piece
	// bytes; 0 writes everything at once.
	call(request, answer, piece int) error
	Close() error
}

// labSession is a session of kcp-go.
type labSession struct {
	*kcp.UDPSession
	buf []byte
}

func (s labSession) call(request, answer, piece int) error {
	s.SetDeadline(time.Now().Add(labTimeout))
	if err := labWrite(s, labRequest(request, answer, piece, false), piece); err != nil {
		return err
	}
	return labSkip(s, answer, s.buf)
}

// labRequest returns a request with its header.
func labRequest(request, answer, piece int, timed bool) []byte {
	data := make([]byte, request)
	labHeader{uint32(request), uint32(answer), uint32(piece), timed}.encode(data)
	return data
}

// labCalls makes calls on connections and collects their latencies.
type labCalls struct {
	o               *peer.Options
	overGRPC        bool
	plan            labPlan
	server          string
	left            atomic.Int64
	stop            atomic.Bool
	start, deadline int64
	mu              sync.Mutex
	latencies       []int64
}

// begin prints the start event for the parent process and starts the clock.
func (c *labCalls) begin(out io.Writer) error {
	err := peer.PrintLine(out, labEvent{Event: "start"})
	c.start = monotonicNanos()
	c.deadline = c.start + c.plan.LimitMS*int64(time.Millisecond)
	return err
}

func (c *labCalls) dial() (labConn, error) {
	if c.overGRPC {
		return c.dialGRPC()
	}
	session, err := c.o.Dial(c.server)
	if err != nil {
		return nil, err
	}
	return labSession{session, make([]byte, 64<<10)}, nil
}

// dialAll opens connections and makes a short call on each: kcp-go's Dial does not wait for the server.
func (c *labCalls) dialAll(n int) ([]labConn, error) {
	conns := make([]labConn, n)
	for i := range conns {
		conn, err := c.dial()
		if err != nil {
			return nil, err
		}
		if err := conn.call(64, 64, 0); err != nil {
			return nil, err
		}
		conns[i] = conn
	}
	return conns, nil
}

// onAll runs work on all connections concurrently.
func (c *labCalls) onAll(conns []labConn, work func(i int, conn labConn) error) error {
	errs := make([]error, len(conns))
	var group sync.WaitGroup
	for i, conn := range conns {
		group.Go(func() { errs[i] = work(i, conn) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func (c *labCalls) takeOne() bool {
	return monotonicNanos() < c.deadline && c.left.Add(-1) >= 0
}

// note records the latency of a call that started, or was due, at since.
func (c *labCalls) note(since int64) {
	latency := (monotonicNanos() - since) / int64(time.Microsecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latencies = append(c.latencies, latency)
}

// closed makes calls one after the other (closed loop).
func (c *labCalls) closed(_ int, conn labConn) error {
	for c.takeOne() {
		start := monotonicNanos()
		if err := conn.call(c.plan.Request, c.plan.Answer, c.plan.Piece); err != nil {
			return err
		}
		c.note(start)
	}
	return nil
}

// first makes each call on a new connection.
func (c *labCalls) first(_ int, _ labConn) error {
	for c.takeOne() {
		start := monotonicNanos()
		conn, err := c.dial()
		if err != nil {
			return err
		}
		if err := conn.call(c.plan.Request, c.plan.Answer, c.plan.Piece); err != nil {
			return err
		}
		c.note(start)
		go conn.Close()
	}
	return nil
}

// open makes calls at fixed times (open loop). Latencies are measured from these times.
func (c *labCalls) open(i int, conn labConn) error {
	interval := c.plan.IntervalUS * int64(time.Microsecond)
	calls := c.plan.Calls / c.plan.Connections
	if i < c.plan.Calls%c.plan.Connections {
		calls++
	}
	first := c.start + interval*int64(i)/int64(c.plan.Connections)
	due := func(call int) int64 { return first + interval*int64(call) }
	session, ok := conn.(labSession)
	if !ok {
		return c.concurrent(calls, conn, due)
	}
	session.SetDeadline(time.Now().Add(time.Duration(c.plan.LimitMS)*time.Millisecond + labTimeout))
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
	var readErr error
	for call := 0; call < calls && readErr == nil; call++ {
		if readErr = labSkip(session, c.plan.Answer, session.buf); readErr == nil {
			c.note(due(call))
		}
	}
	writing.Wait()
	return errors.Join(writeErr, readErr)
}

// concurrent makes gRPC calls at fixed times, each in a goroutine.
func (c *labCalls) concurrent(calls int, conn labConn, due func(call int) int64) error {
	errs := make([]error, calls)
	var group sync.WaitGroup
	for call := range calls {
		time.Sleep(time.Duration(due(call) - monotonicNanos()))
		group.Go(func() {
			if errs[call] = conn.call(c.plan.Request, c.plan.Answer, 0); errs[call] == nil {
				c.note(due(call))
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (c *labCalls) results() labMeasured {
	return labMeasured{
		Event:       "done",
		LatenciesUS: c.latencies,
		UsefulBytes: int64(len(c.latencies)) * int64(c.plan.Request+c.plan.Answer),
		Seconds:     float64(monotonicNanos()-c.start) / 1e9,
		Started:     float64(c.start) / 1e9,
		CutShort:    len(c.latencies) < c.plan.Calls,
	}
}
