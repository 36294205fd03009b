package certs

import (
	"io/fs"
	"os"
	"slices"
	"time"
)

// How files are watched: by asking the file system for their attributes. That
// works where notifications do not (NFS, overlays, bind mounts), sees every
// way to replace a file (in place, by a rename, by links as Kubernetes and
// certbot turn them), and costs microseconds.
const (
	// pollInterval is how often. Files that changed are read when they have
	// looked the same twice, so that nobody is caught writing: a new
	// certificate is served after twice this time at most.
	pollInterval = time.Second

	// settleTime is how long files that changed may fit badly: who replaces a
	// certificate and its key does so one after the other.
	settleTime = 10 * time.Second

	// retryInterval is how often files that were refused are read again
	// although they look the same: their owner may have changed, or the time
	// has come from which the certificate is valid.
	retryInterval = time.Minute
)

// fileWatch says when files that belong together are to be read again.
type fileWatch struct {
	paths   []string
	seen    []fileState // at the last poll
	settled []fileState // when their content was last accepted or refused
	changed time.Time   // when they were first seen to differ from settled; zero if they do not
	retry   time.Time   // when to read what was refused again; zero if it was accepted
	refused string      // why
}

// newFileWatch takes the files as they are for settled.
func newFileWatch(paths ...string) fileWatch {
	w := fileWatch{paths: paths}
	w.seen = w.look()
	w.settled = w.seen
	return w
}

func (w *fileWatch) look() []fileState {
	states := make([]fileState, len(w.paths))
	for i, path := range w.paths {
		states[i] = stateOf(path)
	}
	return states
}

// due says whether to read the files now, and whether what is wrong with them
// then has had the time to be put right.
func (w *fileWatch) due(now time.Time) (read, final bool) {
	states := w.look()
	still := slices.EqualFunc(states, w.seen, fileState.equal)
	w.seen = states
	if slices.EqualFunc(states, w.settled, fileState.equal) {
		w.changed = time.Time{}
		return !w.retry.IsZero() && !now.Before(w.retry), true
	}
	if w.changed.IsZero() {
		w.changed = now
	}
	overdue := now.Sub(w.changed) >= settleTime
	return still || overdue, overdue
}

// accept takes the files as due saw them for good. It reports whether they
// had been refused before.
func (w *fileWatch) accept() (recovered bool) {
	recovered = w.refused != ""
	w.settle(time.Time{}, "")
	return recovered
}

// refuse takes the files as due saw them for bad. It reports whether that is
// news: the same reason for the same files is none.
func (w *fileWatch) refuse(now time.Time, why string) (news bool) {
	news = why != w.refused || !slices.EqualFunc(w.seen, w.settled, fileState.equal)
	w.settle(now.Add(retryInterval), why)
	return news
}

func (w *fileWatch) settle(retry time.Time, refused string) {
	w.settled, w.changed, w.retry, w.refused = w.seen, time.Time{}, retry, refused
}

// fileState is what tells one content of a file from another without reading
// it. A change within the resolution of the file's time stamp is not lost:
// files are read a pollInterval after the last change that was seen.
type fileState struct {
	info fs.FileInfo // of what links lead to; nil if err is not ""
	err  string
}

func stateOf(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{err: err.Error()}
	}
	return fileState{info: info}
}

func (s fileState) equal(other fileState) bool {
	if s.info == nil || other.info == nil {
		return s.info == nil && other.info == nil && s.err == other.err
	}
	return os.SameFile(s.info, other.info) && s.info.Size() == other.info.Size() &&
		s.info.ModTime().Equal(other.info.ModTime()) && s.info.Mode() == other.info.Mode()
}
