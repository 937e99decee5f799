package vectors

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kcp-interop/peer"
)

const vectorDir = "../../vectors"

// All vectors are generated with v5.6, except for v5.7's list of exported names.
func TestCheckedInVectorsMatchTheGenerator(t *testing.T) {
	dir := vectorDir
	newest := strings.HasPrefix(vectorSource(), "kcp-go v5.7")
	if newest {
		dir = filepath.Join(vectorDir, "v5.7")
	}
	for _, file := range vectorFiles {
		if newest && file.name != "api.json" {
			continue
		}
		if file.name == "datagrams.json" {
			// Captures differ with each run; the next test checks their contents.
			continue
		}
		t.Run(file.name, func(t *testing.T) {
			contents, err := file.make(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want, err := vectorJSON(contents)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(dir, file.name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatal("differs: regenerate the vectors")
			}
		})
	}
}

func TestCheckedInDatagramsAreConsistent(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(vectorDir, "datagrams.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors datagramVectors
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Sessions) == 0 || len(vectors.Exchanges) == 0 || len(vectors.OutOfBand) == 0 {
		t.Fatal("a part is missing")
	}
	for _, session := range vectors.Sessions {
		if err := session.check(); err != nil {
			t.Errorf("session %s %s: %v", session.Cipher, session.Name, err)
		}
	}
	for _, exchange := range vectors.Exchanges {
		if _, err := exchange.link().segments(append(exchange.Received, exchange.Sent)); err != nil {
			t.Errorf("exchange %s %s: %v", exchange.Cipher, exchange.Name, err)
		}
	}
	for _, oob := range vectors.OutOfBand {
		if err := oob.check(); err != nil {
			t.Errorf("out of band %s: %v", oob.Cipher, err)
		}
	}
}

func TestOpeningRefusesChangedPackets(t *testing.T) {
	for _, kind := range peer.CipherKinds {
		block, err := kind.Build(vectorKey(kind.Name, kind.KeyLen))
		if err != nil {
			t.Fatal(err)
		}
		e := envelope{block}
		if e.overhead() == 0 {
			continue
		}
		packet := e.seal(vectorNonce(e.nonceLen(), 30), vectorPayload(30))
		packet[len(packet)-1] ^= 1
		if _, _, err := e.open(packet); err == nil {
			t.Errorf("%s: want an error", kind.Name)
		}
		if _, _, err := e.open(packet[:e.overhead()-1]); err == nil {
			t.Errorf("%s: want an error for a short packet", kind.Name)
		}
	}
}
