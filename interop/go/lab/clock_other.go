//go:build !linux

package lab

import "time"

var processStart = time.Now()

// monotonicNanos counts from the start of this process, so that client and server cannot compare times. The lab runs on
// Linux; this file lets the program compile elsewhere.
func monotonicNanos() int64 {
	return int64(time.Since(processStart))
}
