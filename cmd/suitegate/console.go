package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"github.com/suitegate/suitegate/configs"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the command was understood, and its subject refused, invalid or different
	exitUsage  = 2 // the command line itself was wrong
)

// console is where a command talks to the person who typed it. Results go to
// stdout; everything else goes to stderr behind "suitegate:", without capitals
// or full stops, except a mistake in a configuration file, which begins with
// its position so that editors can jump to it.
type console struct {
	stdout, stderr io.Writer
}

func (c *console) printf(format string, args ...any) {
	fmt.Fprintf(c.stdout, format, args...)
}

func (c *console) warnf(format string, args ...any) {
	fmt.Fprintf(c.stderr, "suitegate: warning: "+format+"\n", args...)
}

func (c *console) hintf(format string, args ...any) {
	fmt.Fprintf(c.stderr, "suitegate: hint: "+format+"\n", args...)
}

// warningLogger prints what is logged as a warning or worse in the form of
// warnf.
func (c *console) warningLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(warningWriter{c}, &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// warningWriter gets one line for each Write, as slog's handlers promise.
type warningWriter struct{ *console }

func (w warningWriter) Write(line []byte) (int, error) {
	w.warnf("%s", bytes.TrimRight(line, "\n"))
	return len(line), nil
}

// table writes rows in columns that line up, each line behind indent.
func (c *console) table(indent string, rows [][]string) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
	for line := range strings.Lines(text.String()) {
		c.printf("%s%s\n", indent, strings.TrimRight(line, " \n"))
	}
}

// json prints a value for programs.
func (c *console) json(value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	c.printf("%s\n", text)
	return nil
}

// fail prints err with its hints, and returns the exit code that it deserves.
func (c *console) fail(err error) int {
	if errors.Is(err, errDifferent) {
		return exitFailed
	}
	var mistakes configs.Errors
	if errors.As(err, &mistakes) {
		for _, mistake := range mistakes {
			fmt.Fprintln(c.stderr, mistake.Error())
		}
		fmt.Fprintf(c.stderr, "suitegate: error: %s\n", count(len(mistakes), "mistake"))
	} else {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(c.stderr, "suitegate: error: %s\n", strings.TrimRight(line, "\n"))
		}
	}
	code := exitFailed
	var hinted *hintedError
	if errors.As(err, &hinted) {
		for _, hint := range hinted.hints {
			c.hintf("%s", hint)
		}
		code = hinted.code
	}
	return code
}

// hintedError is an error with a word on what to do about it.
type hintedError struct {
	error
	hints []string
	code  int
}

func (e *hintedError) Unwrap() error { return e.error }

func withHint(err error, hints ...string) error {
	return &hintedError{error: err, hints: hints, code: exitFailed}
}

// usageError turns what the parser said into an error that names the help
// text to read.
func usageError(err error) error {
	command := "suitegate"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if selected := parse.Context.Selected(); selected != nil {
			command = selected.FullPath()
		}
	}
	hints := []string{fmt.Sprintf("%s --help", command)}
	if strings.HasSuffix(command, " serve") {
		hints = append(hints, "without a configuration yet, try: suitegate demo")
	}
	return usageHint(err, hints...)
}

// usageHint is an error in what was typed that the parser could not see.
func usageHint(err error, hints ...string) error {
	return &hintedError{error: err, hints: hints, code: exitUsage}
}

// loadConfig is configs.Load with a hint for the first thing that goes wrong.
func loadConfig(file string) (*configs.Config, error) {
	cfg, err := configs.Load(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, withHint(err, "suitegate demo writes a configuration to start from")
	}
	return cfg, err
}

// count is "1 listener" or "3 listeners".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
