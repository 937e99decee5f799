package main

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"fmt"
	"slices"
	"strings"

	kcp "github.com/xtaci/kcp-go/v5"
	"golang.org/x/crypto/chacha20poly1305"
)

// kcptun's key derivation. The numbers are its wire contract: both ends start from the password and must reach
// the same bytes.
const (
	kcptunSalt   = "kcp-go"
	kcptunRounds = 4096
	kcptunKeyLen = 32
)

// cipherKind is one value of --crypt.
type cipherKind struct {
	name string
	// keyLen is how many leading bytes of the derived key the cipher takes; 0 means it takes none.
	keyLen int
	build  func(key []byte) (kcp.BlockCrypt, error)
}

// cipherKinds lists every cipher kcp-go can be given, in the order the vectors are written.
var cipherKinds = []cipherKind{
	// A nil BlockCrypt drops the nonce and checksum as well; "none" keeps both and encrypts nothing.
	{"null", 0, func([]byte) (kcp.BlockCrypt, error) { return nil, nil }},
	{"none", 0, kcp.NewNoneBlockCrypt},
	{"aes-128", 16, kcp.NewAESBlockCrypt},
	{"aes-192", 24, kcp.NewAESBlockCrypt},
	{"aes", 32, kcp.NewAESBlockCrypt},
	{"salsa20", 32, kcp.NewSalsa20BlockCrypt},
	{"aes-128-gcm", 16, kcp.NewAESGCMCrypt},
	{"aes-192-gcm", 24, kcp.NewAESGCMCrypt},
	{"aes-256-gcm", 32, kcp.NewAESGCMCrypt},
	{"chacha20-poly1305", 32, newChaCha20Poly1305},
	{"sm4", 16, kcp.NewSM4BlockCrypt},
	{"twofish", 32, kcp.NewTwofishBlockCrypt},
	{"3des", 24, kcp.NewTripleDESBlockCrypt},
	{"cast5", 16, kcp.NewCast5BlockCrypt},
	{"blowfish", 32, kcp.NewBlowfishBlockCrypt},
	{"tea", 16, kcp.NewTEABlockCrypt},
	{"xtea", 16, kcp.NewXTEABlockCrypt},
	{"xor", 32, kcp.NewSimpleXORBlockCrypt},
}

func findCipher(name string) (cipherKind, error) {
	at := slices.IndexFunc(cipherKinds, func(k cipherKind) bool { return k.name == name })
	if at < 0 {
		return cipherKind{}, fmt.Errorf("unknown cipher %q, want one of %s", name, cipherNames())
	}
	return cipherKinds[at], nil
}

func cipherNames() string {
	names := make([]string, len(cipherKinds))
	for i, kind := range cipherKinds {
		names[i] = kind.name
	}
	return strings.Join(names, "|")
}

// key derives the cipher's key from a password.
func (k cipherKind) key(password string) ([]byte, error) {
	derived, err := deriveKey(password, kcptunSalt, kcptunRounds, kcptunKeyLen)
	if err != nil {
		return nil, err
	}
	return derived[:k.keyLen], nil
}

func deriveKey(password, salt string, rounds, length int) ([]byte, error) {
	return pbkdf2.Key(sha1.New, password, []byte(salt), rounds, length)
}

// newChaCha20Poly1305 goes through kcp-go's door for AEADs it has no constructor for.
func newChaCha20Poly1305(key []byte) (kcp.BlockCrypt, error) {
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	return kcp.NewAEADCrypt(aead), nil
}
