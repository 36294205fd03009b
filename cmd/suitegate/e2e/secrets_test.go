package e2e

import (
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keepsSecrets looks for private keys, those of the configuration and those
// that the gateway has made itself, in all that it has said, and for others
// who could read what it has written. Every test ends with it, whatever kind
// of certificate it is about.
func (g *gateway) keepsSecrets(t *testing.T) {
	t.Helper()
	said := g.log.all()
	for _, path := range []string{"/metrics", "/status", "/"} {
		_, body := g.get(t, path)
		said = append(said, body...)
	}
	for _, dir := range []string{filepath.Join(run.dir, "pki"), g.storage} {
		eachPrivateKey(t, dir, func(path string, mode fs.FileMode, key []byte) {
			if dir == g.storage && mode&0o077 != 0 {
				t.Errorf("%s has a private key and mode %v", path, mode)
			}
			for _, form := range []string{string(pem.EncodeToMemory(&pem.Block{Bytes: key})), hex.EncodeToString(key)} {
				for i := 0; i+40 <= len(form); i += 20 { // no line of PEM is shorter but the last
					if piece := form[i : i+40]; !strings.Contains(piece, "-----") && bytes.Contains(said, []byte(piece)) {
						t.Errorf("%s: a part of the key is in the log, the metrics or the status", path)
						return
					}
				}
			}
		})
	}
}

// eachPrivateKey finds private keys in PEM below a directory, if it is there.
func eachPrivateKey(t *testing.T, dir string, f func(path string, mode fs.FileMode, key []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // no authority was needed, or a lock went away
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if os.IsNotExist(err) {
			return nil
		}
		data, readErr := os.ReadFile(path)
		if err != nil || readErr != nil {
			return err
		}
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if strings.HasSuffix(block.Type, "PRIVATE KEY") {
				f(path, info.Mode().Perm(), block.Bytes)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
