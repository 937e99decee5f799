package conformance

import (
	"context"
	"io"
	"testing"

	"kcp-interop/peer/peertest"
)

func TestEveryCasePasses(t *testing.T) {
	o := peertest.Options("aes-128-gcm")
	addr := peertest.Serve(t, func(ctx context.Context, out io.Writer) error {
		return serve(ctx, &o, identity{}, "127.0.0.1:0", out)
	})
	for name := range cases {
		if err := run(t.Context(), &o, identity{}, addr, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnknownCaseIsRefused(t *testing.T) {
	o := peertest.Options("aes-128-gcm")
	if err := run(t.Context(), &o, identity{}, "127.0.0.1:1", "empty"); err == nil {
		t.Error("no error for a case that does not exist")
	}
}
