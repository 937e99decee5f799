package echo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

// echoOutOfBand echoes out-of-band datagrams. kcp-go has them only with FEC.
func echoOutOfBand(session *kcp.UDPSession) {
	session.SetOOBHandler(func(data []byte) { session.SendOOB(data) })
}

// outOfBand sends datagrams of all sizes up to the largest, and repeats each until its echo arrives.
func outOfBand(ctx context.Context, session *kcp.UDPSession, count int) error {
	echoes := make(chan []byte, 64)
	err := session.SetOOBHandler(func(data []byte) {
		select {
		case echoes <- bytes.Clone(data):
		default:
		}
	})
	if err != nil {
		return err
	}
	largest := session.GetOOBMaxSize()
	source := newByteSource(1)
	for i := range count {
		data := make([]byte, largest*i/max(count-1, 1))
		source.fill(data)
		if err := repeatUntilEchoed(ctx, session, data, echoes); err != nil {
			return fmt.Errorf("out-of-band datagram of %d bytes: %w", len(data), err)
		}
	}
	if session.SendOOB(make([]byte, largest+1)) == nil {
		return errors.New("a datagram above the maximum size was accepted")
	}
	return nil
}

func repeatUntilEchoed(ctx context.Context, session *kcp.UDPSession, data []byte, echoes <-chan []byte) error {
	for {
		if err := session.SendOOB(data); err != nil {
			return err
		}
		repeat := time.After(100 * time.Millisecond)
		for waiting := true; waiting; {
			select {
			case echo := <-echoes:
				if slices.Equal(echo, data) {
					return nil
				}
			case <-repeat:
				waiting = false
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}
