package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// healthCommand lets a container without a shell ask its own gateway.
type healthCommand struct {
	Admin   string        `xor:"address" placeholder:"ADDR" help:"Admin address of the gateway (default: 127.0.0.1:9090)."`
	Config  string        `xor:"address" placeholder:"FILE" help:"Configuration of the gateway, to take the admin address from."`
	Timeout time.Duration `default:"3s" help:"How long to wait for the answer (default: ${default})."`
}

func (h *healthCommand) Run(out *console) error {
	if h.Config != "" {
		cfg, err := loadConfig(h.Config)
		if err != nil {
			return err
		}
		if h.Admin = cfg.Admin.Address; h.Admin == "" {
			return fmt.Errorf("health: %s has no admin.address to ask", h.Config)
		}
	}
	address, err := dialable(cmp.Or(h.Admin, "127.0.0.1:9090"))
	if err != nil {
		return usageHint(err, "suitegate health --admin 127.0.0.1:9090")
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	// A proxy in the environment has nothing to say about a local gateway.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		var wrapped *url.Error // repeats the address
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return withHint(fmt.Errorf("not ready: %w", err),
			"the address is the configuration's admin.address: see --admin and --config")
	}
	defer response.Body.Close()
	// Enough for a sentence per listener and upstream.
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<10))
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	answer := strings.TrimSpace(string(body))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s: %s", response.Status, answer)
	}
	out.printf("%s\n", answer)
	return nil
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
