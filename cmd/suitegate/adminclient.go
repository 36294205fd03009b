package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/suitegate/suitegate/certs"
)

// tokenVariable is the environment variable with the token of the admin address.
const tokenVariable = "SUITEGATE_ADMIN_TOKEN"

// reloadCommand has a running gateway read its configuration again.
type reloadCommand struct {
	adminAt
	Timeout time.Duration `default:"1m" help:"How long to wait for the answer (default: ${default})."`
}

func (r *reloadCommand) Run(out *console) error {
	var answer struct{ Changes []string }
	if err := r.post("/reload", r.Timeout, &answer); err != nil {
		return err
	}
	if len(answer.Changes) == 0 {
		out.printf("reloaded, nothing is different\n")
	}
	for _, change := range answer.Changes {
		out.printf("%s\n", change)
	}
	return nil
}

// drainCommand has a running gateway end.
type drainCommand struct {
	adminAt
	Timeout time.Duration `default:"3s" help:"How long to wait for the answer (default: ${default})."`
}

func (d *drainCommand) Run(out *console) error {
	if err := d.post("/drain", d.Timeout, &struct{}{}); err != nil {
		return err
	}
	out.printf("draining\n")
	return nil
}

// adminAt is where the admin server of a running gateway is, and what it wants
// to see.
type adminAt struct {
	Admin     string `xor:"address" placeholder:"ADDR" help:"Admin address of the gateway, or the path of its admin socket (default: 127.0.0.1:9090)."`
	Config    string `xor:"address" placeholder:"FILE" help:"Configuration of the gateway, to take the admin socket, or address and token, from."`
	TokenFile string `placeholder:"FILE" help:"File with the token of the admin address (default: $SUITEGATE_ADMIN_TOKEN has it)."`

	reading bool // no token is needed
}

// adminClient asks the admin server of a running gateway.
type adminClient struct {
	base    string // URL
	token   string
	timeout time.Duration
	http    http.Client
}

// client finds out whom to ask, and how.
func (a *adminAt) client(timeout time.Duration) (*adminClient, error) {
	secret, socket := certs.Secret{File: a.TokenFile}, ""
	if strings.ContainsRune(a.Admin, os.PathSeparator) {
		socket = a.Admin
	}
	if a.Config != "" {
		cfg, err := loadConfig(a.Config)
		if err != nil {
			return nil, err
		}
		a.Admin, socket = cfg.Admin.Address, cfg.Admin.Socket
		if a.reading && a.Admin != "" { // which another user may, but not through the socket
			socket = ""
		}
		if a.Admin == "" && socket == "" {
			return nil, fmt.Errorf("%s has no admin.address or admin.socket to ask", a.Config)
		}
		if a.TokenFile == "" {
			secret = certs.Secret{File: cfg.Admin.TokenFile, Env: cfg.Admin.TokenEnv}
		}
	}
	// A proxy in the environment has nothing to say about a local gateway.
	transport := &http.Transport{DisableKeepAlives: true}
	c := &adminClient{timeout: timeout, http: http.Client{Transport: transport}}
	if socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
		c.base = "http://localhost"
		return c, nil
	}
	address, err := dialable(cmp.Or(a.Admin, "127.0.0.1:9090"))
	if err != nil {
		return nil, usageHint(err, "--admin 127.0.0.1:9090, or --admin ./run/admin.sock")
	}
	c.base = "http://" + address
	switch {
	case a.reading:
	case secret == certs.Secret{}:
		c.token = os.Getenv(tokenVariable)
	default:
		token, err := secret.Read()
		if err != nil {
			return nil, fmt.Errorf("admin token: %w", err)
		}
		c.token = string(token)
	}
	return c, nil
}

// ask returns the status of an answer and its text.
func (c *adminClient) ask(method, path string) (status int, answer string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return 0, "", err
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		var wrapped *url.Error // repeats the address
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return 0, "", err
	}
	defer response.Body.Close()
	// Enough for a line per listener, node or mistake, and for all that the
	// gateway remembers of clients.
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	return response.StatusCode, strings.TrimSpace(string(body)), err
}

// post has the gateway change something, and reads its answer into a pointer.
// Mistakes in the configuration are told like those that check finds.
func (a *adminAt) post(path string, timeout time.Duration, answer any) error {
	c, err := a.client(timeout)
	if err != nil {
		return err
	}
	status, text, err := c.ask(http.MethodPost, path)
	if err != nil {
		return withHint(err, "the address is the configuration's admin.address or admin.socket: see --admin and --config")
	}
	if status == http.StatusOK {
		return json.Unmarshal([]byte(text), answer)
	}
	var refused struct {
		Error    string
		Mistakes []string
	}
	if json.Unmarshal([]byte(text), &refused) != nil || refused.Error == "" {
		return fmt.Errorf("the gateway answers %d %s: %s", status, http.StatusText(status), text)
	}
	err = errors.New(strings.Join(append(refused.Mistakes, refused.Error), "\n"))
	if status == http.StatusUnauthorized {
		return withHint(err, "--token-file FILE or "+tokenVariable+" gives the token")
	}
	return err
}

// dialable turns an address to listen on, as the configuration has it, into
// one to dial: an unspecified host becomes loopback.
func dialable(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if port == "" || port == "0" {
		return "", errors.New("address " + address + ": missing port")
	}
	switch ip := net.ParseIP(host); {
	case host == "":
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}
