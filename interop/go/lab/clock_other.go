//go:build !linux

package lab

import "time"

var processStart = time.Now()

// monotonicNanos serves one process only; the lab runs on Linux.
func monotonicNanos() int64 {
	return int64(time.Since(processStart))
}
