package main

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"time"

	"github.com/suitegate/suitegate/configs"
)

// watchInterval is how often the configuration file is looked at. It is read
// when it has looked the same twice, so that nobody is caught writing.
const watchInterval = time.Second

// fileWatch says when a file has another content than the one that was read
// last. It asks for the file's attributes, which sees every way to replace one,
// the links that Kubernetes turns included, on every file system.
type fileWatch struct {
	path    string
	state   fileState
	settled bool // the content of state has been compared
	tried   [sha256.Size]byte
}

// read reads the file, and takes note of its content.
func (w *fileWatch) read() ([]byte, error) {
	w.state, w.settled = stateOf(w.path), true
	data, err := configs.Read(w.path)
	w.tried = contentOf(data, err)
	return data, err
}

// changed looks at the file. It is for every watchInterval.
func (w *fileWatch) changed() bool {
	state := stateOf(w.path)
	if !state.equal(w.state) {
		w.state, w.settled = state, false
		return false // it may be being written
	}
	if w.settled {
		return false
	}
	w.settled = true
	return contentOf(configs.Read(w.path)) != w.tried
}

func contentOf(data []byte, err error) [sha256.Size]byte {
	if err != nil {
		data = []byte("\x00" + err.Error()) // no configuration has a zero byte
	}
	return sha256.Sum256(data)
}

// fileState is what tells one content of a file from another without reading it.
type fileState struct {
	info fs.FileInfo // of what links lead to; nil if there is none
}

func stateOf(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{}
	}
	return fileState{info}
}

func (s fileState) equal(other fileState) bool {
	if s.info == nil || other.info == nil {
		return s.info == nil && other.info == nil
	}
	return os.SameFile(s.info, other.info) && s.info.Size() == other.info.Size() && s.info.ModTime().Equal(other.info.ModTime())
}
