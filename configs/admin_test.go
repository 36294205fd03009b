package configs

import "testing"

func TestTokenWithoutAddress(t *testing.T) {
	for text, want := range map[string]string{
		"admin: {socket: s, token_file: t}":                          `dir/suitegate.yml:1:20: admin: a token is of no use without an address: the socket needs none`,
		"admin: {token_env: T}":                                      `dir/suitegate.yml:1:9: admin: a token is of no use without an address: the socket needs none`,
		"admin: {address: 127.0.0.1:9090, socket: s, token_file: t}": "",
		"admin: {socket: s}":                                         "",
	} {
		if got := mustParse(t, text+minimal).Warnings.Error(); got != want {
			t.Errorf("%s: warnings %q, want %q", text, got, want)
		}
	}
}
