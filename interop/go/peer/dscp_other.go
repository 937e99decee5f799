//go:build !linux

package peer

import (
	"errors"
	"net"
)

// filterDSCP is implemented on Linux only.
func filterDSCP(*net.UDPConn, int) (net.PacketConn, error) {
	return nil, errors.New("--want-dscp needs Linux")
}
