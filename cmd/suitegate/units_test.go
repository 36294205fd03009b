package main

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/suitegate/suitegate/configs"
)

// unitFile is a unit of systemd: values by "Section.Key", in order.
type unitFile map[string][]string

func readUnit(t *testing.T, path string) unitFile {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unit, section := make(unitFile), ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		key, value, ok := strings.Cut(line, "=")
		switch {
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
		case ok && !strings.HasPrefix(line, "#"):
			unit[section+"."+key] = append(unit[section+"."+key], value)
		}
	}
	return unit
}

// one is the value of a key that stands there once.
func (u unitFile) one(t *testing.T, key string) string {
	t.Helper()
	if len(u[key]) != 1 {
		t.Fatalf("%s stands there %d times", key, len(u[key]))
	}
	return u[key][0]
}

// The units say what the gateway takes, and fit together.
func TestUnits(t *testing.T) {
	service := readUnit(t, "../../configs/systemd/suitegate.service")
	for _, key := range []string{"ExecStart", "ExecStartPre"} {
		args := strings.Fields(service.one(t, "Service."+key))
		parser, err := kong.New(&commandLine{}, kong.Name("suitegate"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(args[1:]); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	stop, err := time.ParseDuration(service.one(t, "Service.TimeoutStopSec"))
	if err != nil || stop <= configs.DefaultDrainTimeout {
		t.Errorf("TimeoutStopSec=%v, %v: the gateway drains for %v", stop, err, configs.DefaultDrainTimeout)
	}
	slack, err := time.ParseDuration(service.one(t, "Service.TimerSlackNSec"))
	if err != nil || slack != time.Millisecond {
		t.Errorf("TimerSlackNSec=%v, %v", slack, err)
	}
	example, err := configs.Load("../../configs/rabbitmq-sidecar.yml")
	if err != nil {
		t.Fatal(err)
	}
	var ports []string
	for _, l := range example.Listeners {
		_, port, err := net.SplitHostPort(l.Address)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	if sockets := readUnit(t, "../../configs/systemd/suitegate.socket")["Socket.ListenStream"]; !slices.Equal(sockets, ports) {
		t.Errorf("sockets on %v, and the listeners of the example on %v", sockets, ports)
	}
}

// systemd has nothing to say against the units, and little against what the
// service may do.
func TestUnitsVerified(t *testing.T) {
	needsProgram(t, "systemd-analyze")
	dir := t.TempDir()
	for _, name := range []string{"suitegate.service", "suitegate.socket"} {
		text, err := os.ReadFile(filepath.Join("../../configs/systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		// It looks for the program, which is not installed here.
		installed := strings.ReplaceAll(string(text), "/usr/local/bin/suitegate", "/bin/true")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(installed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	service, socket := filepath.Join(dir, "suitegate.service"), filepath.Join(dir, "suitegate.socket")
	if out, err := exec.Command("systemd-analyze", "verify", service, socket).CombinedOutput(); err != nil || strings.Contains(string(out), "suitegate") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	const exposure = "15" // in tenths, of 100
	if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold="+exposure, service).CombinedOutput(); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}
