package vectors

import (
	"strings"

	"kcp-interop/peer"
)

type keyVectors struct {
	Note    string      `json:"note"`
	Entries []keyVector `json:"entries"`
}

type keyVector struct {
	Password string   `json:"password"`
	Salt     string   `json:"salt"`
	Rounds   int      `json:"rounds"`
	Key      hexBytes `json:"key"`
}

func makeKeyVectors() (keyVectors, error) {
	// Among them the empty password, one that is not ASCII, and two around SHA-1's block size of 64 bytes, above which
	// HMAC hashes the key first.
	passwords := []string{
		"it's a secrect", "interop vectors", "", "a", "pass word with spaces", "Schlüssel-鍵",
		strings.Repeat("x", 64), strings.Repeat("x", 65),
	}
	vectors := keyVectors{Note: "key = PBKDF2-HMAC-SHA1(password in UTF-8, salt, rounds, 32 bytes)"}
	// The salts of kcptun and of rpcx's example.
	for _, salt := range []string{peer.KcptunSalt, "rpcx-salt"} {
		for _, password := range passwords {
			key, err := peer.DeriveKey(password, salt, peer.KcptunRounds, peer.KcptunKeyLen)
			if err != nil {
				return vectors, err
			}
			vectors.Entries = append(vectors.Entries, keyVector{password, salt, peer.KcptunRounds, key})
		}
	}
	return vectors, nil
}
