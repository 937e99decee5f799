package peer

import (
	"errors"
	"flag"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"
	"unsafe"

	kcp "github.com/xtaci/kcp-go/v5"
)

// FECChange changes the FEC ratio of an open session. kcp-go has no call for that, but its decoder supports peers that do
// so, and ours must too.
type FECChange struct {
	DataShard   int
	ParityShard int
	After       int64
	Pause       time.Duration
	done        bool
}

func (c *FECChange) register(fs *flag.FlagSet) {
	fs.IntVar(&c.DataShard, "then-datashard", 0, "FEC data shards after --then-after bytes; 0 keeps the ratio")
	fs.IntVar(&c.ParityShard, "then-parityshard", 0, "FEC parity shards after --then-after bytes")
	fs.Int64Var(&c.After, "then-after", 0, "bytes to write before the FEC ratio changes")
	fs.DurationVar(&c.Pause, "then-pause", 0, "pause before the change, so that written data is sent with the old ratio")
}

// BeforeWrite changes the session's ratio before the first write at or after c.After bytes.
func (c *FECChange) BeforeWrite(session *kcp.UDPSession, written int64) error {
	if c.DataShard == 0 || c.done || written < c.After {
		return nil
	}
	c.done = true
	time.Sleep(c.Pause)
	return changeFEC(session, c.DataShard, c.ParityShard)
}

// changeFEC replaces the encoder of a session. The sequence ids continue at the beginning of a group.
func changeFEC(session *kcp.UDPSession, dataShards, parityShards int) error {
	field := reflect.ValueOf(session).Elem().FieldByName("fecEncoder")
	if field.Kind() != reflect.Pointer || field.IsNil() {
		return errors.New("the session has no FEC, so its ratio cannot change")
	}
	old := field.Elem()
	if !usableRatio(dataShards, parityShards) {
		return fmt.Errorf("FEC ratio is %d/%d; allowed: at least 1 each and at most 256 together", dataShards, parityShards)
	}
	encoder := newFECEncoder(dataShards, parityShards, int(old.FieldByName("headerOffset").Int()))
	// The old encoder may still be encoding a packet and the parity of its group.
	size := uint32(dataShards + parityShards)
	busy := uint32(old.FieldByName("shardSize").Int())
	next := (uint32(old.FieldByName("next").Uint()) + busy + size) / size * size
	created := reflect.NewAt(old.Type(), encoder).Elem()
	*(*uint32)(created.FieldByName("next").Addr().UnsafePointer()) = next
	atomic.StorePointer((*unsafe.Pointer)(field.Addr().UnsafePointer()), encoder)
	return nil
}

// newFECEncoder is kcp-go's unexported constructor.
//
//go:linkname newFECEncoder github.com/xtaci/kcp-go/v5.newFECEncoder
func newFECEncoder(dataShards, parityShards, offset int) unsafe.Pointer
