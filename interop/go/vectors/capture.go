package vectors

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"

	"kcp-interop/peer"
)

const (
	vectorPassword = "interop vectors"
	// captureLimit is the time limit of a capture.
	captureLimit = 2 * time.Second
	// captureTries is the number of attempts at a capture. Nothing answers the captured client, so that it
	// retransmits in the middle of the script if the machine stalls for one RTO (200 ms). Such a capture is discarded.
	captureTries = 5
)

// link contains the options that both sides of a session share.
type link struct {
	cipher string
	ratio  fecRatio
	conv   uint32
}

func (l link) options() peer.Options {
	return peer.Options{
		// A window of 32 is kcp-go's default too, so that the advertised window is the same whether the first flush
		// happens before or after an accepted session is tuned.
		Crypt: l.cipher, Key: vectorPassword, Mode: "fast3", MTU: 1400, SndWnd: 32, RcvWnd: 32,
		DataShard: l.ratio.data, ParityShard: l.ratio.parity, SockBuf: 1 << 20, Stream: true, Bind: "127.0.0.1:0",
	}
}

// script describes the writes of a captured client.
type script struct {
	name   string
	writes []int
	// coalesce delays writes until the next flush and gives each a segment of its own, so that datagrams carry several
	// segments.
	coalesce bool
}

// vectorStream returns the data that every captured client sends.
func vectorStream(length int) []byte {
	stream := make([]byte, length)
	for i := range stream {
		stream[i] = byte(i*11 + i>>8)
	}
	return stream
}

// captureSession runs a script in a real client, records its datagrams and checks them.
func captureSession(ctx context.Context, l link, s script) (sessionVector, error) {
	var failures error
	for range captureTries {
		vector, err := captureOnce(ctx, l, s)
		if err == nil {
			err = vector.check()
		}
		if err == nil || ctx.Err() != nil {
			return vector, err
		}
		failures = errors.Join(failures, err)
	}
	return sessionVector{}, failures
}

func captureOnce(ctx context.Context, l link, s script) (sessionVector, error) {
	var vector sessionVector
	peer, err := peer.ListenUDP("127.0.0.1:0")
	if err != nil {
		return vector, err
	}
	defer peer.Close()
	stop := context.AfterFunc(ctx, func() { peer.Close() })
	defer stop()
	o := l.options()
	session, err := o.DialAs(peer.LocalAddr().String(), l.conv)
	if err != nil {
		return vector, err
	}
	defer session.Close()
	// The peer never acknowledges, so that a script longer than the window would block for ever.
	if err := session.SetWriteDeadline(time.Now().Add(captureLimit)); err != nil {
		return vector, err
	}
	session.SetWriteDelay(s.coalesce)
	session.SetStreamMode(!s.coalesce)

	if vector, err = newSessionVector(l, s); err != nil {
		return vector, err
	}
	left := vectorStream(vector.StreamLen)
	for _, length := range s.writes {
		if _, err := session.Write(left[:length]); err != nil {
			return vector, err
		}
		left = left[length:]
	}
	vector.Datagrams, err = collect(peer, vector.complete)
	return vector, err
}

// collect reads datagrams until they are complete.
func collect(conn *net.UDPConn, complete func(datagrams []hexBytes) (bool, error)) ([]hexBytes, error) {
	var datagrams []hexBytes
	if err := conn.SetReadDeadline(time.Now().Add(captureLimit)); err != nil {
		return nil, err
	}
	buf := make([]byte, packetMaxLen)
	for {
		n, _, err := conn.ReadFromUDP(buf)
		if err != nil {
			return datagrams, fmt.Errorf("after %d datagrams: %w", len(datagrams), err)
		}
		datagrams = append(datagrams, bytes.Clone(buf[:n]))
		if done, err := complete(datagrams); done || err != nil {
			return datagrams, err
		}
	}
}

// exchange sends one datagram to a new server and records the answers until all wanted segments have arrived.
func exchange(ctx context.Context, l link, name string, sent []segment, wanted []segment) (exchangeVector, error) {
	vector, err := newExchangeVector(l, name)
	if err != nil {
		return vector, err
	}
	o := l.options()
	conn, listener, err := o.Listen("127.0.0.1:0")
	if err != nil {
		return vector, err
	}
	defer conn.Close()
	defer listener.Close()
	go acceptSilently(listener, &o)

	peer, err := peer.ListenUDP("127.0.0.1:0")
	if err != nil {
		return vector, err
	}
	defer peer.Close()
	stop := context.AfterFunc(ctx, func() { peer.Close() })
	defer stop()

	e, err := l.envelope()
	if err != nil {
		return vector, err
	}
	for _, s := range sent {
		vector.SentKCP = append(vector.SentKCP, s.encode()...)
	}
	payload := []byte(vector.SentKCP)
	if l.ratio.group() > 0 {
		payload = fecDataPacket(0, payload)
	}
	vector.Sent = e.seal(vectorNonce(e.nonceLen(), len(payload)), payload)
	if _, err := peer.WriteTo(vector.Sent, conn.LocalAddr()); err != nil {
		return vector, err
	}
	vector.Received, err = collect(peer, func(datagrams []hexBytes) (bool, error) {
		got, err := l.segments(datagrams)
		return len(got) >= len(wanted), err
	})
	if err != nil {
		return vector, err
	}
	if err := vector.unwrap(l); err != nil {
		return vector, err
	}
	return vector, vector.check(l, wanted)
}

// acceptSilently accepts sessions and never reads from them, so that they send only what the protocol requires.
func acceptSilently(listener *kcp.Listener, o *peer.Options) {
	for {
		session, err := listener.AcceptKCP()
		if err != nil {
			return
		}
		if err := o.Tune(session); err != nil {
			return
		}
	}
}

func (l link) envelope() (envelope, error) {
	o := l.options()
	block, err := o.Block()
	return envelope{block}, err
}

// unwrap opens datagrams and removes FEC headers. Packets without KCP segments (parity, out of band) have no entry in
// payloads.
func (l link) unwrap(datagrams []hexBytes) (payloads [][]byte, packets []fecPacket, err error) {
	e, err := l.envelope()
	if err != nil {
		return nil, nil, err
	}
	for i, datagram := range datagrams {
		nonce, payload, err := e.open(datagram)
		if err != nil {
			return nil, nil, fmt.Errorf("datagram %d: %w", i, err)
		}
		// Sealing the same payload must give the same bytes. This proves that the constructed packets of ciphers.json
		// have the framing of real ones.
		if !bytes.Equal(e.seal(nonce, payload), datagram) {
			return nil, nil, fmt.Errorf("datagram %d has other framing than the constructed one", i)
		}
		if l.ratio.group() == 0 {
			payloads = append(payloads, payload)
			continue
		}
		packet, err := parseFEC(payload)
		if err != nil {
			return nil, nil, fmt.Errorf("datagram %d: %w", i, err)
		}
		packets = append(packets, packet)
		if packet.kind == fecData {
			payloads = append(payloads, payload[fecDataStart:])
		}
	}
	return payloads, packets, nil
}

func (l link) segments(datagrams []hexBytes) ([]segment, error) {
	payloads, _, err := l.unwrap(datagrams)
	if err != nil {
		return nil, err
	}
	var all []segment
	for _, payload := range payloads {
		segments, err := parseSegments(payload)
		if err != nil {
			return nil, err
		}
		all = append(all, segments...)
	}
	return all, nil
}

// complete returns whether the datagrams contain the whole stream and only whole FEC groups.
func (v *sessionVector) complete(datagrams []hexBytes) (bool, error) {
	l := v.link()
	segments, err := l.segments(datagrams)
	if err != nil {
		return false, err
	}
	total := 0
	for _, s := range segments {
		total += len(s.data)
	}
	return total >= v.StreamLen && l.ratio.wholeGroups(len(datagrams)), nil
}

// check compares a recorded session with the script: framing, parity, segments and data.
func (v *sessionVector) check() error {
	l := v.link()
	_, packets, err := l.unwrap(v.Datagrams)
	if err != nil {
		return err
	}
	if err := checkGroups(l.ratio, packets); err != nil {
		return err
	}
	segments, err := l.segments(v.Datagrams)
	if err != nil {
		return err
	}
	var stream []byte
	for i, s := range segments {
		if s.conv != v.Conv || s.cmd != kcp.IKCP_CMD_PUSH || s.frg != 0 || s.sn != uint32(i) {
			return fmt.Errorf("segment %d: conv %#x cmd %d frg %d sn %d", i, s.conv, s.cmd, s.frg, s.sn)
		}
		stream = append(stream, s.data...)
	}
	sum := sha256.Sum256(stream)
	if len(stream) != v.StreamLen || !bytes.Equal(sum[:], v.StreamSHA256) {
		return fmt.Errorf("the segments carry %d bytes with SHA-256 %x", len(stream), sum)
	}
	return nil
}

// unwrap fills in the KCP bytes of what was received.
func (v *exchangeVector) unwrap(l link) error {
	payloads, _, err := l.unwrap(v.Received)
	for _, payload := range payloads {
		v.ReceivedKCP = append(v.ReceivedKCP, payload)
	}
	return err
}

// check compares the answer with the wanted segments, except for the window, which it does not check.
func (v *exchangeVector) check(l link, wanted []segment) error {
	got, err := l.segments(v.Received)
	if err != nil {
		return err
	}
	if len(got) != len(wanted) {
		return fmt.Errorf("%s: got %d segments, want %d", v.Name, len(got), len(wanted))
	}
	for i, s := range got {
		want := wanted[i]
		want.wnd = s.wnd
		if !bytes.Equal(s.encode(), want.encode()) {
			return fmt.Errorf("%s: segment %d is %+v, want %+v", v.Name, i, s, want)
		}
	}
	return nil
}
