package main

import (
	"fmt"
	"net/http"
	"time"
)

// healthCommand lets a container without a shell ask its own gateway.
type healthCommand struct {
	Admin   string        `xor:"address" placeholder:"ADDR" help:"Admin address of the gateway, or the path of its admin socket (default: 127.0.0.1:9090)."`
	Config  string        `xor:"address" placeholder:"FILE" help:"Configuration of the gateway, to take the admin address from."`
	Timeout time.Duration `default:"3s" help:"How long to wait for the answer (default: ${default})."`
}

func (h *healthCommand) Run(out *console) error {
	at := adminAt{Admin: h.Admin, Config: h.Config, reading: true}
	client, err := at.client(h.Timeout)
	if err != nil {
		return err
	}
	status, answer, err := client.ask(http.MethodGet, "/readyz")
	if err != nil {
		return withHint(fmt.Errorf("not ready: %w", err),
			"the address is the configuration's admin.address: see --admin and --config")
	}
	if status != http.StatusOK {
		return fmt.Errorf("not ready: %d %s: %s", status, http.StatusText(status), answer)
	}
	out.printf("%s\n", answer)
	return nil
}
