package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// exchangeOpenWire runs ActiveMQ's own producer and consumer. What they send is
// theirs, a number in words, and what they receive they print.
func exchangeOpenWire(t *testing.T, server endpoint) {
	properties := append(pki(t).javaProperties(t), "-Djdk.tls.client.protocols="+versionName(server.tls.MinVersion))
	url := "ssl://" + server.address
	if out, err := runClient(t, openWireClient(t, properties, "producer", url)); err != nil {
		t.Fatalf("producer: %v\n%s", err, out)
	} else if want := fmt.Sprintf("Produced: %d messages", messageCount); !strings.Contains(out, want) {
		t.Fatalf("the producer does not say %q:\n%s", want, out)
	}
	// failover is what ActiveMQ's users mostly write; it reconnects by itself.
	out, err := runClient(t, openWireClient(t, properties, "consumer", "failover:("+url+")"))
	if err != nil {
		t.Fatalf("consumer: %v\n%s", err, out)
	}
	var want, got strings.Builder
	for n := range messageCount {
		fmt.Fprintf(&want, "consumer-1 Received test message: %d\n", n)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, " Received ") {
			got.WriteString(line)
		}
	}
	if got.String() != want.String() {
		t.Errorf("the consumer did not receive %d messages in order:\n%.4000s", messageCount, out)
	}
}

func openWireClient(t *testing.T, properties []string, command, url string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	log4j := filepath.Join(dir, "log4j.properties")
	if err := writeFiles(map[string]string{log4j: log4jConfig}); err != nil {
		t.Fatal(err)
	}
	return activeMQConsole(dir, append(properties, "-Dlog4j.configuration=file:"+log4j), command,
		"--brokerUrl", url, "--destination", "queue://"+destination(t), "--messageCount", fmt.Sprint(messageCount))
}
