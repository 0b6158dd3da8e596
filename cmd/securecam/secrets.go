package main

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/joho/godotenv"
)

// secrets are what a node makes once and keeps in DATA_DIR/secrets.env, which
// only its owner may read.
type secrets struct {
	auth   []byte // key of all tokens and cookies
	nodeID string // names this node's spool in the database
}

// derive returns a key for one purpose. Keys of different purposes tell
// nothing of each other.
func (s secrets) derive(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, s.auth, nil, "securecam "+purpose, sha256.Size)
	if err != nil {
		panic(err) // only for keys longer than 255 hashes
	}
	return key
}

const (
	secretsFile   = "secrets.env"
	authSecretKey = "BETTER_AUTH_SECRET"
	nodeIDKey     = "NODE_ID"
)

// loadSecrets reads the secrets of dataDir and makes those that are missing.
// A configured secret takes the place of the kept one.
func loadSecrets(dataDir, configured string) (secrets, error) {
	path := filepath.Join(dataDir, secretsFile)
	kept, err := godotenv.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		kept, err = map[string]string{}, nil
	}
	if err != nil {
		return secrets{}, fmt.Errorf("read %s: %w", path, err)
	}

	changed := false
	if kept[nodeIDKey] == "" {
		kept[nodeIDKey], changed = uuid.Must(uuid.NewV7()).String(), true
	}
	if configured == "" && kept[authSecretKey] == "" {
		key := make([]byte, 32)
		rand.Read(key)
		kept[authSecretKey], changed = base64.RawURLEncoding.EncodeToString(key), true
	}
	if changed {
		if err := writeSecrets(path, kept); err != nil {
			return secrets{}, fmt.Errorf("write %s: %w", path, err)
		}
	}
	if configured == "" {
		configured = kept[authSecretKey]
	}
	return secrets{auth: []byte(configured), nodeID: kept[nodeIDKey]}, nil
}

// writeSecrets replaces the file in one step: a crash leaves the old one or
// the new one, never half.
func writeSecrets(path string, values map[string]string) error {
	text, err := godotenv.Marshal(values)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), secretsFile+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // it is there no more when all went well
	_, err = f.WriteString(text + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
