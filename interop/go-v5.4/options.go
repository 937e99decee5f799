package main

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"time"

	kcp "github.com/xtaci/kcp-go"
)

// options are the flags of both peers, with kcptun's names and meanings.
type options struct {
	crypt       string
	key         string
	mode        string
	mtu         int
	sndWnd      int
	rcvWnd      int
	dataShard   int
	parityShard int
	stream      bool
	writeDelay  bool
	congestion  bool
	ackNoDelay  bool
	bind        string
	linger      time.Duration
}

func (o *options) register(fs *flag.FlagSet) {
	fs.StringVar(&o.crypt, "crypt", "aes", "cipher, by kcptun's name")
	fs.StringVar(&o.key, "key", "it's a secrect", "password, the same on both sides")
	fs.StringVar(&o.mode, "mode", "fast", "normal|fast|fast2|fast3")
	fs.IntVar(&o.mtu, "mtu", 1400, "largest UDP payload in bytes")
	fs.IntVar(&o.sndWnd, "sndwnd", 1024, "send window in segments")
	fs.IntVar(&o.rcvWnd, "rcvwnd", 1024, "receive window in segments")
	fs.IntVar(&o.dataShard, "datashard", 0, "FEC data shards; 0 with --parityshard 0 turns FEC off")
	fs.IntVar(&o.parityShard, "parityshard", 0, "FEC parity shards")
	fs.BoolVar(&o.stream, "stream", true, "stream mode: a write may extend the last queued segment")
	fs.BoolVar(&o.writeDelay, "writedelay", false, "send written data at the next flush")
	fs.BoolVar(&o.congestion, "congestion", false, "enable the congestion window")
	fs.BoolVar(&o.ackNoDelay, "acknodelay", false, "send an ACK for every datagram at once")
	fs.StringVar(&o.bind, "bind", "127.0.0.1:0", "local UDP address of a client")
	fs.DurationVar(&o.linger, "linger", 300*time.Millisecond, "delay before a session is closed, in which it still retransmits")
}

// ciphers maps kcptun's names to key lengths and constructors.
var ciphers = map[string]struct {
	keyLen int
	build  func(key []byte) (kcp.BlockCrypt, error)
}{
	"null":     {0, func([]byte) (kcp.BlockCrypt, error) { return nil, nil }},
	"none":     {0, kcp.NewNoneBlockCrypt},
	"aes-128":  {16, kcp.NewAESBlockCrypt},
	"aes-192":  {24, kcp.NewAESBlockCrypt},
	"aes":      {32, kcp.NewAESBlockCrypt},
	"salsa20":  {32, kcp.NewSalsa20BlockCrypt},
	"sm4":      {16, kcp.NewSM4BlockCrypt},
	"twofish":  {32, kcp.NewTwofishBlockCrypt},
	"3des":     {24, kcp.NewTripleDESBlockCrypt},
	"cast5":    {16, kcp.NewCast5BlockCrypt},
	"blowfish": {32, kcp.NewBlowfishBlockCrypt},
	"tea":      {16, kcp.NewTEABlockCrypt},
	"xtea":     {16, kcp.NewXTEABlockCrypt},
	"xor":      {32, kcp.NewSimpleXORBlockCrypt},
}

// block returns the cipher with its key, derived like kcptun's.
func (o *options) block() (kcp.BlockCrypt, error) {
	cipher, ok := ciphers[o.crypt]
	if !ok {
		return nil, fmt.Errorf("kcp-go v5.4.20 has no cipher %q", o.crypt)
	}
	key, err := pbkdf2.Key(sha1.New, o.key, []byte("kcp-go"), 4096, 32)
	if err != nil {
		return nil, err
	}
	return cipher.build(key[:cipher.keyLen])
}

// modes are kcptun's presets: the four arguments of SetNoDelay.
var modes = map[string][4]int{
	"normal": {0, 40, 2, 1},
	"fast":   {0, 30, 2, 1},
	"fast2":  {1, 20, 2, 1},
	"fast3":  {1, 10, 2, 1},
}

// tune applies the options to a session, dialled or accepted.
func (o *options) tune(s *kcp.UDPSession) error {
	mode, ok := modes[o.mode]
	if !ok {
		return fmt.Errorf("unknown mode %q; allowed: normal|fast|fast2|fast3", o.mode)
	}
	if o.congestion {
		mode[3] = 0
	}
	s.SetNoDelay(mode[0], mode[1], mode[2], mode[3])
	s.SetACKNoDelay(o.ackNoDelay)
	s.SetStreamMode(o.stream)
	s.SetWriteDelay(o.writeDelay)
	s.SetWindowSize(o.sndWnd, o.rcvWnd)
	if !s.SetMtu(o.mtu) {
		return fmt.Errorf("mtu is %d, which leaves no room for data", o.mtu)
	}
	return nil
}

// socketBuffer is the size of the socket buffer to request for each direction, in bytes.
const socketBuffer = 4 << 20

func (o *options) listen(addr string) (*net.UDPConn, *kcp.Listener, error) {
	block, err := o.block()
	if err != nil {
		return nil, nil, err
	}
	conn, err := listenUDP(addr)
	if err != nil {
		return nil, nil, err
	}
	listener, err := kcp.ServeConn(block, o.dataShard, o.parityShard, conn)
	return conn, listener, err
}

// dial opens a session with a random conversation id, on a socket of its own.
func (o *options) dial(addr string) (*kcp.UDPSession, error) {
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
	var conv [4]byte
	rand.Read(conv[:])
	id := binary.LittleEndian.Uint32(conv[:])
	session, err := kcp.NewConn3(id, remote, block, o.dataShard, o.parityShard, conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return session, o.tune(session)
}

func listenUDP(addr string) (*net.UDPConn, error) {
	local, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", local)
	if err != nil {
		return nil, err
	}
	return conn, errors.Join(conn.SetReadBuffer(socketBuffer), conn.SetWriteBuffer(socketBuffer))
}
