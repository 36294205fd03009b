package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what scripts compare with anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"suitegate": main,
	})
}

// TestScripts runs testdata/script: each file there is a user at a terminal.
// The commands that testscript does not have itself are in script_test.go.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			env.Values[testKey{}] = env.T()
			env.Values[processesKey{}] = make(map[string]*process)
			env.Values[clientsKey{}] = make(map[string]*client)
			captures, err := filepath.Abs("../../proxy/clienthello/capture/testdata")
			if err != nil {
				return err
			}
			env.Setenv("CAPTURES", captures)
			// Where the demo keeps its files by default.
			env.Setenv("XDG_DATA_HOME", env.WorkDir+"/data")
			return os.Mkdir(env.WorkDir+"/data", 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":   cmdStart,
			"expect":  cmdExpect,
			"signal":  cmdSignal,
			"exited":  cmdExited,
			"silent":  cmdSilent,
			"needs":   cmdNeeds,
			"occupy":  cmdOccupy,
			"broker":  cmdBroker,
			"connect": cmdConnect,
			"closed":  cmdClosed,
			"hangup":  cmdHangup,
			"try":     cmdTry,
		},
	})
}
