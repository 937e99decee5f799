package vectors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	kcp "github.com/xtaci/kcp-go/v5"
)

// Lengths of the fields in front of a payload with a cipher that is not an AEAD, and the limit of a packet, in bytes.
const (
	packetNonceLen = 16
	packetCRCLen   = 4
	packetMaxLen   = 1500
)

// aeadCrypt has the exported methods of the unexported type that NewAESGCMCrypt and NewAEADCrypt return.
type aeadCrypt interface {
	Seal(dst, nonce, plaintext, additionalData []byte) []byte
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
	NonceSize() int
	Overhead() int
}

// envelope seals and opens UDP payloads like a session with this cipher. The ciphers are kcp-go's; only the framing is
// reimplemented here, and captures of real sessions verify it.
type envelope struct{ block kcp.BlockCrypt }

func (e envelope) nonceLen() int {
	switch block := e.block.(type) {
	case nil:
		return 0
	case aeadCrypt:
		return block.NonceSize()
	default:
		return packetNonceLen
	}
}

// overhead returns the number of bytes that a packet has in addition to its payload.
func (e envelope) overhead() int {
	switch block := e.block.(type) {
	case nil:
		return 0
	case aeadCrypt:
		return block.NonceSize() + block.Overhead()
	default:
		return packetNonceLen + packetCRCLen
	}
}

func (e envelope) layout() string {
	switch e.block.(type) {
	case nil:
		return "bare"
	case aeadCrypt:
		return "aead"
	default:
		return "crc"
	}
}

func (e envelope) seal(nonce, payload []byte) []byte {
	// kcp-go's Seal panics unless the destination has room for the tag.
	packet := make([]byte, 0, e.overhead()+len(payload))
	switch block := e.block.(type) {
	case nil:
		return append(packet, payload...)
	case aeadCrypt:
		return block.Seal(append(packet, nonce...), nonce, payload, nil)
	default:
		packet = append(packet, nonce...)
		packet = binary.LittleEndian.AppendUint32(packet, crc32.ChecksumIEEE(payload))
		packet = append(packet, payload...)
		block.Encrypt(packet, packet)
		return packet
	}
}

func (e envelope) open(packet []byte) (nonce, payload []byte, err error) {
	if len(packet) < e.overhead() {
		return nil, nil, fmt.Errorf("packet of %d bytes is too short", len(packet))
	}
	switch block := e.block.(type) {
	case nil:
		return nil, packet, nil
	case aeadCrypt:
		nonce, sealed := packet[:block.NonceSize()], packet[block.NonceSize():]
		payload, err := block.Open(nil, nonce, sealed, nil)
		return nonce, payload, err
	default:
		plain := make([]byte, len(packet))
		block.Decrypt(plain, packet)
		payload := plain[packetNonceLen+packetCRCLen:]
		if binary.LittleEndian.Uint32(plain[packetNonceLen:]) != crc32.ChecksumIEEE(payload) {
			return nil, nil, errors.New("checksum does not match")
		}
		return plain[:packetNonceLen], payload, nil
	}
}

// Packet types of the FEC header, and offsets of its fields.
const (
	fecData       = 0xf1
	fecParity     = 0xf2
	fecOutOfBand  = 0xf3
	fecShardStart = 6
	fecDataStart  = 8
)

// fecPacket is a payload that starts with an FEC header.
type fecPacket struct {
	seqid uint32
	kind  uint16
	// shard is the input of Reed-Solomon: everything from the size field on.
	shard []byte
}

func parseFEC(payload []byte) (fecPacket, error) {
	if len(payload) < fecDataStart {
		return fecPacket{}, fmt.Errorf("payload of %d bytes has no FEC header", len(payload))
	}
	p := fecPacket{
		seqid: binary.LittleEndian.Uint32(payload),
		kind:  binary.LittleEndian.Uint16(payload[4:]),
		shard: payload[fecShardStart:],
	}
	if p.kind < fecData || p.kind > fecOutOfBand {
		return p, fmt.Errorf("unknown FEC type %#x", p.kind)
	}
	if size := int(binary.LittleEndian.Uint16(p.shard)); p.kind != fecParity && size != len(p.shard) {
		return p, fmt.Errorf("size field is %d, but the shard has %d bytes", size, len(p.shard))
	}
	return p, nil
}

// fecDataPacket returns the payload of a data packet that carries these KCP segments.
func fecDataPacket(seqid uint32, segments []byte) []byte {
	payload := binary.LittleEndian.AppendUint32(nil, seqid)
	payload = binary.LittleEndian.AppendUint16(payload, fecData)
	return append(payload, fecShard(segments)...)
}

func fecShard(segments []byte) []byte {
	// The size includes its own two bytes.
	shard := binary.LittleEndian.AppendUint16(nil, uint16(2+len(segments)))
	return append(shard, segments...)
}

const segmentHeaderLen = 24

// segment is one KCP segment.
type segment struct {
	conv uint32
	cmd  uint8
	frg  uint8
	wnd  uint16
	ts   uint32
	sn   uint32
	una  uint32
	data []byte
}

func (s segment) encode() []byte {
	out := binary.LittleEndian.AppendUint32(nil, s.conv)
	out = append(out, s.cmd, s.frg)
	out = binary.LittleEndian.AppendUint16(out, s.wnd)
	for _, field := range []uint32{s.ts, s.sn, s.una, uint32(len(s.data))} {
		out = binary.LittleEndian.AppendUint32(out, field)
	}
	return append(out, s.data...)
}

func parseSegments(b []byte) ([]segment, error) {
	var segments []segment
	for len(b) > 0 {
		if len(b) < segmentHeaderLen {
			return nil, fmt.Errorf("%d bytes after the last segment", len(b))
		}
		s := segment{
			conv: binary.LittleEndian.Uint32(b), cmd: b[4], frg: b[5],
			wnd: binary.LittleEndian.Uint16(b[6:]),
			ts:  binary.LittleEndian.Uint32(b[8:]),
			sn:  binary.LittleEndian.Uint32(b[12:]),
			una: binary.LittleEndian.Uint32(b[16:]),
		}
		length := uint64(binary.LittleEndian.Uint32(b[20:]))
		b = b[segmentHeaderLen:]
		if length > uint64(len(b)) {
			return nil, fmt.Errorf("segment length is %d, but %d bytes are left", length, len(b))
		}
		s.data, b = b[:length], b[length:]
		segments = append(segments, s)
	}
	return segments, nil
}
