package seal

import (
	"strings"
	"testing"
)

func TestCheckEndpoint(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://kms.eu-central-1.amazonaws.com": "",
		"https://vault.example:8200/":            "",
		"http://127.0.0.1:4566":                  "",
		"http://[::1]:8200":                      "",
		"http://localhost:8200":                  "",
		"http://vault.example:8200":              "neither https nor on this host",
		"http://localhost.example:8200":          "neither https nor on this host",
		"http://10.0.0.1:8200":                   "neither https nor on this host",
		"ftp://127.0.0.1":                        "does not begin with https://",
		"vault.example":                          "not a URL of the form",
		"https://":                               "not a URL of the form",
		"https://vault.example?key=value":        "not a URL of the form",
		"https://user:hunter2@vault.example":     "user name or password",
		"https://hunter2@vault.example":          "user name or password",
		"http://hunter2\x7f":                     "not a URL",
	} {
		err := CheckEndpoint(endpoint)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", endpoint, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}
