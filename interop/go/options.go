package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

// options are the flags every peer shares. Names and meanings follow kcptun.
type options struct {
	crypt       string
	key         string
	mode        string
	mtu         int
	sndWnd      int
	rcvWnd      int
	dataShard   int
	parityShard int
	dscp        int
	sockBuf     int
	ackNoDelay  bool
	writeDelay  bool
	congestion  bool
	wantDSCP    int
	stream      bool
	bind        string
	conv        uint
	linger      time.Duration
	fecChange   fecChange
}

// arqMode is one kcptun preset: the four arguments of SetNoDelay.
type arqMode struct{ noDelay, interval, resend, nc int }

var arqModes = map[string]arqMode{
	"normal": {0, 40, 2, 1},
	"fast":   {0, 30, 2, 1},
	"fast2":  {1, 20, 2, 1},
	"fast3":  {1, 10, 2, 1},
}

func (o *options) register(fs *flag.FlagSet) {
	fs.StringVar(&o.crypt, "crypt", "aes", cipherNames())
	fs.StringVar(&o.key, "key", "it's a secrect", "password both peers share (kcptun's default, its spelling included)")
	fs.StringVar(&o.mode, "mode", "fast", "normal|fast|fast2|fast3")
	fs.IntVar(&o.mtu, "mtu", 1400, "largest UDP payload in bytes")
	fs.IntVar(&o.sndWnd, "sndwnd", 1024, "send window in segments")
	fs.IntVar(&o.rcvWnd, "rcvwnd", 1024, "receive window in segments")
	fs.IntVar(&o.dataShard, "datashard", 0, "FEC data shards; 0 with --parityshard 0 turns FEC off")
	fs.IntVar(&o.parityShard, "parityshard", 0, "FEC parity shards")
	fs.IntVar(&o.dscp, "dscp", 0, "DSCP value of outgoing packets; 0 leaves it alone")
	fs.IntVar(&o.sockBuf, "sockbuf", 4194304, "socket buffer in bytes, each direction")
	fs.BoolVar(&o.ackNoDelay, "acknodelay", false, "send an ACK for every datagram at once")
	fs.BoolVar(&o.writeDelay, "writedelay", false, "leave written data to the next flush")
	fs.BoolVar(&o.congestion, "congestion", false, "limit what is in flight by a congestion window")
	fs.IntVar(&o.wantDSCP, "want-dscp", 0, "lose every datagram that has another DSCP; 0 loses none")
	o.fecChange.register(fs)
	fs.BoolVar(&o.stream, "stream", true, "let a write extend the last queued segment")
	fs.DurationVar(&o.linger, "linger", 300*time.Millisecond, "how long a session stays up before Close")
}

// registerClient adds what only a dialling peer needs.
func (o *options) registerClient(fs *flag.FlagSet) {
	fs.StringVar(&o.bind, "bind", "127.0.0.1:0", "local UDP address")
	fs.UintVar(&o.conv, "conv", 0, "conversation id; 0 draws one")
}

func (o *options) validate() error {
	if _, err := findCipher(o.crypt); err != nil {
		return err
	}
	if _, ok := arqModes[o.mode]; !ok {
		return fmt.Errorf("unknown mode %q, want normal|fast|fast2|fast3", o.mode)
	}
	// kcp-go turns FEC off without a word for every ratio it cannot use, which would make a run test nothing.
	off := o.dataShard == 0 && o.parityShard == 0
	if !off && !usableRatio(o.dataShard, o.parityShard) {
		return fmt.Errorf("unusable FEC ratio %d/%d", o.dataShard, o.parityShard)
	}
	return nil
}

func usableRatio(dataShard, parityShard int) bool {
	return dataShard > 0 && parityShard > 0 && dataShard+parityShard <= 256
}

func (o *options) block() (kcp.BlockCrypt, error) {
	kind, err := findCipher(o.crypt)
	if err != nil {
		return nil, err
	}
	key, err := kind.key(o.key)
	if err != nil {
		return nil, err
	}
	return kind.build(key)
}

// tune applies the options to a session, dialled or accepted.
func (o *options) tune(s *kcp.UDPSession) error {
	mode := arqModes[o.mode]
	nc := mode.nc
	if o.congestion {
		nc = 0
	}
	s.SetNoDelay(mode.noDelay, mode.interval, mode.resend, nc)
	s.SetStreamMode(o.stream)
	s.SetWriteDelay(o.writeDelay)
	s.SetWindowSize(o.sndWnd, o.rcvWnd)
	s.SetACKNoDelay(o.ackNoDelay)
	if !s.SetMtu(o.mtu) {
		return fmt.Errorf("mtu %d leaves no room for data", o.mtu)
	}
	return nil
}

// listen serves KCP on a socket this process keeps. With ServeConn, closing the listener leaves the socket open
// for the sessions that are still draining; with ListenWithOptions it would pull it from under them.
func (o *options) listen(addr string) (*net.UDPConn, *kcp.Listener, error) {
	block, err := o.block()
	if err != nil {
		return nil, nil, err
	}
	conn, err := listenUDP(addr)
	if err != nil {
		return nil, nil, err
	}
	filtered, err := o.filtered(conn)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	listener, err := kcp.ServeConn(block, o.dataShard, o.parityShard, filtered)
	if err == nil {
		err = o.prepareSocket(listener)
	}
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, listener, nil
}

// filtered is the socket itself unless only datagrams of one DSCP are wanted.
func (o *options) filtered(conn *net.UDPConn) (net.PacketConn, error) {
	if o.wantDSCP == 0 {
		return conn, nil
	}
	return filterDSCP(conn, o.wantDSCP)
}

// dial opens a session with the conversation id that was asked for, or a random one.
func (o *options) dial(addr string) (*kcp.UDPSession, error) {
	if o.conv != 0 {
		return o.dialAs(addr, uint32(o.conv))
	}
	var conv [4]byte
	rand.Read(conv[:])
	return o.dialAs(addr, binary.LittleEndian.Uint32(conv[:]))
}

// dialAs opens a session on a socket of its own. DialWithOptions would bind to all interfaces and choose the id.
func (o *options) dialAs(addr string, conv uint32) (*kcp.UDPSession, error) {
	block, err := o.block()
	if err != nil {
		return nil, err
	}
	remote, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	conn, err := listenUDP(o.bind)
	if err != nil {
		return nil, err
	}
	filtered, err := o.filtered(conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	session, err := kcp.NewConn4(conv, remote, block, o.dataShard, o.parityShard, true, filtered)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := errors.Join(o.tune(session), o.prepareSocket(session)); err != nil {
		return nil, errors.Join(err, session.Close())
	}
	return session, nil
}

// socketOwner is what a listener and a dialled session have in common: they own the UDP socket's settings.
type socketOwner interface {
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
	SetDSCP(dscp int) error
}

func (o *options) prepareSocket(s socketOwner) error {
	err := errors.Join(s.SetReadBuffer(o.sockBuf), s.SetWriteBuffer(o.sockBuf))
	if o.dscp != 0 {
		err = errors.Join(err, s.SetDSCP(o.dscp))
	}
	return err
}

func listenUDP(addr string) (*net.UDPConn, error) {
	local, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	return net.ListenUDP("udp", local)
}
