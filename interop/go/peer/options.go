package peer

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

// Options are the flags every peer shares. Names and meanings follow kcptun.
type Options struct {
	Crypt       string
	Key         string
	Mode        string
	MTU         int
	SndWnd      int
	RcvWnd      int
	DataShard   int
	ParityShard int
	DSCP        int
	SockBuf     int
	AckNoDelay  bool
	WriteDelay  bool
	Congestion  bool
	WantDSCP    int
	Stream      bool
	Bind        string
	Conv        uint
	Linger      time.Duration
	FECChange   FECChange
}

// arqMode is one kcptun preset: the four arguments of SetNoDelay.
type arqMode struct{ noDelay, interval, resend, nc int }

var arqModes = map[string]arqMode{
	"normal": {0, 40, 2, 1},
	"fast":   {0, 30, 2, 1},
	"fast2":  {1, 20, 2, 1},
	"fast3":  {1, 10, 2, 1},
}

// Register adds the flags of all peers.
func (o *Options) Register(fs *flag.FlagSet) {
	fs.StringVar(&o.Crypt, "crypt", "aes", cipherNames())
	fs.StringVar(&o.Key, "key", "it's a secrect", "password both peers share (kcptun's default, its spelling included)")
	fs.StringVar(&o.Mode, "mode", "fast", "normal|fast|fast2|fast3")
	fs.IntVar(&o.MTU, "mtu", 1400, "largest UDP payload in bytes")
	fs.IntVar(&o.SndWnd, "sndwnd", 1024, "send window in segments")
	fs.IntVar(&o.RcvWnd, "rcvwnd", 1024, "receive window in segments")
	fs.IntVar(&o.DataShard, "datashard", 0, "FEC data shards; 0 with --parityshard 0 turns FEC off")
	fs.IntVar(&o.ParityShard, "parityshard", 0, "FEC parity shards")
	fs.IntVar(&o.DSCP, "dscp", 0, "DSCP value of outgoing packets; 0 leaves it alone")
	fs.IntVar(&o.SockBuf, "sockbuf", 4194304, "socket buffer in bytes, each direction")
	fs.BoolVar(&o.AckNoDelay, "acknodelay", false, "send an ACK for every datagram at once")
	fs.BoolVar(&o.WriteDelay, "writedelay", false, "leave written data to the next flush")
	fs.BoolVar(&o.Congestion, "congestion", false, "limit what is in flight by a congestion window")
	fs.IntVar(&o.WantDSCP, "want-dscp", 0, "lose every datagram that has another DSCP; 0 loses none")
	o.FECChange.register(fs)
	fs.BoolVar(&o.Stream, "stream", true, "let a write extend the last queued segment")
	fs.DurationVar(&o.Linger, "linger", 300*time.Millisecond, "how long a session stays up before Close")
}

// RegisterClient adds what only a dialling peer needs.
func (o *Options) RegisterClient(fs *flag.FlagSet) {
	fs.StringVar(&o.Bind, "bind", "127.0.0.1:0", "local UDP address")
	fs.UintVar(&o.Conv, "conv", 0, "conversation id; 0 draws one")
}

// Validate refuses what no peer can use.
func (o *Options) Validate() error {
	if _, err := FindCipher(o.Crypt); err != nil {
		return err
	}
	if _, ok := arqModes[o.Mode]; !ok {
		return fmt.Errorf("unknown mode %q, want normal|fast|fast2|fast3", o.Mode)
	}
	// kcp-go turns FEC off without a word for every ratio it cannot use, which would make a run test nothing.
	off := o.DataShard == 0 && o.ParityShard == 0
	if !off && !usableRatio(o.DataShard, o.ParityShard) {
		return fmt.Errorf("unusable FEC ratio %d/%d", o.DataShard, o.ParityShard)
	}
	return nil
}

func usableRatio(dataShard, parityShard int) bool {
	return dataShard > 0 && parityShard > 0 && dataShard+parityShard <= 256
}

// Block is the cipher with its key; nil for no cipher at all.
func (o *Options) Block() (kcp.BlockCrypt, error) {
	kind, err := FindCipher(o.Crypt)
	if err != nil {
		return nil, err
	}
	key, err := kind.Key(o.Key)
	if err != nil {
		return nil, err
	}
	return kind.Build(key)
}

// Tune applies the options to a session, dialled or accepted.
func (o *Options) Tune(s *kcp.UDPSession) error {
	mode := arqModes[o.Mode]
	nc := mode.nc
	if o.Congestion {
		nc = 0
	}
	s.SetNoDelay(mode.noDelay, mode.interval, mode.resend, nc)
	s.SetStreamMode(o.Stream)
	s.SetWriteDelay(o.WriteDelay)
	s.SetWindowSize(o.SndWnd, o.RcvWnd)
	s.SetACKNoDelay(o.AckNoDelay)
	if !s.SetMtu(o.MTU) {
		return fmt.Errorf("mtu %d leaves no room for data", o.MTU)
	}
	return nil
}

// Listen serves KCP on a socket this process keeps. With ServeConn, closing the listener leaves the socket open
// for the sessions that are still draining; with ListenWithOptions it would pull it from under them.
func (o *Options) Listen(addr string) (*net.UDPConn, *kcp.Listener, error) {
	block, err := o.Block()
	if err != nil {
		return nil, nil, err
	}
	conn, err := ListenUDP(addr)
	if err != nil {
		return nil, nil, err
	}
	filtered, err := o.filtered(conn)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	listener, err := kcp.ServeConn(block, o.DataShard, o.ParityShard, filtered)
	if err == nil {
		err = o.prepareSocket(listener)
	}
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, listener, nil
}

// filtered is the socket itself unless only datagrams of one DSCP are wanted.
func (o *Options) filtered(conn *net.UDPConn) (net.PacketConn, error) {
	if o.WantDSCP == 0 {
		return conn, nil
	}
	return filterDSCP(conn, o.WantDSCP)
}

// Dial opens a session with the conversation id that was asked for, or a random one.
func (o *Options) Dial(addr string) (*kcp.UDPSession, error) {
	if o.Conv != 0 {
		return o.DialAs(addr, uint32(o.Conv))
	}
	var conv [4]byte
	rand.Read(conv[:])
	return o.DialAs(addr, binary.LittleEndian.Uint32(conv[:]))
}

// DialAs opens a session on a socket of its own. DialWithOptions would bind to all interfaces and choose the id.
func (o *Options) DialAs(addr string, conv uint32) (*kcp.UDPSession, error) {
	block, err := o.Block()
	if err != nil {
		return nil, err
	}
	remote, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	conn, err := ListenUDP(o.Bind)
	if err != nil {
		return nil, err
	}
	filtered, err := o.filtered(conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	session, err := kcp.NewConn4(conv, remote, block, o.DataShard, o.ParityShard, true, filtered)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := errors.Join(o.Tune(session), o.prepareSocket(session)); err != nil {
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

func (o *Options) prepareSocket(s socketOwner) error {
	err := errors.Join(s.SetReadBuffer(o.SockBuf), s.SetWriteBuffer(o.SockBuf))
	if o.DSCP != 0 {
		err = errors.Join(err, s.SetDSCP(o.DSCP))
	}
	return err
}

// ListenUDP opens a socket.
func ListenUDP(addr string) (*net.UDPConn, error) {
	local, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	return net.ListenUDP("udp", local)
}
