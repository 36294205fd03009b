package configs

import "path/filepath"

// What holds of the kernel's Landlock: values of Hardening.Landlock.
const (
	LandlockAuto     = "auto"     // it confines the process where the kernel has it
	LandlockOff      = "off"      // it is not used
	LandlockRequired = "required" // the gateway does not start without it
)

// What holds for keys of hardening that the file leaves out.
const (
	DefaultLandlock  = LandlockAuto
	DefaultCoreDumps = false
)

// Hardening is what the process gives up when it has started, on Linux.
type Hardening struct {
	// Landlock is whether it gives up the files that the configuration does not
	// name: LandlockAuto, LandlockOff or LandlockRequired. Default:
	// DefaultLandlock (auto).
	Landlock string

	// CoreDumps lets the system write the memory of a process that has crashed,
	// keys and all, to a file. Default: DefaultCoreDumps (false).
	CoreDumps bool
}

// A Path is a file or directory that the configuration names.
type Path struct {
	Name string
	Pos  Pos // of the name; without a line for a default

	// Dir is the directory that the gateway writes to because of it, "" if it
	// reads alone.
	Dir string
}

// Paths are the files and directories that the configuration names, itself
// included, and the storage where it is one.
func (c *Config) Paths() []Path {
	paths := append([]Path{{Name: c.File, Pos: Pos{File: c.File}}}, c.paths...)
	if c.Storage != "" {
		paths = append(paths, Path{Name: c.Storage, Pos: c.Position("storage", "", ""), Dir: c.Storage})
	}
	return paths
}

// path is a path of the file, "" where there is none.
func (r *resolver) path(f field[text]) string {
	if !f.ok {
		return ""
	}
	name := resolvePath(r.file, string(f.value))
	r.cfg.paths = append(r.cfg.paths, Path{Name: name, Pos: r.pos(f.node)})
	return name
}

// writtenPath is path for a file that the gateway makes, and makes anew.
func (r *resolver) writtenPath(f field[text]) string {
	name := r.path(f)
	if name != "" {
		r.cfg.paths[len(r.cfg.paths)-1].Dir = filepath.Dir(name)
	}
	return name
}

type landlockMode string

func (*landlockMode) kind() (tag, want string) { return "!!str", "auto, off or required" }
func (m *landlockMode) parse(s string) error {
	return choose(m, "value", s, LandlockAuto, LandlockOff, LandlockRequired)
}
