package certs

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func openTickets(t *testing.T, cfg Config) *TicketKeys {
	t.Helper()
	keys, err := OpenTicketKeys(t.Context(), TicketSchedule{Rotation: 12 * time.Hour, Lifetime: 24 * time.Hour}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// secretFiles are the names of what tickets have left in a directory.
func secretFiles(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join(dir, ticketDir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v", path, info.Mode())
		}
		if !d.IsDir() {
			files = append(files, strings.TrimPrefix(path, dir+"/"))
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return files
}

// Gateways that share a storage always have one key that encrypts, and what is
// over is gone, from the storage too.
func TestTicketFleet(t *testing.T) {
	cfg := Config{Storage: t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		midnight := time.Now()
		time.Sleep(time.Hour + 30*time.Minute) // not when they rotate: one waits for the other then
		one, other := openTickets(t, cfg), openTickets(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		go one.Keep(ctx, func() {})
		go other.Keep(ctx, func() {})
		first := one.Keys("scope", time.Now())[0]
		for range 4 * 24 {
			synctest.Wait()
			after := time.Since(midnight)
			a, b := one.Keys("scope", time.Now()), other.Keys("scope", time.Now())
			if !slices.Equal(a, b) {
				t.Fatalf("after %v: they differ", after)
			}
			// What a gateway seals whose clock is behind or ahead, by hours even.
			for _, epoch := range []int64{one.schedule.epoch(time.Now().Add(-11 * time.Hour)), one.schedule.epoch(time.Now().Add(11 * time.Hour))} {
				if epoch < one.schedule.epoch(midnight) {
					continue
				}
				other.mu.Lock()
				secret := other.secrets[epoch].fleet
				other.mu.Unlock()
				if secret == nil || !slices.Contains(a, ticketKey(*secret, "scope")) {
					t.Errorf("after %v: the key of epoch %d is not accepted", after, epoch)
				}
			}
			if got := slices.Contains(a, first); got != (after < 36*time.Hour) {
				t.Errorf("after %v: the first key decrypts: %v", after, got)
			}
			if files := secretFiles(t, cfg.Storage); len(a) > 4 || len(files) > 4 {
				t.Errorf("after %v: %d keys, and in the storage %q", after, len(a), files)
			}
			time.Sleep(time.Hour)
		}
		late := openTickets(t, cfg)
		if !slices.Equal(late.Keys("scope", time.Now()), one.Keys("scope", time.Now())) {
			t.Error("one that starts later has other keys")
		}
		hourly, err := OpenTicketKeys(t.Context(), TicketSchedule{Rotation: time.Hour}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(late.Keys("scope", time.Now()), hourly.Keys("scope", time.Now())[0]) {
			t.Error("another rotation has the same keys")
		}
		cancel()
		synctest.Wait()

		// The secrets of a rotation that nobody has any more do not stay for ever.
		time.Sleep(9 * 24 * time.Hour)
		openTickets(t, cfg)
		for _, file := range secretFiles(t, cfg.Storage) {
			if !strings.HasPrefix(file, "tickets/12h0m0s/") {
				t.Errorf("left: %s", file)
			}
		}
	})
}

// A storage that fails costs nothing while there are keys, then no more than
// resumption on other gateways, and is counted.
func TestTicketFleetWithoutStorage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "storage")
	var log logBuffer
	var failures atomic.Int32
	cfg := Config{Storage: dir, Logger: log.logger(slog.LevelInfo), StorageFailed: func(string, string) { failures.Add(1) }}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		keys := openTickets(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go keys.Keep(ctx, func() {})
		before := keys.Keys("scope", time.Now())
		if len(before) != 2 {
			t.Fatalf("%d keys", len(before))
		}

		aside := dir + ".aside"
		if err := errors.Join(os.Rename(dir, aside), os.WriteFile(dir, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		current := keys.Keys("scope", time.Now())
		if current[0] != before[1] || !slices.Contains(current, before[0]) {
			t.Error("the key that was made in advance is not used")
		}
		if failures.Load() == 0 || strings.Contains(log.String(), "on this gateway alone") {
			t.Errorf("%d failures; logged\n%s", failures.Load(), log.String())
		}
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		current = keys.Keys("scope", time.Now())
		own := current[0]
		if slices.Contains(before, own) || !slices.Contains(current, before[1]) || !slices.Contains(current, before[0]) {
			t.Error("no key of its own, or those of before are lost")
		}

		if err := errors.Join(os.Remove(dir), os.Rename(aside, dir)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		current = keys.Keys("scope", time.Now())
		if current[0] == own || !slices.Contains(current, own) {
			t.Error("the fleet's key is not used again, or the own one is lost")
		}
		if another := openTickets(t, Config{Storage: dir}); another.Keys("scope", time.Now())[0] != current[0] {
			t.Error("another gateway has another key")
		}
		for line, n := range map[string]int{
			`level=ERROR msg="storage fails; what is served goes on as it is"`:                                          1,
			`level=INFO msg="storage works again"`:                                                                      1,
			`level=WARN msg="the fleet's session ticket key cannot be had; new tickets are good on this gateway alone"`: 1,
			`level=INFO msg="the fleet's session ticket key is in use again"`:                                           1,
		} {
			if got := strings.Count(log.String(), line); got != n {
				t.Errorf("%d times %s in\n%s", got, line, log.String())
			}
		}
	})
}

// A secret that was damaged is replaced, and both have the new one.
func TestTicketFleetRepairs(t *testing.T) {
	cfg := Config{Storage: t.TempDir()}
	openTickets(t, cfg)
	files := secretFiles(t, cfg.Storage)
	if len(files) != 2 {
		t.Fatalf("files: %q", files)
	}
	for i, text := range []string{"", "-----BEGIN SUITEGATE TICKET SECRET-----\nAAAA\n-----END SUITEGATE TICKET SECRET-----\n"} {
		if err := os.WriteFile(filepath.Join(cfg.Storage, files[i]), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one, other := openTickets(t, cfg), openTickets(t, cfg)
	if a, b := one.Keys("scope", time.Now()), other.Keys("scope", time.Now()); !slices.Equal(a, b) || len(a) != 2 {
		t.Errorf("%d and %d keys, or they differ", len(a), len(b))
	}
}

func TestTicketFleetInRedis(t *testing.T) {
	server := startRedis(t)
	cfg := Config{Redis: &server.config}
	one, other := openTickets(t, cfg), openTickets(t, cfg)
	defer one.Close()
	defer other.Close()
	now := time.Now()
	a, b := one.Keys("scope", now), other.Keys("scope", now)
	if !slices.Equal(a, b) || len(a) != 2 {
		t.Errorf("%d and %d keys, or they differ", len(a), len(b))
	}
	for i := range 4 { // as if time passed
		now = now.Add(12 * time.Hour)
		one.fleet.refresh(t.Context(), one, now)
		other.fleet.refresh(t.Context(), other, now)
		if a, b := one.Keys("scope", now), other.Keys("scope", now); !slices.Equal(a, b) {
			t.Errorf("rotation %d: they differ", i)
		}
	}
	stored, err := one.fleet.storage.List(t.Context(), ticketDir, true)
	if err != nil || len(stored) != 5 { // the directory, the current one, the next, and two that are still accepted
		t.Errorf("stored: %q, %v", stored, err)
	}
	if _, err := OpenTicketKeys(t.Context(), TicketSchedule{}, Config{Redis: &Redis{Address: "127.0.0.1:1"}}); err == nil {
		t.Error("opened without a storage")
	}
}
