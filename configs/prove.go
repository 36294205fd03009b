package configs

// What a proof is for: values of Prove.Mode.
const (
	ProveOff     = "off"     // there is none
	ProveWarn    = "warn"    // a difference is logged
	ProveEnforce = "enforce" // and the configuration is refused for it
)

// DefaultProve is the default of Prove.Mode.
const DefaultProve = ProveEnforce

// Prove says what becomes of a configuration whose listeners do not answer as
// their policies say.
type Prove struct {
	// Mode is ProveOff, ProveWarn or ProveEnforce. Default: DefaultProve (enforce).
	Mode string

	// Evidence is the file for all answers of the configuration in force. Default:
	// "", none; the log has their hash.
	Evidence string
}

func (r *resolver) prove(k proveKeys) {
	r.cfg.Prove = Prove{Mode: string(k.Mode.or(DefaultProve)), Evidence: r.writtenPath(k.Evidence)}
}

type proveMode string

func (*proveMode) kind() (tag, want string) { return "!!str", "off, warn or enforce" }
func (m *proveMode) parse(s string) error {
	return choose(m, "value", s, ProveOff, ProveWarn, ProveEnforce)
}
