package lab

// labPlan describes a measurement. The lab passes it as JSON; the Rust type in benches has the same fields.
type labPlan struct {
	Kind        string `json:"kind"`
	Connections int    `json:"connections"`
	Calls       int    `json:"calls"`
	Request     int    `json:"request"`
	Answer      int    `json:"answer"`
	Piece       int    `json:"piece"`
	IntervalUS  int64  `json:"interval_us"`
	Bytes       int64  `json:"bytes"`
	StaggerMS   int64  `json:"stagger_ms"`
	BulkBeside  bool   `json:"bulk_beside"`
	LimitMS     int64  `json:"limit_ms"`
}

// labMeasured is the result that a client prints.
type labMeasured struct {
	Event       string  `json:"event"`
	LatenciesUS []int64 `json:"latencies_us,omitempty"`
	UsefulBytes int64   `json:"useful_bytes"`
	Seconds     float64 `json:"seconds"`
	// Started is the time of the start, in seconds of the monotonic clock.
	Started  float64   `json:"started"`
	Flows    [][]int64 `json:"flows,omitempty"`
	MbitS    *float64  `json:"mbit_s"`
	CutShort bool      `json:"cut_short"`
}

type labEvent struct {
	Event string `json:"event"`
	Error string `json:"error,omitempty"`
}
