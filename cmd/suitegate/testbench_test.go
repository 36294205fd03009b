package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/policy"
)

// What is printed is as in testdata, which -update writes anew. Whether it is
// true is what the script of the test bench finds out.
func TestTestbenchGolden(t *testing.T) {
	const file = "testdata/testbench.txt"
	rabbitmq, _ := policy.Builtin("rabbitmq")
	bench := &testbench{Policy: "rabbitmq", Root: "/data/root.pem", Configuration: "/data/testbench.yml"}
	for i, port := range benchPorts(rabbitmq) {
		if err := bench.add(port, &net.TCPAddr{IP: net.IPv4zero, Port: 15000 + i}); err != nil {
			t.Fatal(err)
		}
	}
	var got bytes.Buffer
	bench.print(&console{stdout: &got})
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestTestbenchJSON runs every line of the JSON.
func TestTestbenchJSON(t *testing.T) {
	needsProgram(t, "openssl")
	program, err := exec.LookPath("suitegate") // TestMain has put it there
	if err != nil {
		t.Fatal(err)
	}
	for name, ports := range map[string]int{"activemq": 21, "rabbitmq": 5} {
		t.Run(name, func(t *testing.T) {
			command := exec.Command(program, "testbench", "--policy", name, "--first-port", "0", "--json", "--dir", t.TempDir())
			stdout, err := command.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = command.Process.Kill() }) // an error means that it has ended
			var bench testbench
			if err := json.NewDecoder(stdout).Decode(&bench); err != nil {
				t.Fatal(err)
			}
			if bench.Policy != name || len(bench.Ports) != ports {
				t.Errorf("policy %s with %d ports, want %s with %d", bench.Policy, len(bench.Ports), name, ports)
			}
			for _, port := range bench.Ports {
				for _, trial := range []benchTrial{port.Succeeds, port.Fails} {
					e := experiment{command: trial.Command, prints: []string{trial.Prints}}
					if _, err := e.run(exec.Command("sh", "-c", e.command)); err != nil {
						t.Errorf("%s: %v", port.Listener, err)
					}
				}
			}
			if err := command.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := command.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
