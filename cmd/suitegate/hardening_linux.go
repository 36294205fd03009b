package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/suitegate/suitegate/configs"
)

// giveUp gives up what a gateway never needs: new privileges, the capabilities
// but that for ports below 1024, and core dumps. What cannot be given up is
// logged.
func giveUp(cfg configs.Hardening, log *slog.Logger) {
	if os.Geteuid() == 0 {
		log.Warn("running as root, which nothing here needs: ports below 1024 take CAP_NET_BIND_SERVICE alone")
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"new privileges", noNewPrivileges},
		{"capabilities", dropCapabilities},
		{"core dumps", func() error { return noCoreDumps(cfg.CoreDumps) }},
	} {
		if err := step.do(); err != nil {
			log.Warn("cannot give up "+step.what, "error", err)
		}
	}
}

// noNewPrivileges makes set-user-ID programs and file capabilities mean nothing
// (PR_SET_NO_NEW_PRIVS in prctl(2)), on every thread.
func noNewPrivileges() error {
	_, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	return err
}

// dropCapabilities leaves the process, all of its threads, with
// CAP_NET_BIND_SERVICE if it has that, and nothing else (capabilities(7)).
func dropCapabilities() error {
	have := cap.GetProc()
	keep := cap.NewSet()
	if bind, err := have.GetFlag(cap.Permitted, cap.NET_BIND_SERVICE); err == nil && bind {
		for _, flag := range []cap.Flag{cap.Permitted, cap.Effective} {
			if err := keep.SetFlag(flag, true, cap.NET_BIND_SERVICE); err != nil {
				return err
			}
		}
	}
	if differ, err := have.Cf(keep); err == nil && differ == 0 {
		return nil // and a filter of system calls may forbid to say so again
	}
	return keep.SetProc()
}

// noCoreDumps keeps keys out of core dumps, unless these are wanted: those into
// files by RLIMIT_CORE, and those into programs too by PR_SET_DUMPABLE, which
// also keeps other processes of the same user from reading this one's memory.
func noCoreDumps(wanted bool) error {
	if wanted {
		return nil
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return err
	}
	limit.Cur = 0
	return errors.Join(unix.Setrlimit(unix.RLIMIT_CORE, &limit), unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}

// systemFiles are what Go's own library reads, beside what the configuration
// names: how names are resolved, the time zone, trusted authorities, and what
// the metrics tell of the process and the scheduler of its control group.
func systemFiles() (dirs, files []string) {
	dirs = []string{
		"/etc", "/proc/self", "/proc/sys/net", "/sys/fs/cgroup", "/usr/share/zoneinfo",
		"/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/usr/lib/ssl", "/var/lib/ca-certificates",
		"/lib", "/usr/lib", // the C library's modules, in a build with cgo
	}
	for _, link := range []string{"/etc/resolv.conf", "/etc/localtime", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"} {
		if real, err := filepath.EvalSymlinks(link); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	dirs = append(dirs, filepath.SplitList(os.Getenv("SSL_CERT_DIR"))...)
	files = []string{"/proc/stat", "/dev/null"}
	if file := os.Getenv("SSL_CERT_FILE"); file != "" {
		files = append(files, file)
	}
	return dirs, files
}

// Rights to files (landlock(7)). Nobody has that to execute one, to make a
// device, or to move a file into another directory.
const (
	readFile  landlock.AccessFSSet = landlocksys.AccessFSReadFile
	readBelow                      = readFile | landlocksys.AccessFSReadDir
	allBelow                       = readBelow | landlocksys.AccessFSWriteFile | landlocksys.AccessFSTruncate |
		landlocksys.AccessFSMakeReg | landlocksys.AccessFSMakeDir | landlocksys.AccessFSMakeSock |
		landlocksys.AccessFSRemoveFile | landlocksys.AccessFSRemoveDir
)

// confine has the kernel refuse every file that neither cfg names nor the system
// needs, and every program, to all threads and for good (landlock(7)). What is
// open stays open.
func confine(cfg *configs.Config, log *slog.Logger) (*confinement, error) {
	c := confinementFor(cfg)
	if cfg.Hardening.Landlock == configs.LandlockOff {
		return c, nil
	}
	if abi, err := landlocksys.LandlockGetABIVersion(); err != nil || abi < 1 {
		return c, c.without(cfg, log, errors.New("this kernel has none, or it is switched off"))
	}
	dirs, files := systemFiles()
	rules := []landlock.Rule{
		landlock.PathAccess(readBelow, dirs...).IgnoreIfMissing(),
		landlock.PathAccess(readFile, files...).IgnoreIfMissing(),
	}
	for _, root := range c.roots {
		rights := readBelow
		if root.writable {
			rights = allBelow
		}
		rules = append(rules, landlock.PathAccess(rights, root.path).IgnoreIfMissing())
	}
	for _, dir := range dirs {
		c.add(dir, false) // where a reload may look, too
	}
	// Of version 5's rights, those that the kernel has.
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		return c, c.without(cfg, log, err)
	}
	c.on = true
	return c, nil
}

// without goes on unconfined, or does not, as the configuration has it.
func (c *confinement) without(cfg *configs.Config, log *slog.Logger, why error) error {
	if cfg.Hardening.Landlock == configs.LandlockRequired {
		return configs.Errors{{Pos: cfg.Position("hardening", "", "landlock"), Reason: fmt.Sprintf("landlock: %v", why)}}
	}
	log.Warn("not confined by Landlock", "error", why)
	return nil
}
