package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/audit"
)

// operated is a gateway with an admin address, a socket and an audit log, whose
// reloads apply what next returns. What becomes of its end is in stopped.
func operated(t *testing.T, next func() (*configs.Config, error)) (g *gateway, dir string, stopped <-chan error) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(adminTokenText+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g = newGateway(t)
	g.Server.Reload = func(by audit.Operator) (configs.Changes, error) {
		config, err := next()
		if err != nil {
			g.Refused(by, "gateway.yml", err)
			return nil, err
		}
		return g.ApplyBy(by, config)
	}
	end := make(chan error, 1)
	g.Server.Stop = func(audit.Operator) { go func() { end <- g.Shutdown(context.Background()) }() }
	if err := g.Apply(operatedConfig(t, dir, "")); err != nil {
		t.Fatal(err)
	}
	return g, dir, end
}

const adminTokenText = "0123456789abcdef0123456789abcdef"

func operatedConfig(t *testing.T, dir, more string) *configs.Config {
	t.Helper()
	return parse(t, fmt.Sprintf("admin: {address: \"127.0.0.1:0\", socket: %[1]s/s, token_file: %[1]s/token}\naudit: {file: %[1]s/audit.log}\n", dir)+
		one("tcp", "rabbitmq", "127.0.0.1:1", more))
}

// post asks the admin server for a change, through its socket if there is one.
func post(t *testing.T, url, socket, token string) (status int, answer string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	if socket != "" {
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }
	}
	r, err := http.NewRequest(http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// auditLog reads the file, and leaves out what differs from run to run.
func auditLog(t *testing.T, dir string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), adminTokenText) {
		t.Error("the token is in the audit log")
	}
	for line := range strings.Lines(string(text)) {
		var entry struct {
			Msg, Result, Error string
			By                 struct{ Via string }
			Changes            []string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s by %s %q %s", entry.Msg, entry.Result, entry.By.Via, entry.Changes, entry.Error)))
	}
	return list
}

// The admin server reloads for those who may, answers what is different or why
// it is refused, and all of it is in the audit log.
func TestAdminReload(t *testing.T) {
	var next func() (*configs.Config, error)
	g, dir, _ := operated(t, func() (*configs.Config, error) { return next() })
	url := "http://" + g.AdminAddress().String() + "/reload"
	socket := filepath.Join(dir, "s")

	next = func() (*configs.Config, error) { return operatedConfig(t, dir, ", max_connections: 7"), nil }
	if status, answer := post(t, url, "", adminTokenText); status != 200 || !strings.Contains(answer, "listeners.front.max_connections: 0 → 7") {
		t.Errorf("with the token: %d %s", status, answer)
	}
	if status, answer := post(t, url, socket, ""); status != 200 || !strings.Contains(answer, `"changes": []`) {
		t.Errorf("through the socket, nothing new: %d %s", status, answer)
	}
	if status, answer := post(t, url, "", ""); status != 401 {
		t.Errorf("without the token: %d %s", status, answer)
	}
	if status, answer := post(t, url, "", adminTokenText[1:]+"x"); status != 401 {
		t.Errorf("with another token: %d %s", status, answer)
	}
	next = func() (*configs.Config, error) {
		return nil, configs.Errors{{Pos: configs.Pos{File: "g.yml", Line: 3, Column: 4}, Reason: "one"}, {Pos: configs.Pos{File: "g.yml", Line: 5, Column: 6}, Reason: "two"}}
	}
	if status, answer := post(t, url, socket, ""); status != 422 || !strings.Contains(answer, `"g.yml:3:4: one",`) || !strings.Contains(answer, `"g.yml:5:6: two"`) {
		t.Errorf("with mistakes: %d %s", status, answer)
	}
	next = func() (*configs.Config, error) { return nil, errors.New("no such file") }
	if status, answer := post(t, url, socket, ""); status != 422 || !strings.Contains(answer, "no such file") {
		t.Errorf("without a file: %d %s", status, answer)
	}
	want := []string{
		`start ok by start []`,
		`reload ok by token ["listeners.front.max_connections: 0 → 7"]`,
		`reload ok by socket []`,
		`admin_request refused by token [] /reload: the token is not the one of admin.token_file or admin.token_env`,
		"reload refused by socket [] g.yml:3:4: one\ng.yml:5:6: two",
		`reload refused by socket [] no such file`,
	}
	if diff := cmp.Diff(want, auditLog(t, dir)); diff != "" {
		t.Errorf("audit log (-want +got):\n%s", diff)
	}
}

// A reload that moves the admin server is answered where it was asked for.
func TestAdminMoves(t *testing.T) {
	var config *configs.Config
	g, dir, stopped := operated(t, func() (*configs.Config, error) { return config, nil })
	old := g.AdminAddress().String()
	free := closedPort(t)
	config = parse(t, fmt.Sprintf("admin: {address: %q, socket: %s/t}\n", free, dir)+one("tcp", "rabbitmq", "127.0.0.1:1", ""))
	if status, answer := post(t, "http://"+old+"/reload", "", adminTokenText); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
	if _, err := net.Dial("tcp", old); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the old address: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "s")); !os.IsNotExist(err) {
		t.Errorf("the old socket: %v", err)
	}
	if status, answer := post(t, "http://"+free+"/reload", "", adminTokenText); status != 403 {
		t.Errorf("without a token in the configuration: %d %s", status, answer)
	}
	if status, answer := post(t, "http://"+free+"/reload", filepath.Join(dir, "t"), ""); status != 200 {
		t.Errorf("through the new socket: %d %s", status, answer)
	}
	// The end is told, too.
	if status, answer := post(t, "http://"+free+"/drain", filepath.Join(dir, "t"), ""); status != 200 || !strings.Contains(answer, `"draining": true`) {
		t.Errorf("drain: %d %s", status, answer)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "[st]")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAdminMistakes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	live, err := listenAdminSocket(filepath.Join(dir, "live"))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	for _, test := range []struct{ keys, want string }{
		{"admin: {address: \"127.0.0.1:0\", token_file: " + write("short", adminTokenText[1:]) + "}", ":3:45: the token has 31 bytes, want at least 32: openssl rand -hex 32 makes one"},
		{"admin: {address: \"127.0.0.1:0\", token_file: " + dir + "/none}", ":3:45: open " + dir + "/none: no such file or directory"},
		{"admin: {address: \"127.0.0.1:0\", token_env: SUITEGATE_NOT_SET}", ":3:44: the environment variable SUITEGATE_NOT_SET is not set, or empty"},
		{"admin: {socket: " + dir + "/none/s}", ":3:17: cannot listen on " + dir + "/none/s: bind: no such file or directory"},
		{"admin: {socket: " + dir + "/live}", ":3:17: cannot listen on " + dir + "/live: bind: address already in use"},
		{"admin: {socket: " + write("file", "") + "}", ":3:17: cannot listen on " + dir + "/file: bind: address already in use"},
		{"audit: {file: " + dir + "/none/audit.log}", ":3:15: audit: open " + dir + "/none/audit.log: no such file or directory"},
	} {
		err := newGateway(t).Apply(parse(t, test.keys+one("tcp", "rabbitmq", "127.0.0.1:1", "")))
		if err == nil || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %s", test.keys, err, test.want)
		}
	}
}

// Only this user may connect, what was left behind is no obstacle, and the file
// of another gateway stays.
func TestAdminSocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	abandon := func() {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
	}
	abandon()
	s, err := listenAdminSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	abandon()
	s.Close()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("another's file: %v", err)
	}
}

// Whoever replaces a watched file changes the gateway, too.
func TestReplacedFilesAreAudited(t *testing.T) {
	g, dir, _ := operated(t, func() (*configs.Config, error) { return nil, nil })
	g.certificateReplaced("default", true)
	g.certificateReplaced("default", false)
	g.clientFilesReplaced("front", true)
	want := []string{
		"start ok by start []",
		"certificate_replace ok by file []",
		"certificate_replace refused by file [] what was in force stays; the log says why",
		"client_files_replace ok by file []",
	}
	if diff := cmp.Diff(want, auditLog(t, dir)); diff != "" {
		t.Errorf("audit log (-want +got):\n%s", diff)
	}
	if !g.counted(`suitegate_certificate_reloads_total{certificate="default",result="failed"} 1`) {
		t.Error("not counted")
	}
}

// A full disk under the audit log stops nothing, and is counted.
func TestAuditDiskFull(t *testing.T) {
	g := start(t, "audit: {file: /dev/full}\n"+one("tcp", "rabbitmq", "127.0.0.1:1", ""))
	g.log.wait(t, 1, func(l map[string]any) bool { return l["msg"] == "start" && l["log"] == "audit" })
	if !g.counted("suitegate_audit_errors_total 1") {
		t.Error("not counted")
	}
}
