package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// capturedPackets are those of a little-endian pcap that package capture keeps.
func capturedPackets(t *testing.T, name string) (packets [][]byte) {
	t.Helper()
	file, err := os.ReadFile("../../proxy/clienthello/capture/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for file = file[24:]; len(file) > 0; {
		end := 16 + int(binary.LittleEndian.Uint32(file[8:]))
		packets, file = append(packets, file[16:end]), file[end:]
	}
	return packets
}

// dumped is Wireshark's hex dump of a packet, or with an offset in front of tcpdump's.
func dumped(packet []byte) string {
	var text strings.Builder
	for at := 0; at < len(packet); at += 16 {
		row := packet[at:min(at+16, len(packet))]
		fmt.Fprintf(&text, "%04x   % -48x  %s\n", at, row, strings.Repeat(".", len(row)))
	}
	return text.String()
}

// TestPacketDumps reads packets as people copy them.
func TestPacketDumps(t *testing.T) {
	packets := capturedPackets(t, "openssl-loopback.pcap")
	var all []string
	for _, packet := range packets {
		all = append(all, dumped(packet))
	}
	hello := packets[3]
	for name, input := range map[string]string{
		"a packet's bytes":           string(hello),
		"one packet":                 dumped(hello),
		"all packets":                strings.Join(all, "\n"),
		"a hex stream":               fmt.Sprintf("%x\n", hello),
		"the IP packet's hex stream": fmt.Sprintf("%x\n", hello[14:]),
	} {
		found, seen, err := findHello("-", clientPick{}, strings.NewReader(input))
		if err != nil || seen == nil || found.Hello == nil || found.Hello.ServerName != "broker.example.com" || found.Client != netip.MustParseAddrPort("127.0.0.1:36054") {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
	// What looks like tcpdump's rows, and is of the hello alone.
	const header = 14 + 20 + 32
	rows := "\t0x" + strings.ReplaceAll(strings.TrimSpace(dumped(hello[header:])), "\n", "\n\t0x")
	rows = strings.ReplaceAll(rows, "   1603", ":  1603")
	if found, seen, err := findHello("-", clientPick{}, strings.NewReader(rows)); err != nil || seen != nil || found.Hello == nil || found.Hello.ServerName != "broker.example.com" {
		t.Errorf("%+v, %v, of\n%s", found, err, rows)
	}
}

func TestParsePick(t *testing.T) {
	at := netip.MustParseAddrPort
	for text, clients := range map[string]map[netip.AddrPort]bool{
		"":                  {at("192.0.2.7:1"): true, at("[::1]:1"): true},
		"192.0.2.7":         {at("192.0.2.7:1"): true, at("192.0.2.8:1"): false},
		"192.0.2.7:2":       {at("192.0.2.7:2"): true, at("192.0.2.7:1"): false},
		"::ffff:192.0.2.7":  {at("192.0.2.7:2"): true},
		"[::1]":             {at("[::1]:2"): true},
		"[2001:db8::7]:443": {at("[2001:db8::7]:443"): true, at("[2001:db8::7]:444"): false},
		"fe80::1%eth0":      {at("[fe80::1]:1"): true},
	} {
		pick, err := parsePick(text)
		if err != nil {
			t.Error(err)
		}
		for client, want := range clients {
			if got := pick.takes(client); got != want {
				t.Errorf("%q takes %v: %t", text, client, got)
			}
		}
	}
	for _, text := range []string{"broker", "192.0.2.7:", "192.0.2.7:0", "192.0.2.7:70000", ":5671"} {
		if pick, err := parsePick(text); err == nil {
			t.Errorf("%q is %v", text, pick)
		}
	}
}
