package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
)

// experiment is a command for the user to paste, and what comes of it.
type experiment struct {
	shows   string   // one line, printed as a comment
	command string   // one line of POSIX shell
	prints  []string // each is part of a line of what it prints; none: it prints nothing
}

// print tells the user what runs where, and what to try.
func (p *demo) print(out *console, file, root string) {
	out.printf("A gateway and its brokers are running, on loopback alone.\n\n")
	rows := [][]string{{"LISTENER", "ADDRESS", "PROTOCOL", "POLICY", "BROKER"}}
	about := make(map[string]string)
	for _, upstream := range p.Upstreams {
		about[upstream.Name] = upstream.Address + ", " + upstream.About
	}
	for _, l := range p.Listeners {
		rows = append(rows, []string{l.Name, l.Address, l.Protocol, l.Policy, about[l.Upstream]})
	}
	out.table("  ", rows)
	out.printf("\n")
	out.table("  ", [][]string{
		{"root certificate", root},
		{"configuration", file},
		{"status page", "http://" + p.Admin + "/"},
		{"metrics", "http://" + p.Admin + "/metrics"},
	})
	out.printf("\nPaste these into another terminal. What is behind #=> is part of the answer.\n")
	printExperiments(out, p.experiments(file, root))
	out.printf("\nBelow is a log line for every connection. Ctrl-C ends the demo.\n\n")
}

func printExperiments(out *console, list []experiment) {
	for _, e := range list {
		out.printf("\n# %s\n%s\n", e.shows, e.command)
		for _, line := range e.prints {
			out.printf("#=> %s\n", line)
		}
	}
}

// sClient is a handshake by openssl, which ends when it is done.
func sClient(address, root, options string) string {
	command := fmt.Sprintf("openssl s_client -brief -connect %s -CAfile %s", shellQuote(address), shellQuote(root))
	if options != "" {
		command += " " + options
	}
	return command + " </dev/null"
}

// experiments go from the first handshake to the metrics that counted them.
func (p *demo) experiments(file, root string) []experiment {
	at := make(map[string]string)
	for _, l := range p.Listeners {
		at[l.Name] = l.Address
	}
	list := handshakeExperiments(at, root)
	list = append(list, messageExperiments(at, root)...)
	list = append(list, foundExperiments(at, root)...)
	return append(list,
		experiment{
			shows:   "What was refused for its cipher suites, as the gateway counted it (Debian: apt-get install curl)",
			command: fmt.Sprintf("curl -s http://%s/metrics | grep no_common_suite", p.Admin),
			prints:  []string{`reason="no_common_suite"`},
		},
		experiment{
			shows:   "Every suite that each listener accepts, from the configuration to start your own with",
			command: fmt.Sprintf("%s check --config %s", programName(), shellQuote(file)),
			prints:  []string{"ECDHE-RSA-AES256-GCM-SHA384"},
		})
}

const (
	// TLS alerts as openssl prints them, under the names of RFC 8446 section 6.
	handshakeFailure = "SSL alert number 40" // handshake_failure
	protocolVersion  = "SSL alert number 70" // protocol_version
)

func handshakeExperiments(at map[string]string, root string) []experiment {
	return []experiment{
		{
			shows:   "TLS 1.3, accepted, and the certificate is trusted",
			command: sClient(at["mqtts"], root, "-tls1_3"),
			prints:  []string{"Ciphersuite: TLS_AES_256_GCM_SHA384", "Verification: OK"},
		},
		{
			shows:   "TLS 1.3 with a suite outside the policy, refused with handshake_failure",
			command: sClient(at["mqtts"], root, "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256"),
			prints:  []string{handshakeFailure},
		},
		{
			shows:   "TLS 1.2, accepted",
			command: sClient(at["mqtts"], root, "-tls1_2"),
			prints:  []string{"Ciphersuite: ECDHE-RSA-AES256-GCM-SHA384"},
		},
		{
			shows:   "TLS 1.2 without forward secrecy, refused by policy rabbitmq with handshake_failure",
			command: sClient(at["mqtts"], root, "-tls1_2 -cipher AES256-GCM-SHA384"),
			prints:  []string{handshakeFailure},
		},
		{
			shows:   "The same offer, accepted by policy activemq",
			command: sClient(at["mqtts-activemq"], root, "-tls1_2 -cipher AES256-GCM-SHA384"),
			prints:  []string{"Ciphersuite: AES256-GCM-SHA384"},
		},
		{
			shows:   "TLS 1.1, refused by every policy with protocol_version",
			command: sClient(at["mqtts-activemq"], root, "-tls1_1 -cipher ALL:@SECLEVEL=0"),
			prints:  []string{protocolVersion},
		},
	}
}

func messageExperiments(at map[string]string, root string) []experiment {
	mosquitto := func(program, options string) string {
		host, port, _ := net.SplitHostPort(at["mqtts"]) // it is listening there
		return fmt.Sprintf("%s --cafile %s -h %s -p %s -t demo %s", program, shellQuote(root), host, port, options)
	}
	return []experiment{
		{
			shows:   "An MQTT message that the broker retains (Debian: apt-get install mosquitto-clients)",
			command: mosquitto("mosquitto_pub", "-r -m 'hello through TLS'"),
		},
		{
			shows:   "The message comes back",
			command: mosquitto("mosquitto_sub", "-C 1"),
			prints:  []string{"hello through TLS"},
		},
		{
			shows: "A STOMP broker answers CONNECT with CONNECTED",
			command: fmt.Sprintf(`(printf 'CONNECT\naccept-version:1.2\nhost:demo\n\n\000'; sleep 2) |`+
				` openssl s_client -quiet -no_ign_eof -connect %s -CAfile %s`, at["stomps"], shellQuote(root)),
			prints: []string{"CONNECTED", "version:1.2"},
		},
	}
}

// foundExperiments are for the brokers that were found on this host.
func foundExperiments(at map[string]string, root string) []experiment {
	var list []experiment
	if address, ok := at["amqps"]; ok {
		list = append(list, experiment{
			shows:   "The AMQP broker of this host, through TLS; clients connect to amqps://" + address,
			command: sClient(address, root, ""),
			prints:  []string{"Verification: OK"},
		})
	}
	if address, ok := at["openwires"]; ok {
		list = append(list, experiment{
			shows:   "The OpenWire broker of this host, through TLS; clients connect to ssl://" + address,
			command: sClient(address, root, ""),
			prints:  []string{"Verification: OK"},
		})
	}
	return list
}

// programName is what to type to run this program: its name, if a shell would
// find it, or else its path, which under "go run" is there until the demo ends.
func programName() string {
	const name = "suitegate"
	if _, err := exec.LookPath(name); err == nil {
		return name
	}
	if path, err := os.Executable(); err == nil {
		return shellQuote(path)
	}
	return name
}

// shellQuote quotes a path for a POSIX shell, if it needs it.
func shellQuote(path string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+@%:,", r)
	}
	if strings.IndexFunc(path, func(r rune) bool { return !safe(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
