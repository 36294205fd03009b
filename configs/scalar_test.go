package configs

import (
	"strings"
	"testing"
)

func mustAddress(t *testing.T, s string) hostPort {
	t.Helper()
	var a listenAddress
	if err := a.parse(s); err != nil {
		t.Fatal(err)
	}
	return a.hostPort
}

func TestOverlaps(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:5671", "127.0.0.1:5671", true},
		{"127.0.0.1:5671", "127.0.0.1:5672", false},
		{"127.0.0.1:5671", "127.0.0.2:5671", false},
		{"127.0.0.1:5671", "[::1]:5671", false},
		{":5671", "127.0.0.1:5671", true},
		{"0.0.0.0:5671", "127.0.0.1:5671", true},
		{"0.0.0.0:5671", "[::1]:5671", true}, // package net listens on IPv6 too
		{"[::]:5671", "127.0.0.1:5671", true},
		{":5671", "[::]:5671", true},
		{":5671", "gateway.internal:5671", true},
		{"localhost:5671", "127.0.0.1:5671", true},
		{"[::ffff:127.0.0.1]:5671", "127.0.0.1:5671", true},
		{"[::1]:5671", "[0:0:0:0:0:0:0:1]:5671", true},
		{"[fe80::1%eth0]:5671", "[fe80::1%eth1]:5671", false},
		{"a.internal:5671", "A.internal.:5671", true},
		{"a.internal:5671", "b.internal:5671", false},
		{"a.internal:5671", "127.0.0.1:5671", false}, // unless the name says so; listening tells
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{":0", ":0", false},
	} {
		a, b := mustAddress(t, test.a), mustAddress(t, test.b)
		if got := a.overlaps(b); got != test.want {
			t.Errorf("%s overlaps %s: %v", test.a, test.b, got)
		}
		if got := b.overlaps(a); got != test.want {
			t.Errorf("%s overlaps %s: %v", test.b, test.a, got)
		}
	}
}

func TestReaches(t *testing.T) {
	for _, test := range []struct {
		node, listener string
		want           bool
	}{
		{"127.0.0.1:5671", "127.0.0.1:5671", true},
		{"localhost:5671", ":5671", true},
		{"127.0.0.9:5671", "0.0.0.0:5671", true},
		{"0.0.0.0:5671", ":5671", true}, // dialled, it is this machine
		{"10.0.0.1:5671", "10.0.0.1:5671", true},
		{"10.0.0.1:5671", ":5671", false}, // may be another machine
		{"broker:5671", ":5671", false},
		{"127.0.0.1:5672", ":5671", false},
	} {
		if got := mustAddress(t, test.node).reaches(mustAddress(t, test.listener)); got != test.want {
			t.Errorf("%s reaches %s: %v", test.node, test.listener, got)
		}
	}
}

// Files written on other systems: a byte order mark, and both kinds of line
// ends with the same positions.
func TestLineEnds(t *testing.T) {
	want := mustParse(t, minimal).Listeners[0].Pos
	for _, data := range []string{
		strings.ReplaceAll(minimal, "\n", "\r\n"),
		"\ufeff" + minimal,
	} {
		if got := mustParse(t, data).Listeners[0].Pos; got != want {
			t.Errorf("%.10q…: the listener is at %v, want %v", data, got, want)
		}
	}
}
