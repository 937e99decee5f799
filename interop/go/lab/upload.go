package lab

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// labBin is the width of the bins in which arrivals are counted.
const labBin = 100 * time.Millisecond

// labChunk is the size of a chunk of an upload, in bytes. The server answers each chunk with its arrival time.
const labChunk = 64 << 10

// labUpload is one upload and its progress.
type labUpload struct {
	bytes        int64 // 0: until stopped
	starts, ends int64
	stop         *atomic.Bool
	arrived      int64
	last         int64
	bins         []int64
	complete     bool
	err          error
}

func (c *labCalls) uploads(conns []labConn) (labMeasured, error) {
	measured := labMeasured{Event: "done", Started: float64(c.start) / 1e9}
	uploads := make([]*labUpload, len(conns))
	var group sync.WaitGroup
	for i, conn := range conns {
		starts := c.start + int64(i)*c.plan.StaggerMS*int64(time.Millisecond)
		upload := &labUpload{bytes: c.plan.Bytes, bins: []int64{}, starts: starts, ends: c.deadline, stop: &c.stop}
		uploads[i] = upload
		group.Go(func() { upload.run(conn) })
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

// run uploads in chunks and reads the arrival time of each.
func (u *labUpload) run(conn labConn) {
	session, ok := conn.(labSession)
	if !ok {
		u.err = errors.New("uploads need a KCP session; with --grpc only calls are possible")
		return
	}
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
	// Unblocks the writer.
	session.SetWriteDeadline(time.Now())
	writing.Wait()
}

// chunks yields the lengths of the chunks, until the upload is complete or stopped.
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
