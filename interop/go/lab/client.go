package lab

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"sync"

	"kcp-interop/peer"
)

// SetupClient registers the flags of the subcommand that measures calls and uploads.
func SetupClient(fs *flag.FlagSet, o *peer.Options) peer.Action {
	o.Register(fs)
	o.RegisterClient(fs)
	server := fs.String("server", "", "the line of JSON that the server printed (required)")
	plan := fs.String("plan", "", "the measurement to make, as JSON (required)")
	overGRPC := fs.Bool("grpc", false, "make gRPC calls")
	return func(ctx context.Context, out io.Writer) error {
		ctx = peer.UntilEOF(ctx, os.Stdin)
		client := labCalls{o: o, overGRPC: *overGRPC}
		measured, err := client.run(*server, *plan, out)
		if err != nil {
			err = peer.PrintLine(out, labEvent{"failed", err.Error()})
		} else {
			err = peer.PrintLine(out, measured)
		}
		// The parent process reads this process's CPU time before it closes the standard input.
		<-ctx.Done()
		return err
	}
}

func (c *labCalls) run(server, plan string, out io.Writer) (measured labMeasured, err error) {
	var to peer.Ready
	if err := errors.Join(json.Unmarshal([]byte(plan), &c.plan), json.Unmarshal([]byte(server), &to)); err != nil {
		return measured, err
	}
	if err := c.o.Validate(); err != nil {
		return measured, err
	}
	c.server = to.Listening
	c.left.Store(int64(c.plan.Calls))
	if c.plan.Kind == "first" {
		if err := c.begin(out); err != nil {
			return measured, err
		}
		err := c.onAll(make([]labConn, c.plan.Connections), c.first)
		return c.results(), err
	}
	conns, err := c.dialAll(c.plan.Connections)
	if err != nil {
		return measured, err
	}
	if c.plan.Kind == "bulk" {
		if err := c.begin(out); err != nil {
			return measured, err
		}
		return c.uploads(conns)
	}
	return c.calls(conns, out)
}

// calls makes calls, and a concurrent upload if the plan has one.
func (c *labCalls) calls(conns []labConn, out io.Writer) (measured labMeasured, err error) {
	var beside []labConn
	if c.plan.BulkBeside {
		if beside, err = c.dialAll(1); err != nil {
			return measured, err
		}
	}
	if err := c.begin(out); err != nil {
		return measured, err
	}
	var uploads []*labUpload
	var uploading sync.WaitGroup
	for _, conn := range beside {
		upload := &labUpload{bins: []int64{}, starts: c.start, ends: c.deadline, stop: &c.stop}
		uploads = append(uploads, upload)
		uploading.Go(func() { upload.run(conn) })
	}
	work := c.closed
	if c.plan.Kind == "open" {
		work = c.open
	}
	err = c.onAll(conns, work)
	measured = c.results()
	c.stop.Store(true)
	uploading.Wait()
	if len(uploads) > 0 {
		addUploads(&measured, c.start, uploads)
	}
	return measured, err
}
