package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/suitegate/suitegate/proxy/shadow"
)

// policyImpactCommand asks who would break.
type policyImpactCommand struct {
	adminAt
	Listener string        `placeholder:"NAME" help:"Only clients of this listener."`
	Policy   string        `placeholder:"NAME" help:"Only what this shadow policy would do."`
	JSON     bool          `help:"Print JSON, for programs."`
	Timeout  time.Duration `default:"10s" help:"How long to wait for the answer (default: ${default})."`
}

func (p *policyImpactCommand) Run(out *console) error {
	p.reading = true
	c, err := p.client(p.Timeout)
	if err != nil {
		return err
	}
	status, text, err := c.ask(http.MethodGet, "/impact")
	if err != nil {
		return withHint(err, "the address is the configuration's admin.address or admin.socket: see --admin and --config")
	}
	if status != http.StatusOK {
		return fmt.Errorf("the gateway answers %d %s", status, http.StatusText(status))
	}
	var impact shadow.Impact
	if err := json.Unmarshal([]byte(text), &impact); err != nil {
		return fmt.Errorf("the gateway's answer: %w", err)
	}
	other := func(c shadow.Candidate) bool {
		return p.Listener != "" && c.Listener != p.Listener || p.Policy != "" && c.Policy != p.Policy
	}
	impact.Tallies = slices.DeleteFunc(impact.Tallies, func(t shadow.Tally) bool { return other(t.Candidate) })
	impact.Clients = slices.DeleteFunc(impact.Clients, func(r shadow.Record) bool { return other(r.Candidate) })
	if p.JSON {
		return out.json(impact)
	}
	if len(impact.Tallies) == 0 {
		return withHint(fmt.Errorf("no listener of the gateway has such a shadow policy"), "listeners[].shadow in the configuration names some")
	}
	printImpact(out, impact)
	return nil
}

func printImpact(out *console, impact shadow.Impact) {
	for _, t := range impact.Tallies {
		out.printf("%s under %s, since %s: %s judged, %s would be refused, %d would be let in that are not now\n", t.Listener, t.Policy,
			t.Since.Format("2006-01-02 15:04 UTC"), count(int(t.Judged), "hello"), count(int(t.Broken), "connection"), t.Admitted)
	}
	if len(impact.Clients) == 0 {
		out.printf("nobody who has connected would break\n")
		return
	}
	for _, r := range impact.Clients {
		out.printf("\n%s under %s would refuse %s: %s\n", r.Listener, r.Policy, r.Network, r.Reason)
		rows := [][]string{{"seen", fmt.Sprintf("%s, last %s", count(int(r.Count), "time"), r.Last.Format("2006-01-02 15:04:05 UTC"))}}
		for _, row := range [][]string{{"server name", r.ServerName}, {"certificate", r.Subject}, {"ja4", r.JA4}, {"protocol", r.Identity}, {"why", r.Detail}} {
			if row[1] != "" {
				row[1] = strings.Trim(strconv.Quote(row[1]), `"`) // clients word some of it
				rows = append(rows, row)
			}
		}
		if r.Others {
			rows = append(rows, []string{"and", "it stands for several kinds of clients: the network has many"})
		}
		out.table("  ", rows)
	}
	if impact.Forgotten > 0 {
		out.printf("\n%s had to make room\n", count(int(impact.Forgotten), "older record"))
	}
}
