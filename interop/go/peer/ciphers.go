package peer

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"fmt"
	"slices"
	"strings"

	kcp "github.com/xtaci/kcp-go/v5"
	"golang.org/x/crypto/chacha20poly1305"
)

// Parameters of kcptun's key derivation, which must be the same on both sides.
const (
	KcptunSalt   = "kcp-go"
	KcptunRounds = 4096
	KcptunKeyLen = 32
)

// CipherKind is a value of --crypt.
type CipherKind struct {
	Name string
	// KeyLen is the length of the key, a prefix of the derived key; 0 if the cipher has no key.
	KeyLen int
	Build  func(key []byte) (kcp.BlockCrypt, error)
}

// CipherKinds lists all ciphers of kcp-go, in the order of the vectors.
var CipherKinds = []CipherKind{
	// A nil BlockCrypt has no nonce and no checksum; "none" has both and does not encrypt.
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

// FindCipher returns the cipher of this name.
func FindCipher(name string) (CipherKind, error) {
	at := slices.IndexFunc(CipherKinds, func(k CipherKind) bool { return k.Name == name })
	if at < 0 {
		return CipherKind{}, fmt.Errorf("unknown cipher %q; allowed: %s", name, cipherNames())
	}
	return CipherKinds[at], nil
}

func cipherNames() string {
	names := make([]string, len(CipherKinds))
	for i, kind := range CipherKinds {
		names[i] = kind.Name
	}
	return strings.Join(names, "|")
}

// Key derives the cipher's key from a password.
func (k CipherKind) Key(password string) ([]byte, error) {
	derived, err := DeriveKey(password, KcptunSalt, KcptunRounds, KcptunKeyLen)
	if err != nil {
		return nil, err
	}
	return derived[:k.KeyLen], nil
}

// DeriveKey is PBKDF2-HMAC-SHA1.
func DeriveKey(password, salt string, rounds, length int) ([]byte, error) {
	return pbkdf2.Key(sha1.New, password, []byte(salt), rounds, length)
}

// newChaCha20Poly1305 uses kcp-go's generic AEAD constructor, as kcp-go has none for this cipher.
func newChaCha20Poly1305(key []byte) (kcp.BlockCrypt, error) {
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	return kcp.NewAEADCrypt(aead), nil
}
