package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/suitegate/suitegate/proxy/clienthello"
	"github.com/suitegate/suitegate/proxy/clienthello/capture"
)

// maxHelloInput bounds what is read in search of a hello, in bytes: one of the
// largest size that the gateway takes, in the most verbose of dumps.
const maxHelloInput = 16 * clienthello.MaxSize

// Handshake message and record that begin with a ClientHello.
const (
	typeClientHello = 0x01
	recordHandshake = 0x16
)

// findHello finds a ClientHello in a file, in standard input ("-"), or in the
// argument itself, if that is hexadecimal and no file has its name. Of a capture
// it is the one that pick says.
func findHello(source string, pick clientPick, stdin io.Reader) (capture.Hello, *capture.Seen, error) {
	input := stdin
	if source != "-" {
		file, err := os.Open(source)
		switch {
		case err == nil:
			defer file.Close()
			input = file
		case isDump(source): // and too long for a file name, to some systems
			input = strings.NewReader(source)
		case errors.Is(err, fs.ErrNotExist):
			return capture.Hello{}, nil, fmt.Errorf("%.80q is neither a file nor a hello in hexadecimal", source)
		default:
			return capture.Hello{}, nil, err
		}
	}
	captured, rest, err := readCapture(input, pick)
	if err != nil {
		return capture.Hello{}, nil, err
	}
	if captured != nil {
		found, err := pick.from(captured)
		return found, &captured.Seen, err
	}
	if pick.given() {
		return capture.Hello{}, nil, usageHint(errors.New("--client picks one of the hellos of a capture, and there is none"))
	}
	hello, err := parseHello(rest)
	if malformed, ok := errors.AsType[*clienthello.ParseError](err); ok {
		return capture.Hello{Err: malformed}, nil, nil
	}
	return capture.Hello{Hello: hello}, nil, err
}

// parseHello parses the bytes of a hello, or a dump of them.
func parseHello(input []byte) (*clienthello.Hello, error) {
	wire, err := wireBytes(input)
	if err != nil {
		return nil, withHint(err, "what is read: a capture of tcpdump or Wireshark, what `tcpdump -x` prints, or the bytes of a packet, of the TLS record or of the handshake message, or a dump of these in hexadecimal")
	}
	var hello *clienthello.Hello
	if wire[0] == typeClientHello {
		hello, err = parseMessage(wire)
	} else {
		hello, err = clienthello.Read(bytes.NewReader(wire), clienthello.MaxSize)
	}
	var partial *clienthello.PartialError
	var foreign *clienthello.NotTLSError
	switch {
	case errors.As(err, &partial):
		return nil, fmt.Errorf("the hello is cut short: it goes on after the %s that are here", count(partial.Received, "byte"))
	case errors.As(err, &foreign):
		return nil, withHint(err, "a hello begins with the bytes 16 03, or 01 for the handshake message alone")
	}
	return hello, err
}

func isDump(text string) bool {
	_, err := wireBytes([]byte(text))
	return err == nil
}

func readAtMost(r io.Reader) ([]byte, error) {
	input, err := io.ReadAll(io.LimitReader(r, maxHelloInput+1))
	if err == nil && len(input) > maxHelloInput {
		err = fmt.Errorf("more than %d bytes, and not a capture", maxHelloInput)
	}
	return input, err
}

// parseMessage parses a handshake message without its record.
func parseMessage(message []byte) (*clienthello.Hello, error) {
	const header = 4
	if len(message) < header {
		return nil, &clienthello.PartialError{Received: len(message), Err: io.EOF}
	}
	end := header + int(message[1])<<16 + int(message[2])<<8 + int(message[3])
	if len(message) < end {
		return nil, &clienthello.PartialError{Received: len(message), Err: io.EOF}
	}
	return clienthello.Parse(message[:end]) // dumps of a whole connection go on
}

// wireBytes are the input itself, or what it spells in hexadecimal. There is at
// least one.
func wireBytes(input []byte) ([]byte, error) {
	if len(input) == 0 {
		return nil, errors.New("there is no hello: the input is empty")
	}
	if input[0] == typeClientHello || input[0] == recordHandshake {
		return input, nil
	}
	wire, ok := undump(string(input))
	if !ok || len(wire) == 0 {
		return nil, errors.New("the input is neither a TLS hello nor hexadecimal")
	}
	return wire, nil
}

var (
	cComment = regexp.MustCompile(`(?s)/\*.*?\*/`)
	cByte    = regexp.MustCompile(`(?:\b0x|\\x)([0-9a-fA-F]{2})\b`)
	cBytes   = regexp.MustCompile(`\b0x[0-9a-fA-F]{2}\s*,|\\x[0-9a-fA-F]{2}`)

	offset     = regexp.MustCompile(`^\s*(?:0x)?([0-9a-fA-F]{4,8})(?::|\s{2,})\s*`)
	zeroOffset = regexp.MustCompile(`^\s*(?:0x)?0{4,8}(?::|\s{2,})`)
)

// undump reads the dumps of bytes that people have at hand: bare hexadecimal
// with or without spaces and colons, C arrays and escaped strings, lines behind
// offsets as of xxd, hexdump -C and Wireshark, and the messages that `openssl
// s_client -msg` sends.
func undump(text string) ([]byte, bool) {
	if strings.Contains(text, ">>> ") {
		text = sentByOpenSSL(text)
	}
	switch {
	case cBytes.MatchString(text):
		var wire []byte
		for _, match := range cByte.FindAllStringSubmatch(cComment.ReplaceAllString(text, ""), -1) {
			value, _ := strconv.ParseUint(match[1], 16, 8) // the expression lets nothing else through
			wire = append(wire, byte(value))
		}
		return wire, true
	case zeroOffset.MatchString(text):
		return undumpLines(text)
	}
	return decodeHex(text)
}

// decodeHex ignores what stands between bytes.
func decodeHex(text string) ([]byte, bool) {
	digits := strings.NewReplacer(":", "", "-", "").Replace(strings.Join(strings.Fields(text), ""))
	wire, err := hex.DecodeString(strings.TrimPrefix(digits, "0x"))
	return wire, err == nil
}

// sentByOpenSSL leaves of the output of s_client what it sent before the server
// said anything.
func sentByOpenSSL(text string) string {
	_, text, _ = strings.Cut(text, ">>> ")
	text, _, _ = strings.Cut(text, "<<< ")
	var lines strings.Builder
	for line := range strings.Lines(text) {
		if _, ok := decodeHex(line); ok {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

// undumpLines reads lines of an offset, bytes, and perhaps characters. How many
// bytes a line has shows in the next offset; for the last line, which has none
// behind it, the bytes end where those of the line before do.
func undumpLines(text string) ([]byte, bool) {
	type row struct {
		offset int
		rest   string // what comes behind the offset
	}
	var rows []row
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		at := offset.FindStringSubmatchIndex(line)
		if at == nil {
			if digits := strings.TrimSpace(line); digits == "" || len(digits) >= 4 && isHex(digits) {
				continue // hexdump ends with an offset alone
			}
			return nil, false
		}
		value, _ := strconv.ParseUint(line[at[2]:at[3]], 16, 32) // the expression lets nothing else through
		rows = append(rows, row{int(value), line[at[1]:]})
	}
	var wire []byte
	width := -1
	for i, r := range rows {
		if r.offset != len(wire) {
			return nil, false // another packet, or lines are missing
		}
		n := -1
		if i+1 < len(rows) {
			n = rows[i+1].offset - r.offset
		} else if width >= 0 && width < len(r.rest) {
			r.rest = r.rest[:width]
		}
		bytes, end, ok := leadingBytes(r.rest, n)
		if !ok {
			return nil, false
		}
		wire, width = append(wire, bytes...), end
	}
	return wire, true
}

// leadingBytes reads n bytes, or as many as there are if n is negative, and
// says where they end.
func leadingBytes(text string, n int) (wire []byte, end int, ok bool) {
	at := 0
	for len(wire) != n {
		for at < len(text) && text[at] == ' ' {
			at++
		}
		if at+2 > len(text) || !isHex(text[at:at+2]) {
			break
		}
		value, _ := strconv.ParseUint(text[at:at+2], 16, 8) // isHex
		wire = append(wire, byte(value))
		at += 2
		end = at
	}
	return wire, end, n < 0 || len(wire) == n
}

func isHex(text string) bool {
	return strings.Trim(text, "0123456789abcdefABCDEF") == ""
}
