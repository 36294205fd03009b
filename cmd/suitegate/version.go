package main

import (
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/suitegate/suitegate/proxy"
)

type versionCommand struct{}

func (versionCommand) Run(out *console) error {
	fips := proxy.FIPSStatus()
	out.printf("suitegate %s\n%s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	out.printf("%s %s, FIPS 140-3 mode %s\n", fips.Module, fips.Version, fips.Mode)
	return nil
}

func buildVersion() string {
	info, _ := debug.ReadBuildInfo()
	return describeBuild(info)
}

// describeBuild is the module's version, and the commit where the build knows
// it: "v1.2.3", "(devel) 0123456789ab, modified".
func describeBuild(info *debug.BuildInfo) string {
	if info == nil || info.Main.Version == "" {
		return "(unknown)"
	}
	version := info.Main.Version
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			// A pseudo-version ends in the commit already.
			short := setting.Value[:min(12, len(setting.Value))]
			if !strings.Contains(version, short) {
				version += " " + short
			}
		case setting.Key == "vcs.modified" && setting.Value == "true":
			if !strings.HasSuffix(version, "+dirty") {
				version += ", modified"
			}
		}
	}
	return version
}
