package main

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/suitegate/suitegate/policy"
)

// A peer is a kind of gateway. Those of their makers' defaults that do not stand
// in its configuration are kept.
type peer struct {
	name string

	// find returns the program and what version it is.
	find func(ctx context.Context, f finder) (program, version string, err error)

	// command writes the configuration for settings.
	command func(program string, s settings) (*exec.Cmd, error)

	// cannot says why a peer has no part in a scenario, where that is known before
	// it is tried. It may be nil.
	cannot func(s scenario) string
}

// A finder is where programs come from.
type finder struct {
	root  string // of this module
	dir   string // for what is built
	build bool   // what is not this module's, and not there
}

// A contestant is a peer that is there, or a variant of suitegate.
type contestant struct {
	name    string
	peer    peer
	program string
	variant variant
}

// peers are all that are known, suitegate first.
func peers() []peer {
	return []peer{
		{name: suitegateName, find: buildSuitegate, command: suitegateCommand},
		{name: baselinePeer, find: installed("haproxy", "-v"), command: haproxyCommand},
		{name: "nginx", find: findNginx, command: nginxCommand},
		{name: "hitch", find: installed("hitch", "--version"), command: hitchCommand},
		{name: "stunnel", find: installed("stunnel4", "-version"), command: stunnelCommand},
		{name: "ghostunnel", find: findGhostunnel, command: ghostunnelCommand, cannot: ghostunnelCannot},
	}
}

const suitegateName = "suitegate"

// lookPath also looks where Debian has servers, which is in no user's path.
func lookPath(name string) (string, error) {
	program, err := exec.LookPath(name)
	if err == nil {
		return program, nil
	}
	if program, sbin := exec.LookPath(filepath.Join("/usr/sbin", filepath.Base(name))); sbin == nil {
		return program, nil
	}
	return "", err
}

var versionNumber = regexp.MustCompile(`\d+\.\d+[-\w.+~]*`)

// installed finds a program that prints its version.
func installed(name, flag string) func(context.Context, finder) (string, string, error) {
	return func(ctx context.Context, _ finder) (string, string, error) {
		program, err := lookPath(name)
		if err != nil {
			return "", "", err
		}
		out, err := exec.CommandContext(ctx, program, flag).CombinedOutput()
		version := versionNumber.FindString(string(out))
		if version == "" {
			return "", "", fmt.Errorf("%s %s says no version: %v", name, flag, err)
		}
		return program, version, nil
	}
}

func haproxyCommand(program string, s settings) (*exec.Cmd, error) {
	config, err := s.file("haproxy.cfg", fmt.Sprintf(`global
  nbthread 1
  log stderr format raw local0 info
defaults
  mode tcp
  log global
  option tcplog
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen tls
  bind %s ssl crt %s ssl-min-ver %[3]s ssl-max-ver %[3]s %[4]s
  server backend %[5]s
`, s.listen[0], s.fixture.bundle, opensslVersion(s.scenario), pick(s.scenario, "ciphers ", "ciphersuites ")+s.scenario.suite.OpenSSLName, s.backend))
	return exec.Command(program, "-db", "-f", config), err
}

// opensslVersion is a version as the settings of OpenSSL's users have it.
func opensslVersion(s scenario) string { return pick(s, "TLSv1.2", "TLSv1.3") }

func pick(s scenario, tls12, tls13 string) string {
	if s.version == policy.TLS13 {
		return tls13
	}
	return tls12
}

var modulesPath = regexp.MustCompile(`--modules-path=(\S+)`)

// findNginx wants one that has the stream module, or can load it.
func findNginx(ctx context.Context, f finder) (program, version string, err error) {
	if program, version, err = installed("nginx", "-v")(ctx, f); err != nil {
		return "", "", err
	}
	if _, err := nginxStream(program); err != nil {
		return "", "", err
	}
	return program, version, nil
}

// nginxStream is the line that loads the stream module, or empty where it is
// built in.
func nginxStream(program string) (string, error) {
	out, err := exec.Command(program, "-V").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nginx -V: %w", err)
	}
	if strings.Contains(string(out), "--with-stream ") {
		return "", nil
	}
	if match := modulesPath.FindSubmatch(out); match != nil {
		module := filepath.Join(string(match[1]), "ngx_stream_module.so")
		if _, err := os.Stat(module); err == nil {
			return "load_module " + module + ";", nil
		}
	}
	return "", errors.New("nginx has no stream module (Debian's libnginx-mod-stream)")
}

func nginxCommand(program string, s settings) (*exec.Cmd, error) {
	module, err := nginxStream(program)
	if err != nil {
		return nil, err
	}
	config, err := s.file("nginx.conf", fmt.Sprintf(`%s
daemon off;
worker_processes 1;
pid %s;
error_log stderr;
events { worker_connections 65536; }
stream {
  log_format line '$remote_addr [$time_local] $ssl_protocol $ssl_cipher $status $bytes_sent $bytes_received $session_time';
  access_log %s line;
  server {
    listen %s ssl;
    ssl_certificate %s;
    ssl_certificate_key %s;
    ssl_dhparam %s;
    ssl_protocols %s;
    %s %s;
    proxy_pass %s;
    proxy_timeout 1h;
    proxy_half_close on;
  }
}
`, module, filepath.Join(s.dir, "pid"), filepath.Join(s.dir, "access.log"), s.listen[0], s.fixture.certificate, s.fixture.key, s.params,
		opensslVersion(s.scenario), pick(s.scenario, "ssl_ciphers", "ssl_conf_command Ciphersuites"), s.scenario.suite.OpenSSLName, s.backend))
	cmd := exec.Command(program, "-p", s.dir, "-e", "stderr", "-c", config)
	if os.Getuid() == 0 {
		cmd.Args = append(cmd.Args, "-g", "user root;") // to read the key, which is root's
	}
	return cmd, err
}

func hitchCommand(program string, s settings) (*exec.Cmd, error) {
	host, port, _ := strings.Cut(s.listen[0], ":")
	backendHost, backendPort, _ := strings.Cut(s.backend, ":")
	user := ""
	if os.Getuid() == 0 {
		user = `user = "nobody"` // it refuses to work as root
	}
	// Its level 2 logs several lines a connection, its level 1 none.
	config, err := s.file("hitch.conf", fmt.Sprintf(`frontend = { host = "%s" port = "%s" }
backend = "[%s]:%s"
pem-file = "%s"
workers = 1
daemon = off
backlog = 1024
tls-protos = %s
%s = "%s"
log-level = 1
%s
`, host, port, backendHost, backendPort, s.fixture.bundle, opensslVersion(s.scenario), pick(s.scenario, "ciphers", "ciphersuites"), s.scenario.suite.OpenSSLName, user))
	return exec.Command(program, "--config="+config), err
}

func stunnelCommand(program string, s settings) (*exec.Cmd, error) {
	config, err := s.file("stunnel.conf", fmt.Sprintf(`foreground = quiet
pid =
syslog = no
output = %s
debug = notice
[tls]
accept = %s
connect = %s
cert = %s
sslVersion = %s
%s = %s
`, filepath.Join(s.dir, "stunnel.log"), s.listen[0], s.backend, s.fixture.bundle,
		opensslVersion(s.scenario), pick(s.scenario, "ciphers", "ciphersuites"), s.scenario.suite.OpenSSLName))
	return exec.Command(program, config), err
}

// ghostunnelVersion is the one that is measured.
const ghostunnelVersion = "v1.8.4"

// findGhostunnel looks in the path and among what go install has installed, and
// builds it otherwise, from the module and with the versions that it names itself.
// That takes a C compiler: without one its v1.8.4 does not compile.
func findGhostunnel(ctx context.Context, f finder) (program, version string, err error) {
	gopath, err := commandOutput(ctx, f.dir, "go", "env", "GOPATH")
	if err != nil {
		return "", "", err
	}
	for _, name := range []string{"ghostunnel", filepath.Join(gopath, "bin", "ghostunnel")} {
		if program, err = lookPath(name); err != nil {
			continue
		}
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			return "", "", err
		}
		return program, strings.TrimPrefix(info.Main.Version, "v"), nil
	}
	if !f.build {
		return "", "", errors.New("ghostunnel is not installed, and takes minutes to build")
	}
	out, err := commandOutput(ctx, f.dir, "go", "mod", "download", "-json", "github.com/ghostunnel/ghostunnel@"+ghostunnelVersion)
	if err != nil {
		return "", "", err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &module); err != nil {
		return "", "", fmt.Errorf("go mod download: %w", err)
	}
	program = filepath.Join(f.dir, "ghostunnel")
	_, err = commandOutput(ctx, module.Dir, "go", "build", "-mod=readonly", "-trimpath", "-o", program, ".")
	return program, strings.TrimPrefix(ghostunnelVersion, "v"), err
}

func commandOutput(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

func ghostunnelCommand(program string, s settings) (*exec.Cmd, error) {
	return exec.Command(program, "server", "--listen", s.listen[0], "--target", s.backend,
		"--cert", s.fixture.certificate, "--key", s.fixture.key, "--cipher-suites", "AES", "--disable-authentication"), nil
}

func ghostunnelCannot(s scenario) string {
	if s.suite.Cipher != policy.AES128GCM && s.suite.Cipher != policy.AES256GCM || s.suite.KeyExchange == policy.DHE {
		return "it has no such suite"
	}
	return ""
}
