package peer

import (
	"math"
	"slices"
	"time"
)

// Percentiles returns the median and the 99th percentile in microseconds, by nearest rank; zero without samples.
func Percentiles(samples []time.Duration) (p50, p99 float64) {
	if len(samples) == 0 {
		return 0, 0
	}
	slices.Sort(samples)
	rank := func(p float64) float64 {
		at := int(math.Ceil(p*float64(len(samples)))) - 1
		return float64(samples[at].Nanoseconds()) / 1e3
	}
	return rank(0.50), rank(0.99)
}

// Seconds converts the value of a flag to a duration.
func Seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second))
}
