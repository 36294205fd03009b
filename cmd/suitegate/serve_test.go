package main

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestHintStart(t *testing.T) {
	owner := ""
	if os.Geteuid() == 0 { // nobody else gives up what this is about
		owner = "run as their owner"
	}
	for _, tt := range []struct{ err, hint string }{
		{"g.yml:11:14: cannot listen on 127.0.0.1:5671: bind: address already in use", "ss -ltnp"},
		{"g.yml:11:14: cannot listen on 127.0.0.1:671: bind: permission denied", "CAP_NET_BIND_SERVICE"},
		{"g.yml:7:38: open tls.key: permission denied", owner},
		{"g.yml:7:38: open tls.key: no such file or directory", ""},
	} {
		var hinted *hintedError
		hint := ""
		if errors.As(hintStart(errors.New(tt.err)), &hinted) {
			hint = strings.Join(hinted.hints, "\n")
		}
		if !strings.Contains(hint, tt.hint) || tt.hint == "" && hint != "" {
			t.Errorf("%s: hint %q, want %q", tt.err, hint, tt.hint)
		}
	}
}
