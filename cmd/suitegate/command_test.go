package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime/debug"
	"testing"

	"github.com/suitegate/suitegate/configs"
)

func TestFail(t *testing.T) {
	mistakes := configs.Errors{
		{Pos: configs.Pos{File: "gateway.yml", Line: 3, Column: 5}, Reason: "unknown key"},
		{Pos: configs.Pos{File: "gateway.yml", Line: 7, Column: 1}, Reason: "no listener"},
	}
	for _, test := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"plain", errors.New("it broke"), 1,
			"suitegate: error: it broke\n"},
		{"joined", errors.Join(errors.New("it broke"), errors.New("twice")), 1,
			"suitegate: error: it broke\nsuitegate: error: twice\n"},
		{"hint", fmt.Errorf("serve: %w", withHint(errors.New("it broke"), "mend it")), 1,
			"suitegate: error: serve: it broke\nsuitegate: hint: mend it\n"},
		{"usage", usageHint(errors.New("what?"), "this", "or that"), 2,
			"suitegate: error: what?\nsuitegate: hint: this\nsuitegate: hint: or that\n"},
		{"configuration", withHint(mistakes, "look there"), 1,
			"gateway.yml:3:5: unknown key\ngateway.yml:7:1: no listener\n" +
				"suitegate: error: 2 mistakes\nsuitegate: hint: look there\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			out := &console{stdout: &stdout, stderr: &stderr}
			if code := out.fail(test.err); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if stderr.String() != test.want {
				t.Errorf("stderr\n%s\nwant\n%s", &stderr, test.want)
			}
			if stdout.Len() > 0 {
				t.Errorf("stdout %q, want none", &stdout)
			}
		})
	}
}

func TestDescribeBuild(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for _, test := range []struct{ version, revision, modified, want string }{
		{"", "", "", "(unknown)"},
		{"v1.2.3", "", "", "v1.2.3"},
		{"(devel)", commit, "false", "(devel) 0123456789ab"},
		{"(devel)", commit, "true", "(devel) 0123456789ab, modified"},
		{"v0.0.0-20260102030405-0123456789ab+dirty", commit, "true", "v0.0.0-20260102030405-0123456789ab+dirty"},
		{"v1.2.3", "abc", "false", "v1.2.3 abc"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: test.version}}
		for _, setting := range []debug.BuildSetting{{Key: "vcs.revision", Value: test.revision}, {Key: "vcs.modified", Value: test.modified}} {
			if setting.Value != "" {
				info.Settings = append(info.Settings, setting)
			}
		}
		if got := describeBuild(info); got != test.want {
			t.Errorf("version %q at %q, modified %q: %q, want %q", test.version, test.revision, test.modified, got, test.want)
		}
	}
	if got := describeBuild(nil); got != "(unknown)" {
		t.Errorf("no build information: %q", got)
	}
}

func TestDialable(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:9090":  "127.0.0.1:9090",
		"localhost:9090":  "localhost:9090",
		":9090":           "127.0.0.1:9090",
		"0.0.0.0:9090":    "127.0.0.1:9090",
		"[::]:9090":       "[::1]:9090",
		"192.0.2.1:9090":  "192.0.2.1:9090",
		"127.0.0.1":       "",
		"127.0.0.1:":      "",
		"127.0.0.1:0":     "",
		"127.0.0.1:1:2:3": "",
	} {
		got, err := dialable(address)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("dialable(%q) = %q, %v, want %q", address, got, err, want)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1":  true,
		"127.1.2.3:1":  true,
		"[::1]:1":      true,
		"localhost:1":  true,
		"0.0.0.0:1":    false,
		":1":           false,
		"192.0.2.1:1":  false,
		"broker.lan:1": false,
		"127.0.0.1":    false,
		"":             false,
	} {
		if got := isLoopback(address); got != want {
			t.Errorf("isLoopback(%q) = %t, want %t", address, got, want)
		}
	}
}

// TestShellQuote asks a real shell to give the path back.
func TestShellQuote(t *testing.T) {
	for _, path := range []string{"/home/me/root.pem", "/tmp/with space", "/tmp/it's", "/tmp/$HOME`id`", `/tmp/back\slash`, "~", "/tmp/ä;b", ""} {
		output, err := exec.Command("sh", "-c", "printf %s "+shellQuote(path)).Output()
		if err != nil {
			t.Fatal(err)
		}
		if string(output) != path {
			t.Errorf("%s: the shell reads %q, want %q", shellQuote(path), output, path)
		}
	}
	if got := shellQuote("/home/me/root.pem"); got != "/home/me/root.pem" {
		t.Errorf("quoted without need: %s", got)
	}
}

func TestProbe(t *testing.T) {
	for _, test := range []struct {
		name           string
		hello          string // what the broker says, without being asked
		amqp, openwire bool
	}{
		{"RabbitMQ", "\x01\x00\x00\x00\x00\x01\xf2\x00\x0a\x00\x0a", true, false},
		{"AMQP 1.0 broker", "AMQP\x03\x01\x00\x00", true, false},
		{"ActiveMQ", "\x00\x00\x01\x4a\x01ActiveMQ\x00\x00\x00\x0c", false, true},
		{"Web server", "HTTP/1.1 400 Bad Request\r\n\r\n", false, false},
		{"cut short", "AMQ", false, false},
		{"hangs up", "", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan struct{})
			go func() {
				defer close(served)
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Write([]byte(test.hello)) // the probe may have gone
					_ = conn.(*net.TCPConn).CloseWrite()
					_, _ = conn.Read(make([]byte, 8)) // so that the close is no reset
					conn.Close()
				}
			}()
			if got := probeAMQP(l.Addr().String()); got != test.amqp {
				t.Errorf("probeAMQP: %t, want %t", got, test.amqp)
			}
			if got := probeOpenWire(l.Addr().String()); got != test.openwire {
				t.Errorf("probeOpenWire: %t, want %t", got, test.openwire)
			}
			l.Close()
			<-served
			if probeAMQP(l.Addr().String()) || probeOpenWire(l.Addr().String()) {
				t.Error("found a broker where nothing listens")
			}
		})
	}
}
