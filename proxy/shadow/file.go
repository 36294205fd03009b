package shadow

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// maxFile is the size in bytes of the largest file that is read: twice of what
// all records can be.
const maxFile = 64 << 20

// Load takes in what [Book.Save] has written. That there is no file is no error.
func (b *Book) Load(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("shadow: %w", err)
	}
	defer f.Close()
	var saved Impact
	if err := json.NewDecoder(io.LimitReader(f, maxFile)).Decode(&saved); err != nil {
		return fmt.Errorf("shadow: %s: %w", path, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgotten, b.returned = saved.Forgotten, make(map[Candidate]string)
	for _, r := range saved.Returned {
		b.returned[r.Candidate] = r.Content
	}
	if b.tallies == nil {
		b.tallies = make(map[Candidate]*Tally)
	}
	for _, t := range saved.Tallies {
		b.tallies[t.Candidate] = &t
	}
	for _, r := range slices.Backward(saved.Clients[:min(len(saved.Clients), MaxRecords)]) {
		if b.records[r.Client] == nil {
			b.add(&r)
		}
	}
	return nil
}

// Save writes everything to a file, whole or not at all, if it has changed since
// it was last saved.
func (b *Book) Save(path string) (err error) {
	b.mu.Lock()
	changed := b.changed
	b.changed = false
	b.mu.Unlock()
	if !changed {
		return nil
	}
	defer func() {
		if err != nil {
			b.mu.Lock()
			b.changed = true
			b.mu.Unlock()
			err = fmt.Errorf("shadow: %w", err)
		}
	}()
	text, err := json.Marshal(b.Impact())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(path), ".impact-*") // nobody else may read it
	if err != nil {
		return err
	}
	defer os.Remove(next.Name()) // gone already unless something fails
	_, err = next.Write(text)
	if err = errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	return os.Rename(next.Name(), path)
}
