package vectors

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	kcp "github.com/xtaci/kcp-go/v5"

	"kcp-interop/peer"
)

type datagramVectors struct {
	Source    string           `json:"source"`
	Note      string           `json:"note"`
	Stream    string           `json:"stream"`
	Sessions  []sessionVector  `json:"sessions"`
	Exchanges []exchangeVector `json:"exchanges"`
	OutOfBand []oobVector      `json:"out_of_band"`
}

// linkVector is the part of every record that is needed to decode it.
type linkVector struct {
	Name         string   `json:"name"`
	Cipher       string   `json:"cipher"`
	Password     string   `json:"password"`
	Key          hexBytes `json:"key"`
	DataShards   int      `json:"data_shards"`
	ParityShards int      `json:"parity_shards"`
	MTU          int      `json:"mtu"`
	Conv         uint32   `json:"conv"`
}

type sessionVector struct {
	linkVector
	Writes       []int      `json:"writes"`
	StreamLen    int        `json:"stream_len"`
	StreamSHA256 hexBytes   `json:"stream_sha256"`
	Datagrams    []hexBytes `json:"datagrams"`
}

type exchangeVector struct {
	linkVector
	Sent        hexBytes   `json:"sent"`
	SentKCP     hexBytes   `json:"sent_kcp"`
	Received    []hexBytes `json:"received"`
	ReceivedKCP []hexBytes `json:"received_kcp"`
}

type oobVector struct {
	linkVector
	Payload  hexBytes `json:"payload"`
	Datagram hexBytes `json:"datagram"`
}

func newLinkVector(l link, name string) (linkVector, error) {
	kind, err := peer.FindCipher(l.cipher)
	if err != nil {
		return linkVector{}, err
	}
	o := l.options()
	key, err := kind.Key(o.Key)
	return linkVector{name, l.cipher, o.Key, key, l.ratio.data, l.ratio.parity, o.MTU, l.conv}, err
}

func (v linkVector) link() link {
	return link{v.Cipher, fecRatio{v.DataShards, v.ParityShards}, v.Conv}
}

func newSessionVector(l link, s script) (sessionVector, error) {
	common, err := newLinkVector(l, s.name)
	v := sessionVector{linkVector: common, Writes: s.writes}
	for _, length := range s.writes {
		v.StreamLen += length
	}
	sum := sha256.Sum256(vectorStream(v.StreamLen))
	v.StreamSHA256 = sum[:]
	return v, err
}

func newExchangeVector(l link, name string) (exchangeVector, error) {
	common, err := newLinkVector(l, name)
	return exchangeVector{linkVector: common}, err
}

// fecCiphers are recorded with every FEC ratio. The other ciphers are recorded without FEC only, which suffices to prove
// their framing.
var fecCiphers = []string{
	"null", "none", "aes-128", "aes-192", "aes", "salsa20",
	"aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "chacha20-poly1305",
}

func makeDatagramVectors(ctx context.Context) (datagramVectors, error) {
	vectors := datagramVectors{
		Source: vectorSource(),
		Note: "Captured from real sessions: nonces and timestamps differ with each run. " +
			"key is the password run through kcptun's derivation and cut to the cipher's length.",
		Stream: "byte i = (i*11 + (i>>8)) & 0xff",
	}
	conv := uint32(0x4b435000)
	next := func(cipher string, ratio fecRatio) link {
		conv++
		return link{cipher, ratio, conv}
	}
	for _, kind := range peer.CipherKinds {
		ratios := []fecRatio{{}}
		if slices.Contains(fecCiphers, kind.Name) {
			ratios = []fecRatio{{}, {10, 3}, {2, 1}}
		}
		for _, ratio := range ratios {
			vector, err := captureSession(ctx, next(kind.Name, ratio), steadyWrites(ratio))
			if err != nil {
				return vectors, fmt.Errorf("session %s %d/%d: %w", kind.Name, ratio.data, ratio.parity, err)
			}
			vectors.Sessions = append(vectors.Sessions, vector)
		}
	}
	for _, cipher := range []string{"null", "aes", "aes-256-gcm"} {
		vector, err := captureSession(ctx, next(cipher, fecRatio{}), coalescedWrites())
		if err != nil {
			return vectors, fmt.Errorf("coalesced session %s: %w", cipher, err)
		}
		vectors.Sessions = append(vectors.Sessions, vector)
	}
	for _, cipher := range fecCiphers {
		for _, ratio := range []fecRatio{{}, {10, 3}} {
			exchanges, err := captureExchanges(ctx, next(cipher, ratio))
			if err != nil {
				return vectors, fmt.Errorf("exchange %s %d/%d: %w", cipher, ratio.data, ratio.parity, err)
			}
			vectors.Exchanges = append(vectors.Exchanges, exchanges...)
		}
	}
	for _, cipher := range []string{"null", "aes", "aes-256-gcm"} {
		vector, err := captureOOB(next(cipher, fecRatio{10, 3}))
		if err != nil {
			return vectors, fmt.Errorf("out of band %s: %w", cipher, err)
		}
		vectors.OutOfBand = append(vectors.OutOfBand, vector)
	}
	return vectors, nil
}

// steadyWrites makes one segment per datagram: each write is flushed at once, and the first, which is longer than a
// segment, is split in two. With FEC the segments fill whole groups.
func steadyWrites(ratio fecRatio) script {
	segments := 15
	if ratio.group() > 0 {
		// Stays below 32 segments, the window that a client assumes until its peer advertises one.
		segments = ratio.data * (20 / ratio.data)
	}
	writes := []int{1500}
	for i := range segments - 2 {
		writes = append(writes, 1+i*37%181)
	}
	return script{name: "steady", writes: writes}
}

func coalescedWrites() script {
	return script{name: "coalesced", writes: []int{1, 2, 3, 50, 400, 400, 400, 400, 7, 16, 100, 1}, coalesce: true}
}

// captureExchanges sends each request to a server once and checks the answer.
func captureExchanges(ctx context.Context, l link) ([]exchangeVector, error) {
	const ts = 0xdeadbeef // Far from the server's clock, so that an echoed timestamp differs from its own time.
	push := func(sn uint32, data string) segment {
		return segment{conv: l.conv, cmd: kcp.IKCP_CMD_PUSH, wnd: 128, ts: ts + sn, sn: sn, data: []byte(data)}
	}
	ack := func(sn, una uint32) segment {
		return segment{conv: l.conv, cmd: kcp.IKCP_CMD_ACK, ts: ts + sn, sn: sn, una: una}
	}
	ask := segment{conv: l.conv, cmd: kcp.IKCP_CMD_WASK, wnd: 128, ts: ts}
	// kcp-go reuses the header of the ACKs flushed before for a WINS: ts and sn are those of the last ACK, or zero
	// without one. A WINS never contains the server's clock.
	tell := segment{conv: l.conv, cmd: kcp.IKCP_CMD_WINS}
	tellAfterAck := ack(0, 1)
	tellAfterAck.cmd = kcp.IKCP_CMD_WINS
	update := segment{conv: l.conv, cmd: kcp.IKCP_CMD_WINS, wnd: 128, ts: ts, data: []byte("ignored")}

	var vectors []exchangeVector
	for _, question := range []struct {
		name         string
		sent, wanted []segment
	}{
		{"probe", []segment{ask}, []segment{tell}},
		{"push", []segment{push(0, "first")}, []segment{ack(0, 1)}},
		{"push out of order", []segment{push(1, "second")}, []segment{ack(1, 0)}},
		// Only ACKs at or above una, and the last one, are sent: una acknowledges the rest.
		{"two pushes", []segment{push(0, "first"), push(1, "second")}, []segment{ack(1, 2)}},
		{"push with a gap", []segment{push(0, "first"), push(2, "third"), push(4, "fifth")}, []segment{ack(2, 1), ack(4, 1)}},
		{"push and probe", []segment{push(0, "first"), ask}, []segment{ack(0, 1), tellAfterAck}},
		{"window update with payload, then push", []segment{update, push(0, "first")}, []segment{ack(0, 1)}},
	} {
		vector, err := exchange(ctx, l, question.name, question.sent, question.wanted)
		if err != nil {
			return vectors, err
		}
		vectors = append(vectors, vector)
	}
	return vectors, nil
}

// captureOOB records one out-of-band packet.
func captureOOB(l link) (oobVector, error) {
	common, err := newLinkVector(l, "out of band")
	vector := oobVector{linkVector: common, Payload: vectorPayload(40)}
	if err != nil {
		return vector, err
	}
	peer, err := peer.ListenUDP("127.0.0.1:0")
	if err != nil {
		return vector, err
	}
	defer peer.Close()
	o := l.options()
	session, err := o.DialAs(peer.LocalAddr().String(), l.conv)
	if err != nil {
		return vector, err
	}
	defer session.Close()
	if err := session.SendOOB(vector.Payload); err != nil {
		return vector, err
	}
	got, err := collect(peer, func([]hexBytes) (bool, error) { return true, nil })
	if err != nil {
		return vector, err
	}
	vector.Datagram = got[0]
	return vector, vector.check()
}

func (v oobVector) check() error {
	_, packets, err := v.link().unwrap([]hexBytes{v.Datagram})
	if err != nil {
		return err
	}
	want := fecShard(append(segment{conv: v.Conv}.encode()[:4], v.Payload...))
	if p := packets[0]; p.kind != fecOutOfBand || p.seqid != 0xffffffff || !slices.Equal(p.shard, want) {
		return fmt.Errorf("kind %#x seqid %#x shard %x, want %x", p.kind, p.seqid, p.shard, want)
	}
	return nil
}
