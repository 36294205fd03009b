package certs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

// fileStorage is certmagic's FileStorage (files of mode 0600 in directories of
// mode 0700, each written beside its place, synced and renamed) with locks of
// the system's, and with names by which what an interrupted write has left beside
// is told from a value (see [seal.Leftover]): FileStorage has numbers for it, which
// values have, too.
//
// The locks of FileStorage are files that a goroutine of the holder keeps fresh,
// and it does so for up to five seconds after Unlock: if another process takes
// the lock within these and is killed, the goroutine goes on to refresh a lock
// that nobody holds, and nobody gets it again while the process lives. flock(2)
// ends with its holder, at once, on network file systems too.
type fileStorage struct {
	*certmagic.FileStorage

	mu   sync.Mutex
	held map[string]*flock.Flock // by name
}

// lockPoll is how often a lock that somebody has is tried again.
const lockPoll = 100 * time.Millisecond

// secretDirs are directories of the storage that hold keys.
var secretDirs = [...]string{"acme", "authority", "certificates", ticketDir}

func newFileStorage(dir string) *fileStorage {
	return &fileStorage{FileStorage: &certmagic.FileStorage{Path: dir}, held: make(map[string]*flock.Flock)}
}

func (s *fileStorage) place(key string) string { return s.Filename(key) }

// check makes the directory, and refuses one that others can write to, or read
// keys from, or that cannot be written.
func (s *fileStorage) check(context.Context) error {
	if s.Path == "" {
		return storageError(errors.New("no directory is set, and self-signed certificates need one"))
	}
	dir, err := filepath.Abs(s.Path)
	if err != nil {
		return storageError(err)
	}
	s.Path = dir // the process may change directory later
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return storageError(err)
	}
	if err := refuseAccess(dir, 0o022, "others may write to it (mode %#o): chmod go-w, or choose another directory"); err != nil {
		return err
	}
	for _, name := range secretDirs {
		if err := refuseAccess(filepath.Join(dir, name), 0o077, "others have access to the keys in it (mode %#o): chmod go-rwx"); err != nil {
			return err
		}
	}
	return s.checkWriting()
}

// refuseAccess reports a directory whose mode has one of the forbidden bits.
func refuseAccess(dir string, forbidden os.FileMode, why string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return storageError(err)
	}
	// The bits mean nothing on Windows.
	if mode := info.Mode().Perm(); mode&forbidden != 0 && runtime.GOOS != "windows" {
		return &StorageError{Cause: StorageExposed, Err: fmt.Errorf("%s: "+why, dir, mode)}
	}
	return nil
}

// checkWriting writes as much as a key takes: a file system can be mounted
// read-only, or be full, whatever the mode says.
func (s *fileStorage) checkWriting() error {
	probe := s.Filename("write-check")
	f, err := os.OpenFile(probe, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return storageError(err)
	}
	_, err = f.Write(make([]byte, 4096))
	err = cmp.Or(err, f.Sync())
	_ = f.Close() // synced, or not wanted
	if err == nil {
		err = os.Remove(probe)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // another gateway checks, too
		return storageError(err)
	}
	return nil
}

// Store implements [certmagic.Storage].
func (s *fileStorage) Store(_ context.Context, key string, value []byte) error {
	path := s.Filename(key)
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(path, value, 0o600, renameio.WithTempDir(dir), renameio.WithStaticPermissions(0o600))
}

// Lock implements [certmagic.Locker].
func (s *fileStorage) Lock(ctx context.Context, name string) error {
	f, err := s.lockFile(name)
	if err != nil {
		return err
	}
	if _, err := f.TryLockContext(ctx, lockPoll); err != nil {
		return err
	}
	s.hold(name, f)
	return nil
}

// TryLock implements [certmagic.TryLocker].
func (s *fileStorage) TryLock(_ context.Context, name string) (bool, error) {
	f, err := s.lockFile(name)
	if err != nil {
		return false, err
	}
	ok, err := f.TryLock()
	if ok {
		s.hold(name, f)
	}
	return ok, err
}

// lockFile returns the file for a lock. It is never removed: whoever waits for
// it would get a lock on a file that nobody else finds.
func (s *fileStorage) lockFile(name string) (*flock.Flock, error) {
	path := s.Filename("locks/" + certmagic.StorageKeys.Safe(name) + ".flock")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	// Open for writing, since NFS turns flock into a lock of the kind that needs it.
	return flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR)), nil
}

func (s *fileStorage) hold(name string, f *flock.Flock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[name] = f
}

// Unlock implements [certmagic.Locker].
func (s *fileStorage) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	f := s.held[name]
	delete(s.held, name)
	s.mu.Unlock()
	if f == nil {
		return fmt.Errorf("%s: the lock is not held", name)
	}
	return f.Unlock()
}

// close leaves locks that are held to their holders: closing is no
// operation's end, and files need no connection.
func (s *fileStorage) close() {}
