package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// TestPage looks at the page for people with a browser: it follows what
// happens, fits a phone, asks nobody else for anything, and is there without
// JavaScript.
func TestPage(t *testing.T) {
	t.Parallel()
	c := echoConfig(t)
	c.Listeners[0].Policy = "rabbitmq"
	c.Listeners[0].MaxConnections = 1000
	// As long as names get, and the policy with the most suites.
	c.Listeners = append(c.Listeners, listenerConfig{Name: strings.Repeat("long-", 12) + "name", Protocol: "tcp", Policy: "activemq", Upstream: "echo"})
	g := startGateway(t, c)
	b := startBrowser(t, g.admin)

	b.run(t, chromedp.Navigate("http://"+g.admin+"/"), chromedp.Evaluate(`window.loadedOnce = true`, nil))
	b.wait(t, "#state", "ready")
	b.wait(t, "#listeners", "first", g.address(t, "first"), "0 open, 0 accepted")
	b.wait(t, "#refusals", "Nobody was refused.")
	b.wait(t, "#upstreams", "echo", "up")
	b.wait(t, "#certificates", "rsa", "ecdsa", "in ")

	// What was opened stays open when the page changes around it.
	b.run(t, chromedp.Click("#summary-first", chromedp.ByID))
	b.wait(t, "#listeners", "TLS_AES_256_GCM_SHA384", "max_connections 1000")

	open := converse(t, g, "first")
	defer open.Close()
	old := g.endpoint(t, "first", tls.VersionTLS12)
	old.tls.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	if _, err := tls.Dial("tcp", old.address, old.tls); err == nil {
		t.Error("let in")
	}
	b.wait(t, "#listeners", "1 open, 2 accepted")
	b.wait(t, "#handshakes", "TLS_AES_256_GCM_SHA384", "TLSv1.3", "100 %")
	b.wait(t, "#refusals", "no_common_suite", "client offers AES128-SHA")
	if !b.is(t, `window.loadedOnce && document.getElementById("listener-first").open`) {
		t.Error("the page was loaded anew, or has closed what was open")
	}

	t.Run("fits", func(t *testing.T) { b.fits(t) })
	if entries := b.complaints(); len(entries) > 0 {
		t.Errorf("the browser's console: %q", entries)
	}
	t.Run("out of reach", func(t *testing.T) {
		b.run(t, offline(true))
		b.wait(t, "#contact", "No answer from the gateway since ")
		b.run(t, offline(false))
		b.eventually(t, `document.getElementById("contact").hidden`)
	})
	t.Run("without JavaScript", func(t *testing.T) {
		b.run(t, emulation.SetScriptExecutionDisabled(true), chromedp.Navigate("http://"+g.admin+"/"))
		b.wait(t, "#listeners", "1 open, 2 accepted")
		b.wait(t, "footer", "loads itself again every five seconds")
	})
	for _, host := range b.hosts() {
		if host != g.admin {
			t.Errorf("the page asked %s for something", host)
		}
	}
}

// offline takes the network away from the page, or gives it back.
func offline(yes bool) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := network.EmulateNetworkConditionsByRule([]*network.Conditions{{Offline: yes, DownloadThroughput: -1, UploadThroughput: -1}}).Do(ctx)
		return err
	})
}

// browser is a headless Chromium with one page, and what it has seen.
type browser struct {
	ctx context.Context

	mu      sync.Mutex
	console []string
	asked   map[string]bool // hosts
}

func startBrowser(t *testing.T, admin string) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium-headless-shell", "chromium"} {
		if path, err := exec.LookPath(name); err == nil && program == "" {
			program = path
		}
	}
	if program == "" {
		missing(t, "chromium-headless-shell")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.DisableGPU, chromedp.WindowSize(1280, 900),
		chromedp.ModifyCmdFunc(endsAltogether))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // which root cannot have
	}
	allocator, endAll := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		end()
		endAll()
	})
	b := &browser{ctx: ctx, asked: make(map[string]bool)}
	chromedp.ListenTarget(ctx, b.note)
	b.run(t, network.Enable(), runtime.Enable(), cdplog.Enable())
	return b
}

// endsAltogether has everything killed that the command has started: Debian's
// chromium is a script, which would leave the browser behind.
func endsAltogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// note takes down what the browser tells.
func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil {
			b.asked[u.Host] = true
		}
	case *runtime.EventConsoleAPICalled:
		b.console = append(b.console, fmt.Sprintf("%s: %s", e.Type, e.Args[0].Value))
	case *runtime.EventExceptionThrown:
		b.console = append(b.console, e.ExceptionDetails.Error())
	case *cdplog.EventEntryAdded:
		b.console = append(b.console, e.Entry.Text+" "+e.Entry.URL)
	}
}

func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.console)
}

func (b *browser) hosts() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var hosts []string
	for host := range b.asked {
		hosts = append(hosts, host)
	}
	return hosts
}

func (b *browser) run(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// is evaluates a condition in the page.
func (b *browser) is(t *testing.T, condition string) bool {
	t.Helper()
	var yes bool
	b.run(t, chromedp.Evaluate("!!("+condition+")", &yes))
	return yes
}

func (b *browser) eventually(t *testing.T, condition string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !b.is(t, condition); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never %s", condition)
		}
	}
}

// wait waits until a part of the page shows all of some texts.
func (b *browser) wait(t *testing.T, part string, texts ...string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var shown string
		b.run(t, chromedp.Text(part, &shown, chromedp.ByQuery))
		missing := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return strings.Contains(shown, text) })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not show %q:\n%s", part, missing, shown)
		}
	}
}

// fits looks at the page in several widths and both colour schemes, with all
// that can be opened open: nothing is wider than the window. Screenshots are
// among the artifacts (go test -artifacts).
func (b *browser) fits(t *testing.T) {
	b.run(t, chromedp.Evaluate(`for (const d of document.querySelectorAll("details")) d.open = true`, nil))
	backgrounds := make(map[string]string)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{320, 360, 768, 1280} {
			var needed int64
			var background string
			var picture []byte
			b.run(t,
				emulation.SetDeviceMetricsOverride(width, 800, 1, width < 500),
				emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
				chromedp.Evaluate(`document.documentElement.scrollWidth`, &needed),
				chromedp.Evaluate(`getComputedStyle(document.body).backgroundColor`, &background),
				chromedp.FullScreenshot(&picture, 100))
			if needed > width {
				t.Errorf("%s: the page is %d wide in a window of %d", scheme, needed, width)
			}
			backgrounds[scheme] = background
			if err := os.WriteFile(filepath.Join(t.ArtifactDir(), fmt.Sprintf("page-%s-%d.png", scheme, width)), picture, 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	if backgrounds["light"] == backgrounds["dark"] {
		t.Errorf("light and dark have the background %s", backgrounds["light"])
	}
}
