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

// Options are the flags of all peers, with kcptun's names and meanings.
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

// arqMode is a preset of kcptun: the four arguments of SetNoDelay.
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
	fs.StringVar(&o.Key, "key", "it's a secrect", "password, the same on both sides (the default is kcptun's, with its spelling)")
	fs.StringVar(&o.Mode, "mode", "fast", "normal|fast|fast2|fast3")
	fs.IntVar(&o.MTU, "mtu", 1400, "largest UDP payload in bytes")
	fs.IntVar(&o.SndWnd, "sndwnd", 1024, "send window in segments")
	fs.IntVar(&o.RcvWnd, "rcvwnd", 1024, "receive window in segments")
	fs.IntVar(&o.DataShard, "datashard", 0, "FEC data shards; 0 with --parityshard 0 turns FEC off")
	fs.IntVar(&o.ParityShard, "parityshard", 0, "FEC parity shards")
	fs.IntVar(&o.DSCP, "dscp", 0, "DSCP of outgoing packets; 0 keeps the system's default")
	fs.IntVar(&o.SockBuf, "sockbuf", 4194304, "socket buffer in bytes, for each direction")
	fs.BoolVar(&o.AckNoDelay, "acknodelay", false, "send an ACK for every datagram at once")
	fs.BoolVar(&o.WriteDelay, "writedelay", false, "send written data at the next flush")
	fs.BoolVar(&o.Congestion, "congestion", false, "enable the congestion window")
	fs.IntVar(&o.WantDSCP, "want-dscp", 0, "drop received datagrams with another DSCP; 0 drops none; Linux only")
	o.FECChange.register(fs)
	fs.BoolVar(&o.Stream, "stream", true, "stream mode: a write may extend the last queued segment")
	fs.DurationVar(&o.Linger, "linger", 300*time.Millisecond, "delay before a session is closed, in which it still retransmits")
}

// RegisterClient adds the flags of clients.
func (o *Options) RegisterClient(fs *flag.FlagSet) {
	fs.StringVar(&o.Bind, "bind", "127.0.0.1:0", "local UDP address")
	fs.UintVar(&o.Conv, "conv", 0, "conversation id; 0 draws a random one")
}

// Validate checks the options that kcp-go does not check itself.
func (o *Options) Validate() error {
	if _, err := FindCipher(o.Crypt); err != nil {
		return err
	}
	if _, ok := arqModes[o.Mode]; !ok {
		return fmt.Errorf("unknown mode %q; allowed: normal|fast|fast2|fast3", o.Mode)
	}
	// kcp-go silently turns FEC off for a ratio that it cannot use, and the run would then not test FEC.
	off := o.DataShard == 0 && o.ParityShard == 0
	if !off && !usableRatio(o.DataShard, o.ParityShard) {
		return fmt.Errorf("FEC ratio is %d/%d; allowed: 0/0 (off), or at least 1 each and at most 256 together", o.DataShard, o.ParityShard)
	}
	return nil
}

func usableRatio(dataShard, parityShard int) bool {
	return dataShard > 0 && parityShard > 0 && dataShard+parityShard <= 256
}

// Block returns the cipher with its key, or nil for "null".
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
		return fmt.Errorf("mtu is %d, which leaves no room for data", o.MTU)
	}
	return nil
}

// Listen serves KCP on a socket that the caller owns. Closing a listener from ServeConn leaves the socket open for
// sessions that are still draining; a listener from ListenWithOptions would close it.
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

// filtered wraps the socket in a filter if --want-dscp is given.
func (o *Options) filtered(conn *net.UDPConn) (net.PacketConn, error) {
	if o.WantDSCP == 0 {
		return conn, nil
	}
	return filterDSCP(conn, o.WantDSCP)
}

// Dial opens a session with the conversation id of the options, or a random one.
func (o *Options) Dial(addr string) (*kcp.UDPSession, error) {
	if o.Conv != 0 {
		return o.DialAs(addr, uint32(o.Conv))
	}
	var conv [4]byte
	rand.Read(conv[:])
	return o.DialAs(addr, binary.LittleEndian.Uint32(conv[:]))
}

// DialAs opens a session on a socket of its own. DialWithOptions would bind to all interfaces and draw the id.
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

// socketOwner is a listener or a dialled session: both have methods that configure the UDP socket.
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
