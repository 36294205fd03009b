package admin

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/suitegate/suitegate/proxy/shadow"
)

// The page is one template and three files, and needs nothing from anywhere
// else.
//
//go:embed page
var pageFiles embed.FS

// serveStatus adds /status, /impact and the page at / to mux.
func serveStatus(mux *http.ServeMux, status func() Status, impact func() shadow.Impact) {
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		protect(w.Header(), "")
		writeJSON(w, http.StatusOK, status())
	})
	page := template.Must(template.New("page.html").Funcs(pageFuncs(time.Now)).ParseFS(pageFiles, "page/page.html"))
	mux.HandleFunc("GET /impact", func(w http.ResponseWriter, _ *http.Request) {
		protect(w.Header(), "")
		writeJSON(w, http.StatusOK, impact())
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		var text bytes.Buffer
		if err := page.Execute(&text, newView(status())); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		protect(w.Header(), "text/html; charset=utf-8")
		_, _ = w.Write(text.Bytes()) // the client went away: there is nobody to tell
	})
	for name, kind := range map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"} {
		content, err := fs.ReadFile(pageFiles, "page/"+name)
		if err != nil {
			panic(err) // it is part of the program
		}
		mux.HandleFunc("GET /page/"+name, func(w http.ResponseWriter, _ *http.Request) {
			protect(w.Header(), kind)
			_, _ = w.Write(content)
		})
	}
}

// protect tells browsers what an answer is, and that nothing but this server's
// own files is to run, load or frame it: names and errors in it come from
// clients. It is not kept, for it is of this moment, and the next version's
// script may be another one.
func protect(header http.Header, kind string) {
	header.Set("Content-Type", kind)
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
}

// view is a Status with what the page adds up.
type view struct {
	Status
	ConnectionsActive                 uint64
	ConnectionsTotal                  uint64
	HandshakeTotal, RefusalTotal      uint64
	BytesFromClient, BytesFromBackend uint64
	Shares                            []share
	First                             []Certificate // to expire
	More                              int           // certificates than these
}

// maxRows is how many certificates the page shows: those that are issued on
// demand may be thousands, and all of them are in /status.
const maxRows = 100

// share is how much of a listener's handshakes had one suite, whatever group,
// engine or ticket.
type share struct {
	Listener, Version, Suite string
	Count, Resumed           uint64
	Percent                  int
}

func newView(status Status) view {
	v := view{Status: status}
	for _, l := range status.Listeners {
		v.ConnectionsActive += uint64(max(l.ConnectionsActive, 0))
		v.ConnectionsTotal += l.ConnectionsTotal
		v.BytesFromClient += l.BytesFromClient
		v.BytesFromBackend += l.BytesFromBackend
	}
	for _, r := range status.Refusals {
		v.RefusalTotal += r.Count
	}
	ofListener := make(map[string]uint64)
	for _, h := range status.Handshakes {
		v.HandshakeTotal += h.Count
		ofListener[h.Listener] += h.Count
		at := slices.IndexFunc(v.Shares, func(s share) bool {
			return s.Listener == h.Listener && s.Version == h.Version && s.Suite == h.Suite
		})
		if at < 0 {
			v.Shares = append(v.Shares, share{Listener: h.Listener, Version: h.Version, Suite: h.Suite})
			at = len(v.Shares) - 1
		}
		v.Shares[at].Count += h.Count
		if h.Resumed {
			v.Shares[at].Resumed += h.Count
		}
	}
	for i := range v.Shares {
		s := &v.Shares[i]
		s.Percent = int(math.Round(100 * float64(s.Count) / float64(max(ofListener[s.Listener], 1))))
	}
	slices.SortStableFunc(v.Shares, func(a, b share) int {
		return cmp.Or(cmp.Compare(a.Listener, b.Listener), cmp.Compare(b.Count, a.Count))
	})
	v.First = slices.SortedStableFunc(slices.Values(status.Certificates), func(a, b Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	v.More = max(len(v.First)-maxRows, 0)
	v.First = v.First[:len(v.First)-v.More]
	return v
}

// pageFuncs are the words of the template, at the time that now tells.
func pageFuncs(now func() time.Time) template.FuncMap {
	return template.FuncMap{
		"since":  func(t time.Time) string { return roughly(now().Sub(t)) },
		"until":  func(t time.Time) string { return roughly(t.Sub(now())) },
		"date":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
		"bytes":  sizeOf,
		"number": grouped,
		"join":   func(list []string) string { return strings.Join(list, ", ") },
		"words":  func(name string) []string { return strings.Split(name, "_") },
	}
}

// roughly is a duration in its largest unit: "3 days".
func roughly(d time.Duration) string {
	d = max(d, 0)
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int(d / unit.length); n >= 2 || n == 1 && unit.name == "day" {
			return plural(n, unit.name)
		}
	}
	return plural(int(d/time.Second), "second")
}

func plural(n int, name string) string {
	if n == 1 {
		return "1 " + name
	}
	return grouped(n) + " " + name + "s"
}

// grouped writes a count, of any type of integer, with a space between
// thousands: "12 345".
func grouped(n any) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteString("\u202f") // narrow, and no place to break the line
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// sizeOf writes a number of bytes with three digits or so: "1.23 GB".
func sizeOf(n uint64) string {
	const units = "kMGTPE"
	value, unit := float64(n), ""
	for i := 0; value >= 999.5 && i < len(units); i++ {
		value, unit = value/1000, units[i:i+1]
	}
	if unit == "" {
		return fmt.Sprintf("%d\u00a0B", n)
	}
	precision := 2
	switch {
	case value >= 99.95:
		precision = 0
	case value >= 9.995:
		precision = 1
	}
	return strconv.FormatFloat(value, 'f', precision, 64) + "\u00a0" + unit + "B"
}
