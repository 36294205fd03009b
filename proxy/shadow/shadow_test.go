package shadow

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	strict = Candidate{"amqps", "strict"}
	begin  = time.Date(2026, 11, 27, 20, 0, 0, 0, time.UTC)
)

func watching(content string) *Book {
	b := new(Book)
	b.Watch(map[Candidate]string{strict: content}, begin)
	return b
}

func client(network, ja4 string) Client {
	return Client{Candidate: strict, Reason: "no_common_suite", Network: network, JA4: ja4}
}

func TestBook(t *testing.T) {
	b := watching("1")
	b.Judged(strict, false)
	b.Judged(strict, true)
	b.Judged(Candidate{"gone", "strict"}, true)
	b.Broken(client("192.0.2.0/24", "a"), "first", begin)
	b.Broken(client("198.51.100.0/24", "a"), "other", begin.Add(time.Second))
	b.Broken(client("192.0.2.0/24", "a"), "second", begin.Add(2*time.Second))
	b.Broken(Client{Candidate: Candidate{"gone", "strict"}}, "", begin)
	want := Impact{
		Tallies: []Tally{{Candidate: strict, Since: begin, Judged: 2, Broken: 3, Admitted: 1, Content: "1"}},
		Clients: []Record{
			{Client: client("192.0.2.0/24", "a"), Detail: "second", Count: 2, First: begin, Last: begin.Add(2 * time.Second)},
			{Client: client("198.51.100.0/24", "a"), Detail: "other", Count: 1, First: begin.Add(time.Second), Last: begin.Add(time.Second)},
		},
	}
	if diff := cmp.Diff(want, b.Impact()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What means something else begins anew, and what is gone is forgotten.
func TestWatch(t *testing.T) {
	b := watching("1")
	b.Broken(client("192.0.2.0/24", "a"), "", begin)
	b.Watch(map[Candidate]string{strict: "1", {"amqps", "new"}: "x"}, begin.Add(time.Hour))
	if i := b.Impact(); len(i.Tallies) != 2 || i.Tallies[1].Broken != 1 || i.Tallies[1].Since != begin || len(i.Clients) != 1 {
		t.Errorf("kept: %+v", i)
	}
	b.Watch(map[Candidate]string{strict: "2"}, begin.Add(time.Hour))
	if i := b.Impact(); len(i.Tallies) != 1 || i.Tallies[0].Broken != 0 || i.Tallies[0].Since != begin.Add(time.Hour) || len(i.Clients) != 0 {
		t.Errorf("changed: %+v", i)
	}
	if len(b.kinds) != 0 || len(b.records) != 0 {
		t.Errorf("something stays: %v %v", b.kinds, b.records)
	}
}

// A network that invents clients gets some records of its own and one for all
// others, and nobody else's go for it; all networks together get MaxRecords.
func TestBounds(t *testing.T) {
	b := watching("1")
	b.Broken(client("203.0.113.0/24", "honest"), "", begin)
	for i := range 1000 {
		b.Broken(client("192.0.2.0/24", fmt.Sprint(i)), "", begin.Add(time.Second))
	}
	i := b.Impact()
	if len(i.Clients) != 1+MaxRecordsPerNetwork+1 || i.Forgotten != 0 {
		t.Fatalf("%d records, %d forgotten", len(i.Clients), i.Forgotten)
	}
	if others := i.Clients[0]; !others.Others || others.Count != 1000-MaxRecordsPerNetwork || others.JA4 != "" {
		t.Errorf("%+v", others)
	}
	for n := range MaxRecords + 10 {
		b.Broken(client(fmt.Sprintf("10.%d.%d.0/24", n>>8, n&0xff), "a"), "", begin.Add(time.Minute))
	}
	i = b.Impact()
	if len(i.Clients) != MaxRecords || i.Forgotten != 1+MaxRecordsPerNetwork+1+10 {
		t.Errorf("%d records, %d forgotten", len(i.Clients), i.Forgotten)
	}
	b = watching("1")
	b.Broken(Client{Candidate: strict, ServerName: strings.Repeat("a", 2*MaxText), Subject: "\xff"}, strings.Repeat("b", 2*MaxText), begin)
	if r := b.Impact().Clients[0]; len(r.ServerName) != MaxText || len(r.Detail) != MaxText || r.Subject != "\uFFFD" {
		t.Errorf("%+v", r)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "impact", "host.json")
	b := watching("1")
	b.Judged(strict, false)
	for n := range 3 {
		b.Broken(client("192.0.2.0/24", fmt.Sprint(n)), "why", begin.Add(time.Duration(n)*time.Second))
	}
	if err := b.Save(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	again := new(Book)
	if err := again.Load(path); err != nil {
		t.Fatal(err)
	}
	again.Watch(map[Candidate]string{strict: "1"}, begin.Add(time.Hour))
	if diff := cmp.Diff(b.Impact(), again.Impact()); diff != "" {
		t.Errorf("(-saved +loaded):\n%s", diff)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := b.Save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("what has not changed was written again: %v", err)
	}
	if err := new(Book).Load(path); err != nil {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := new(Book).Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("half a file: %v", err)
	}
	b.Judged(strict, false)
	if err := b.Save(filepath.Join(path, "below")); err == nil {
		t.Error("saved below a file")
	}
	if !b.changed {
		t.Error("what could not be saved is not tried again")
	}
}

// A file with more than there can be brings no more than there can be.
func TestLoadBounds(t *testing.T) {
	var i Impact
	for n := range MaxRecords + 5 {
		i.Clients = append(i.Clients, Record{Client: client(fmt.Sprint(n), "")})
	}
	text, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "impact.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var b Book
	if err := b.Load(path); err != nil || b.recent.Len() != MaxRecords {
		t.Errorf("%d records, %v", b.recent.Len(), err)
	}
}

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24",
		"2001:db8:1:2::3": "2001:db8:1::/48", "fe80::1%eth0": "fe80::/48",
	} {
		if got := Network(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	if got := Network(netip.Addr{}); got != "" {
		t.Errorf("no address: %s", got)
	}
}
