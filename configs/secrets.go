package configs

import (
	"regexp"
	"strings"
)

// secretShapes are what secrets look like by their form alone: none of them is the
// name, address or path of anything.
var secretShapes = []struct {
	what string
	form *regexp.Regexp
}{
	{"a URL with a user name or password in it", regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s]*@`)},
	{"a password before a host", regexp.MustCompile(`^[^/@:\s]*:[^/@\s]+@[^@\s]+$`)},
	{"a password or token", regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key)["']?\s*[=:]\s*[^\s/]{3}`)},
	{"an access key of AWS", regexp.MustCompile(`(?:^|[^A-Za-z0-9])(?:AKIA|ASIA)[A-Z2-7]{16}(?:[^A-Za-z0-9]|$)`)},
	{"a token of Vault", regexp.MustCompile(`(?:^|[^A-Za-z0-9])hv[bsr]\.[A-Za-z0-9_-]{20}`)},
	{"a JSON Web Token", regexp.MustCompile(`(?:^|[^A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.`)},
	{"a token of GitHub", regexp.MustCompile(`(?:^|[^A-Za-z0-9])(?:gh[opsru]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22})`)},
	{"a token of GitLab", regexp.MustCompile(`(?:^|[^A-Za-z0-9])glpat-[A-Za-z0-9_-]{20}`)},
	{"a token of Slack", regexp.MustCompile(`(?:^|[^A-Za-z0-9])xox[abprs]-[A-Za-z0-9-]{10}`)},
}

// secretIn says what secret a text has in it by its form, and "" for none.
func secretIn(s string) string {
	for _, shape := range secretShapes {
		if shape.form.MatchString(s) {
			return shape.what
		}
	}
	return ""
}

// secretName is secretIn for what should be a name. Names are not drawn at random,
// or not in this way: UUIDs, digests in host names and what Kubernetes makes up
// have letters of one case, and are shorter than 64 digits.
func secretName(s string) string {
	if what := secretIn(s); what != "" {
		return what
	}
	for _, digits := range longHex.FindAllString(s, -1) {
		if distinct(digits) > 8 {
			return "a key in hexadecimal"
		}
	}
	for _, word := range words.FindAllString(s, -1) {
		if random(word) {
			return "random text, as keys and tokens are"
		}
	}
	return ""
}

var (
	longHex = regexp.MustCompile(`[0-9a-f]{64}|[0-9A-F]{64}`)
	words   = regexp.MustCompile(`[A-Za-z0-9]{20,}`)
)

func distinct(s string) int {
	seen := make(map[rune]bool)
	for _, c := range s {
		seen[c] = true
	}
	return len(seen)
}

// random says whether a word of letters and digits looks drawn: it has all kinds
// of characters, and changes between them at nearly every second one. Drawn words do
// so at three of five, and words put together with capitals at one of three.
func random(word string) bool {
	kind := func(c byte) byte {
		switch {
		case c >= 'a':
			return 'a'
		case c >= 'A':
			return 'A'
		}
		return '0'
	}
	changes, count := 0, map[byte]int{kind(word[0]): 1}
	for i := 1; i < len(word); i++ {
		if count[kind(word[i])]++; kind(word[i]) != kind(word[i-1]) {
			changes++
		}
	}
	return count['a'] > 1 && count['A'] > 1 && count['0'] > 1 && changes*100 >= (len(word)-1)*45
}

// secretFor says what secret there is instead of a value of some type. Names, and
// what stands for them, end in log lines, labels and pages.
func secretFor(target scalar, s string) string {
	switch target.(type) {
	case *name, *variable, *host, *alpn, *listenAddress, *nodeAddress:
		return secretName(s)
	}
	return secretIn(s)
}

// pemBegin is how keys begin that are pasted where their file should be named.
const pemBegin = "-----BEGIN "

// hidden is what stands in an error instead of a secret, and false for a text that
// is none.
func hidden(s string) (string, bool) {
	if strings.Contains(s, pemBegin) {
		return "", false // quote cuts it, and shows what is before it
	}
	what := secretName(s)
	return "(" + what + ")", what != ""
}
