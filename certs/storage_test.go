package certs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// backends are a directory and a Redis, each by a function that opens it once
// more, as another process would.
func backends(t *testing.T, test func(t *testing.T, another func() backend)) {
	t.Run("files", func(t *testing.T) {
		dir := t.TempDir()
		test(t, func() backend { return newFileStorage(dir) })
	})
	t.Run("redis", func(t *testing.T) {
		server := startRedis(t)
		test(t, func() backend {
			s, err := newRedisStorage(server.config, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.close)
			return s
		})
	})
}

// What certmagic asks of a storage (its storage.go), as its own does it.
func TestStorageContents(t *testing.T) {
	backends(t, func(t *testing.T, another func() backend) {
		s, ctx := another(), t.Context()
		if err := s.check(ctx); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"a", "a/b", "none"} {
			if s.Exists(ctx, key) {
				t.Errorf("%s exists", key)
			}
			_, loadErr := s.Load(ctx, key)
			_, statErr := s.Stat(ctx, key)
			_, listErr := s.List(ctx, key, true)
			for _, err := range []error{loadErr, statErr, listErr} {
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %v", key, err)
				}
			}
			if err := s.Delete(ctx, key); err != nil {
				t.Errorf("deleting %s, which is not there: %v", key, err)
			}
		}
		before := time.Now().Add(-time.Minute)
		for _, key := range []string{"dir/k1", "dir/k/a/b", "dir/k/c", "dirt/x"} {
			if err := s.Store(ctx, key, []byte("first")); err != nil {
				t.Fatal(err)
			}
			if err := s.Store(ctx, key, []byte(key+"\x00\xff")); err != nil {
				t.Fatal(err)
			}
			if value, err := another().Load(ctx, key); err != nil || string(value) != key+"\x00\xff" {
				t.Errorf("%s: %q, %v", key, value, err)
			}
			info, err := s.Stat(ctx, key)
			if err != nil || info.Key != key || !info.IsTerminal || info.Size != int64(len(key)+2) || info.Modified.Before(before) || info.Modified.After(time.Now()) {
				t.Errorf("%s: %+v, %v", key, info, err)
			}
		}
		if err := s.Store(ctx, "dir/empty", nil); err != nil {
			t.Fatal(err)
		}
		if value, err := s.Load(ctx, "dir/empty"); err != nil || len(value) != 0 {
			t.Errorf("empty: %q, %v", value, err)
		}
		if info, err := s.Stat(ctx, "dir/k"); err != nil || info.Key != "dir/k" || info.IsTerminal || !s.Exists(ctx, "dir/k") {
			t.Errorf("directory: %+v, %v", info, err)
		}
		for _, tt := range []struct {
			dir       string
			recursive bool
			want      string
		}{
			{"dir", false, "dir/empty dir/k dir/k1"},
			{"dir", true, "dir/empty dir/k dir/k/a dir/k/a/b dir/k/c dir/k1"},
			{"dir/k", false, "dir/k/a dir/k/c"},
		} {
			got, err := s.List(ctx, tt.dir, tt.recursive)
			slices.Sort(got)
			if err != nil || strings.Join(got, " ") != tt.want {
				t.Errorf("List(%s, %v) = %q, %v", tt.dir, tt.recursive, got, err)
			}
		}
		for _, key := range []string{"dir/k1", "dir/k"} {
			if err := s.Delete(ctx, key); err != nil {
				t.Error(err)
			}
		}
		if got, err := s.List(ctx, "dir", true); err != nil || strings.Join(got, " ") != "dir/empty" {
			t.Errorf("after deleting: %q, %v", got, err)
		}
		if !s.Exists(ctx, "dirt/x") {
			t.Error("a directory took another one with it")
		}
	})
}

// A lock excludes everybody else, in the process and outside of it.
func TestStorageLocks(t *testing.T) {
	backends(t, func(t *testing.T, another func() backend) {
		ctx := t.Context()
		if err := another().Unlock(ctx, "x"); err == nil {
			t.Error("unlocked what was not locked")
		}
		storages := []backend{another(), another()}
		var inside, most atomic.Int32
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				s := storages[i%2]
				if err := s.Lock(ctx, "x"); err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), inside.Add(1)))
				runtime.Gosched()
				time.Sleep(5 * time.Millisecond)
				inside.Add(-1)
				if err := s.Unlock(ctx, "x"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if most.Load() != 1 {
			t.Errorf("%d held the lock at once", most.Load())
		}

		one, other := storages[0], storages[1]
		if ok, err := one.TryLock(ctx, "x"); !ok || err != nil {
			t.Fatal(ok, err)
		}
		for _, s := range storages {
			if ok, err := s.TryLock(ctx, "x"); ok || err != nil {
				t.Errorf("locked twice: %v, %v", ok, err)
			}
		}
		if ok, err := other.TryLock(ctx, "y"); !ok || err != nil {
			t.Errorf("another lock: %v, %v", ok, err)
		}
		brief, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
		defer cancel()
		if err := other.Lock(brief, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waited past the end of the context: %v", err)
		}
		if err := one.Unlock(ctx, "x"); err != nil {
			t.Error(err)
		}
		if err := other.Lock(ctx, "x"); err != nil {
			t.Error(err)
		}
	})
}

// failingStorage fails with err where that is set.
type failingStorage struct {
	backend
	err error
}

func (s *failingStorage) Store(ctx context.Context, key string, value []byte) error {
	if s.err != nil {
		return s.err
	}
	return s.backend.Store(ctx, key, value)
}

func (s *failingStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.backend.Load(ctx, key)
}

// Every failure is counted; the log has one line for each cause, and one when
// it has passed.
func TestStorageFailuresAreCountedAndLoggedOnce(t *testing.T) {
	var log logBuffer
	counted := make(map[string]int)
	s, err := newStorage(Config{Storage: t.TempDir(), Logger: log.logger(slog.LevelInfo),
		StorageFailed: func(operation, cause string) { counted[operation+" "+cause]++ }})
	if err != nil {
		t.Fatal(err)
	}
	failing := &failingStorage{backend: s.backend}
	s.backend = failing
	use := func(err error) {
		failing.err = err
		for range 3 {
			_ = s.Store(t.Context(), "k", nil)
			_, _ = s.Load(t.Context(), "k")
		}
	}
	use(nil)
	use(&fs.PathError{Op: "open", Path: "k", Err: syscall.ENOSPC})
	use(&fs.PathError{Op: "open", Path: "k", Err: syscall.EROFS})
	use(context.Canceled)
	use(fmt.Errorf("not there: %w", fs.ErrNotExist))
	use(nil)
	want := map[string]int{"store full": 3, "load full": 3, "store read_only": 3, "load read_only": 3}
	if fmt.Sprint(counted) != fmt.Sprint(want) {
		t.Errorf("counted %v, want %v", counted, want)
	}
	var causes []string
	for line := range strings.Lines(log.String()) {
		level, _, _ := strings.Cut(line, " ")
		_, cause, _ := strings.Cut(line, "cause=")
		cause, _, _ = strings.Cut(strings.TrimSpace(cause), " ")
		causes = append(causes, level+" "+cause)
	}
	slices.Sort(causes)
	if got := strings.Join(causes, ", "); got != "level=ERROR full, level=ERROR read_only, level=INFO full, level=INFO read_only" {
		t.Errorf("logged:\n%s", log.String())
	}
}

func TestStorageCauses(t *testing.T) {
	_, refused := net.Dial("tcp", "127.0.0.1:1")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&fs.PathError{Err: syscall.EROFS}, StorageReadOnly},
		{fmt.Errorf("x: %w", syscall.ENOSPC), StorageFull},
		{syscall.EDQUOT, StorageFull},
		{&fs.PathError{Err: syscall.EACCES}, StorageDenied},
		{&fs.PathError{Err: syscall.ENOTDIR}, StorageOther},
		{context.DeadlineExceeded, StorageTimeout},
		{refused, StorageUnreachable},
		{io.ErrUnexpectedEOF, StorageUnreachable},
	} {
		if got := causeOf(tt.err); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}

// A directory that cannot take anything is refused at the start, by its name.
func TestStorageCheck(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(dir string) error
		cause string
		want  string // with DIR for the directory
	}{
		// Where root may do all, the kernel's own full device stands in for a full disk.
		{"full", func(dir string) error { return os.Symlink("/dev/full", filepath.Join(dir, "write-check")) },
			StorageFull, "certs: storage: write DIR/write-check: no space left on device"},
		{"keys accessible to the group", func(dir string) error { return os.Mkdir(filepath.Join(dir, "authority"), 0o750) },
			StorageExposed, "certs: storage: DIR/authority: others have access to the keys in it (mode 0750): chmod go-rwx"},
		{"writable by the group", func(dir string) error { return os.Chmod(dir, 0o770) },
			StorageExposed, "certs: storage: DIR: others may write to it (mode 0770): chmod go-w, or choose another directory"},
		{"no directory", func(dir string) error { return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)) },
			StorageOther, "certs: storage: mkdir DIR: not a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "storage")
			if err := errors.Join(os.Mkdir(dir, 0o700), tt.spoil(dir)); err != nil {
				t.Fatal(err)
			}
			err := newFileStorage(dir).check(t.Context())
			var named *StorageError
			if !errors.As(err, &named) || named.Reason() != tt.cause || strings.ReplaceAll(err.Error(), dir, "DIR") != tt.want {
				t.Errorf("%v", err)
			}
		})
	}
	dir := t.TempDir()
	if err := newFileStorage(dir).check(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("check left %v, %v", left, err)
	}
}

var _ certmagic.Storage = (*storage)(nil)
var _ certmagic.TryLocker = (*storage)(nil)
