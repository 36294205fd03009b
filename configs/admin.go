package configs

// maxSocketPath is how long the path of a Unix socket can be, in bytes, on
// Linux (unix(7)); elsewhere it is a little less.
const maxSocketPath = 107

func (r *resolver) admin(k adminKeys) {
	a := Admin{
		Pprof:     bool(k.Pprof.value),
		Socket:    r.writtenPath(k.Socket),
		TokenFile: r.path(k.TokenFile),
		TokenEnv:  string(k.TokenEnv.value),
	}
	if k.Address.ok {
		a.Address = k.Address.value.String()
		r.bound = append(r.bound, binding{"the admin server", k.Address})
	}
	if n := len(a.Socket); n > maxSocketPath {
		r.errorf(k.Socket.node, "socket: the path has %d bytes, and the system takes %d at most", n, maxSocketPath)
	}
	if k.TokenFile.given() && k.TokenEnv.given() {
		r.errorf(k.TokenEnv.key, "admin: token_file and token_env exclude each other")
	}
	if at := k.TokenFile.key; !k.Address.given() && (k.TokenFile.given() || k.TokenEnv.given()) {
		if at == nil {
			at = k.TokenEnv.key
		}
		r.warnf(at, "admin: a token is of no use without an address: the socket needs none")
	}
	r.cfg.Admin = a
}
