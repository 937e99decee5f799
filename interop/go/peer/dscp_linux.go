package peer

import (
	"errors"
	"net"
	"syscall"
)

// dscpFilter is a socket that drops every datagram with another DSCP than the expected one, like a policer in a network.
type dscpFilter struct {
	net.PacketConn
	udp  *net.UDPConn
	want int
}

// filterDSCP wraps a socket. kcp-go does not recognise the result as a UDP socket, and reads datagrams one at a time.
func filterDSCP(udp *net.UDPConn, want int) (net.PacketConn, error) {
	err := onSocket(udp, func(fd int) error {
		err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_RECVTOS, 1)
		if isIPv6(udp) {
			err = errors.Join(err, syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_RECVTCLASS, 1))
		}
		return err
	})
	return &dscpFilter{udp, udp, want}, err
}

func onSocket(udp *net.UDPConn, do func(fd int) error) error {
	raw, err := udp.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = do(int(fd)) })
	return errors.Join(err, failed)
}

func isIPv6(udp *net.UDPConn) bool {
	return udp.LocalAddr().(*net.UDPAddr).IP.To4() == nil
}

func (f *dscpFilter) SetReadBuffer(bytes int) error  { return f.udp.SetReadBuffer(bytes) }
func (f *dscpFilter) SetWriteBuffer(bytes int) error { return f.udp.SetWriteBuffer(bytes) }

// SetDSCP sets the DSCP of sent datagrams.
func (f *dscpFilter) SetDSCP(dscp int) error {
	return onSocket(f.udp, func(fd int) error {
		err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_TOS, dscp<<2)
		if isIPv6(f.udp) {
			err = errors.Join(err, syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_TCLASS, dscp<<2))
		}
		return err
	})
}

func (f *dscpFilter) ReadFrom(buf []byte) (int, net.Addr, error) {
	control := make([]byte, 128)
	for {
		n, controlLen, _, from, err := f.udp.ReadMsgUDP(buf, control)
		if err != nil {
			return n, from, err
		}
		if dscp, ok := readDSCP(control[:controlLen]); ok && dscp == f.want {
			return n, from, nil
		}
	}
}

// readDSCP reads the traffic class from control messages; its upper six bits are the DSCP.
func readDSCP(control []byte) (int, bool) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return 0, false
	}
	for _, message := range messages {
		level, kind := message.Header.Level, message.Header.Type
		v4 := level == syscall.IPPROTO_IP && kind == syscall.IP_TOS
		v6 := level == syscall.IPPROTO_IPV6 && kind == syscall.IPV6_TCLASS
		if (v4 || v6) && len(message.Data) > 0 {
			return int(message.Data[0] >> 2), true
		}
	}
	return 0, false
}
