package vectors

import (
	"bytes"
	"fmt"

	"kcp-interop/peer"
)

type cipherVectors struct {
	Source  string         `json:"source"`
	Layouts []string       `json:"layouts"`
	Payload string         `json:"payload"`
	Nonce   string         `json:"nonce"`
	Ciphers []cipherVector `json:"ciphers"`
}

type cipherVector struct {
	Cipher   string         `json:"cipher"`
	Layout   string         `json:"layout"`
	Key      hexBytes       `json:"key"`
	NonceLen int            `json:"nonce_len"`
	Packets  []packetVector `json:"packets"`
}

type packetVector struct {
	Len    int      `json:"len"`
	Packet hexBytes `json:"packet"`
}

// vectorPayload and vectorNonce are formulas, so that the file need not contain payloads and nonces.
func vectorPayload(length int) []byte {
	payload := make([]byte, length)
	for i := range payload {
		payload[i] = byte(i*7 + length)
	}
	return payload
}

func vectorNonce(nonceLen, payloadLen int) []byte {
	nonce := make([]byte, nonceLen)
	for i := range nonce {
		nonce[i] = byte(i*13 + payloadLen*3 + 1)
	}
	return nonce
}

// vectorKey returns a different key for every cipher. No byte repeats within a key, so that a wrong offset is detected.
func vectorKey(cipher string, length int) []byte {
	key := make([]byte, length)
	for i := range key {
		key[i] = byte(i*29 + len(cipher)*17 + int(cipher[0]))
	}
	return key
}

// extraKeyLens are further key lengths of ciphers with variable key length.
var extraKeyLens = map[string][]int{
	"twofish":  {16, 24},
	"blowfish": {1, 16, 56},
	"xor":      {5},
}

func makeCipherVectors() (cipherVectors, error) {
	vectors := cipherVectors{
		Source: vectorSource(),
		Layouts: []string{
			"bare: payload",
			"crc: encrypt(nonce 16 | crc32 of payload, little endian | payload)",
			"aead: nonce 12 | ciphertext | tag 16",
		},
		Payload: "byte i = (i*7 + len) & 0xff",
		Nonce:   "byte i = (i*13 + len*3 + 1) & 0xff",
	}
	for _, kind := range peer.CipherKinds {
		vector, err := makeCipherVector(kind, kind.KeyLen, fullPayloadLens())
		if err != nil {
			return vectors, err
		}
		vectors.Ciphers = append(vectors.Ciphers, vector)
		for _, keyLen := range extraKeyLens[kind.Name] {
			vector, err := makeCipherVector(kind, keyLen, []int{0, 1, 7, 44, 108, 1380})
			if err != nil {
				return vectors, err
			}
			vectors.Ciphers = append(vectors.Ciphers, vector)
		}
	}
	return vectors, nil
}

// fullPayloadLens returns every length up to 64, then lengths at which the packet (payload + 20) or the payload is near a
// boundary of one or eight blocks, then typical sizes up to the longest packet of each layout.
func fullPayloadLens() []int {
	var lens []int
	for length := range 65 {
		lens = append(lens, length)
	}
	return append(lens,
		79, 80, 81, 107, 108, 109, 127, 128, 129, 235, 236, 237, 255, 256, 257,
		576, 1004, 1348, 1379, 1380, 1472, 1480, 1500)
}

func makeCipherVector(kind peer.CipherKind, keyLen int, lens []int) (cipherVector, error) {
	key := vectorKey(kind.Name, keyLen)
	block, err := kind.Build(key)
	if err != nil {
		return cipherVector{}, fmt.Errorf("%s: %w", kind.Name, err)
	}
	e := envelope{block}
	vector := cipherVector{Cipher: kind.Name, Layout: e.layout(), Key: key, NonceLen: e.nonceLen()}
	for _, length := range lens {
		if length+e.overhead() > packetMaxLen {
			continue
		}
		nonce, payload := vectorNonce(e.nonceLen(), length), vectorPayload(length)
		packet := e.seal(nonce, payload)
		gotNonce, got, err := e.open(packet)
		if err != nil || !bytes.Equal(got, payload) || !bytes.Equal(gotNonce, nonce) {
			return vector, fmt.Errorf("%s: cannot open a packet with a payload of %d bytes: %w", kind.Name, length, err)
		}
		vector.Packets = append(vector.Packets, packetVector{length, packet})
	}
	return vector, nil
}
