package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// entries reads a file of them, without their times.
func entries(t *testing.T, text []byte) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(string(text)) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if _, ok := entry["time"].(string); !ok {
			t.Errorf("%q has no time", line)
		}
		delete(entry, "time")
		list = append(list, entry)
	}
	return list
}

func TestRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	file, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var fallback bytes.Buffer
	log := &Log{Fallback: slog.New(slog.NewJSONHandler(&fallback, nil))}
	log.Use(file)
	log.Record(Entry{Action: "reload", By: Operator{Via: ViaSignal, Signal: "SIGHUP"}, More: []slog.Attr{slog.Any("changes", []string{"a: b → c"})}})
	log.Record(Entry{Action: "reload", By: Operator{Via: ViaToken, Address: "127.0.0.1:1"}, Err: errors.New("mistake\nin two lines")})
	// Rotated: the next entry is in a new file, and the old one is whole.
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	log.Record(Entry{Action: "node_drain", By: Operator{Via: ViaSocket, Peer: &Peer{UID: 7, GID: 8, PID: 9, User: "ops"}}})
	log.Use(nil)
	log.Record(Entry{Action: "stop", By: Operator{Via: ViaStart}})

	want := [][]map[string]any{
		{
			{"level": "INFO", "msg": "reload", "log": "audit", "result": "ok", "by": map[string]any{"via": "signal", "signal": "SIGHUP"}, "changes": []any{"a: b → c"}},
			{"level": "WARN", "msg": "reload", "log": "audit", "result": "refused", "by": map[string]any{"via": "token", "address": "127.0.0.1:1"}, "error": "mistake\nin two lines"},
		},
		{{"level": "INFO", "msg": "node_drain", "log": "audit", "result": "ok", "by": map[string]any{"via": "socket", "uid": 7.0, "gid": 8.0, "user": "ops", "pid": 9.0}}},
		{{"level": "INFO", "msg": "stop", "log": "audit", "result": "ok", "by": map[string]any{"via": "start"}}},
	}
	var got [][]map[string]any
	for _, name := range []string{path + ".1", path} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, entries(t, text))
		if info, err := os.Stat(name); err != nil || info.Mode().Perm()&^0o640 != 0 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	got = append(got, entries(t, fallback.Bytes()))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// A full disk takes no entry, and stops nobody: it is said, counted, and the
// entry is in the log instead.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Fatal(err)
	}
	file, err := Open("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	var fallback bytes.Buffer
	log := &Log{Fallback: slog.New(slog.NewJSONHandler(&fallback, nil)), Failed: func() { failed++ }}
	log.Use(file)
	defer log.Use(nil)
	log.Record(Entry{Action: "reload", By: Operator{Via: ViaFile}})
	got := entries(t, fallback.Bytes())
	if failed != 1 || len(got) != 2 || !strings.Contains(got[0]["error"].(string), "no space left on device") || got[1]["msg"] != "reload" {
		t.Errorf("counted %d, said %v", failed, got)
	}
}

// A disk that stands still, here a pipe that nobody reads, holds nobody up for
// long. What was stuck is written when it goes on.
func TestStuckDisk(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := writer.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	full, err := io.Copy(writer, zeros{})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if err := writer.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	file := &File{path: writer.Name(), file: writer}
	file.path = fmt.Sprintf("/proc/self/fd/%d", fdOf(t, writer))
	failed := 0
	var fallback bytes.Buffer
	log := &Log{Fallback: slog.New(slog.NewJSONHandler(&fallback, nil)), Failed: func() { failed++ }, Patience: 10 * time.Millisecond}
	log.Use(file)
	for range 2 {
		log.Record(Entry{Action: "reload", By: Operator{Via: ViaFile}})
	}
	if got := entries(t, fallback.Bytes()); failed != 2 || len(got) != 4 || got[0]["error"] != errStuck.Error() || got[2]["error"] != errStuck.Error() {
		t.Errorf("counted %d, said %v", failed, got)
	}
	log.Use(nil)
	if _, err := io.CopyN(io.Discard, reader, full); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil || !strings.Contains(line, `"msg":"reload"`) {
		t.Errorf("written afterwards: %q, %v", line, err)
	}
	file.mu.Lock() // which the stuck entry has given back by now, or does soon
	defer file.mu.Unlock()
	writer.Close()
}

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func fdOf(t *testing.T, file *os.File) (fd uintptr) {
	t.Helper()
	raw, err := file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(of uintptr) { fd = of }); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestZeroLog(t *testing.T) {
	for _, log := range []*Log{nil, {}} {
		log.Record(Entry{Action: "reload"})
		log.Use(nil)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "missing", "audit.log")); err == nil || !strings.HasPrefix(err.Error(), "audit: open ") {
		t.Errorf("error %v", err)
	}
}

func TestOperatorString(t *testing.T) {
	for want, by := range map[string]Operator{
		"start":                          {Via: ViaStart},
		"signal SIGHUP":                  {Via: ViaSignal, Signal: "SIGHUP"},
		"token from [::1]:1":             {Via: ViaToken, Address: "[::1]:1"},
		"socket":                         {Via: ViaSocket},
		"socket, uid 7 (ops), pid 9":     {Via: ViaSocket, Peer: &Peer{UID: 7, PID: 9, User: "ops"}},
		"socket, uid 4294967295, pid 42": {Via: ViaSocket, Peer: &Peer{UID: 1<<32 - 1, PID: 42}},
	} {
		if got := by.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestPeerOf(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	peer := PeerOf(server.(*net.UnixConn))
	if peer == nil || int(peer.UID) != os.Getuid() || int(peer.GID) != os.Getgid() || int(peer.PID) != os.Getpid() {
		t.Errorf("%+v, want this process", peer)
	}
}
