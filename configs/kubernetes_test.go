package configs

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"os"
	"path"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// The objects of Kubernetes as far as the manifests use them, so that a key that
// is not one of the API's, or stands in the wrong place, is an error. The API's
// own Go module would take longer to compile than all of this one.
type (
	manifest struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   objectMeta
		Data       map[string]string
		Spec       yaml.Node
	}
	objectMeta struct {
		Name                string
		Labels, Annotations map[string]string
	}
	selector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	deployment struct {
		Replicas        int
		MinReadySeconds int `yaml:"minReadySeconds"`
		Strategy        struct {
			Type          string
			RollingUpdate map[string]int `yaml:"rollingUpdate"`
		}
		Selector selector
		Template struct {
			Metadata objectMeta
			Spec     podSpec
		}
	}
	podSpec struct {
		AutomountServiceAccountToken  *bool           `yaml:"automountServiceAccountToken"`
		EnableServiceLinks            *bool           `yaml:"enableServiceLinks"`
		TerminationGracePeriodSeconds int             `yaml:"terminationGracePeriodSeconds"`
		SecurityContext               securityContext `yaml:"securityContext"`
		TopologySpreadConstraints     []struct {
			MaxSkew           int      `yaml:"maxSkew"`
			TopologyKey       string   `yaml:"topologyKey"`
			WhenUnsatisfiable string   `yaml:"whenUnsatisfiable"`
			LabelSelector     selector `yaml:"labelSelector"`
		} `yaml:"topologySpreadConstraints"`
		InitContainers []container `yaml:"initContainers"`
		Containers     []container
		Volumes        []volume
	}
	volume struct {
		Name      string
		ConfigMap *struct {
			Name  string
			Items []struct{ Key, Path string }
		} `yaml:"configMap"`
		Secret *struct {
			SecretName  string `yaml:"secretName"`
			DefaultMode int    `yaml:"defaultMode"`
		}
		EmptyDir *struct {
			SizeLimit string `yaml:"sizeLimit"`
		} `yaml:"emptyDir"`
	}
	securityContext struct {
		RunAsNonRoot             bool  `yaml:"runAsNonRoot"`
		RunAsUser                int   `yaml:"runAsUser"`
		RunAsGroup               int   `yaml:"runAsGroup"`
		FSGroup                  int   `yaml:"fsGroup"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		Capabilities             struct{ Drop []string }
		SeccompProfile           struct{ Type string } `yaml:"seccompProfile"`
	}
	container struct {
		Name, Image   string
		RestartPolicy string `yaml:"restartPolicy"`
		Args          []string
		Ports         []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		ReadinessProbe probe `yaml:"readinessProbe"`
		LivenessProbe  probe `yaml:"livenessProbe"`
		Lifecycle      struct {
			PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
		}
		Resources       struct{ Requests, Limits map[string]string }
		SecurityContext securityContext `yaml:"securityContext"`
		VolumeMounts    []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	probe struct {
		HTTPGet          struct{ Path, Port string } `yaml:"httpGet"`
		Exec             struct{ Command []string }
		PeriodSeconds    int `yaml:"periodSeconds"`
		TimeoutSeconds   int `yaml:"timeoutSeconds"`
		FailureThreshold int `yaml:"failureThreshold"`
	}
	service struct {
		Selector map[string]string
		Ports    []struct {
			Name       string
			Port       int
			TargetPort string `yaml:"targetPort"`
		}
	}
	disruptionBudget struct {
		MaxUnavailable int `yaml:"maxUnavailable"`
		Selector       selector
	}
	networkPolicy struct {
		PodSelector selector `yaml:"podSelector"`
		PolicyTypes []string `yaml:"policyTypes"`
		Ingress     []struct {
			From []struct {
				NamespaceSelector selector `yaml:"namespaceSelector"`
			}
			Ports []struct{ Port string }
		}
	}
)

// manifests reads a file of several objects, by kind.
func manifests(t *testing.T, file string) map[string]manifest {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	byKind := make(map[string]manifest)
	for i, document := range bytes.Split(text, []byte("\n---\n")) {
		var m manifest
		strictly(t, document, &m)
		byKind[m.Kind] = m
		if len(byKind) != i+1 {
			t.Errorf("two objects of kind %s", m.Kind)
		}
	}
	return byKind
}

// strictly reads YAML that has no other keys than target.
func strictly(t *testing.T, text []byte, target any) {
	t.Helper()
	if err := yaml.Load(text, target, yaml.WithKnownFields()); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
}

// spec reads the part of an object that depends on its kind.
func (m manifest) spec(t *testing.T, target any) {
	t.Helper()
	text, err := yaml.Marshal(&m.Spec)
	if err != nil {
		t.Fatal(err)
	}
	strictly(t, text, target)
}

// The manifests are what Kubernetes takes, their configuration is what the
// gateway takes, and the two agree.
func TestKubernetes(t *testing.T) {
	versions := map[string]string{"ConfigMap": "v1", "Service": "v1", "Deployment": "apps/v1", "PodDisruptionBudget": "policy/v1", "NetworkPolicy": "networking.k8s.io/v1"}
	for _, test := range []struct {
		file  string
		kinds []string
	}{
		{"standalone.yml", []string{"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"}},
		{"sidecar.yml", []string{"ConfigMap", "Deployment", "Service"}},
	} {
		t.Run(test.file, func(t *testing.T) {
			objects := manifests(t, "kubernetes/"+test.file)
			var d deployment
			objects["Deployment"].spec(t, &d)
			pod := d.Template.Spec
			var gateway container
			for _, c := range append(pod.InitContainers, pod.Containers...) {
				if c.Name == "suitegate" {
					gateway = c
				}
			}
			config := mountedConfig(t, objects, pod, gateway)
			checkPorts(t, config, gateway)
			checkTimes(t, config, pod, gateway)
			checkSecurity(t, pod, gateway)

			labels := d.Template.Metadata.Labels
			selects := map[string]map[string]string{"Deployment": d.Selector.MatchLabels}
			var s service
			objects["Service"].spec(t, &s)
			selects["Service"] = s.Selector
			for _, port := range s.Ports {
				if portOf(gateway, port.TargetPort) != port.Port {
					t.Errorf("the service leads port %d to %s", port.Port, port.TargetPort)
				}
			}
			if m, ok := objects["PodDisruptionBudget"]; ok {
				var b disruptionBudget
				m.spec(t, &b)
				selects["PodDisruptionBudget"] = b.Selector.MatchLabels
				if b.MaxUnavailable != 1 || d.Replicas < 2 {
					t.Errorf("of %d gateways %d may go", d.Replicas, b.MaxUnavailable)
				}
			}
			if m, ok := objects["NetworkPolicy"]; ok {
				var p networkPolicy
				m.spec(t, &p)
				selects["NetworkPolicy"] = p.PodSelector.MatchLabels
				for _, rule := range p.Ingress {
					for _, port := range rule.Ports {
						if portOf(gateway, port.Port) == 0 || (port.Port == "admin") != (len(rule.From) > 0) {
							t.Errorf("port %s is open to %v", port.Port, rule.From)
						}
					}
				}
			}
			for kind, selected := range selects {
				if fmt.Sprint(selected) != fmt.Sprint(labels) {
					t.Errorf("%s selects %v, and the pod is %v", kind, selected, labels)
				}
			}
			if kinds := slices.Sorted(maps.Keys(objects)); !slices.Equal(kinds, test.kinds) {
				t.Errorf("objects are %v", kinds)
			}
			for kind, m := range objects {
				if m.APIVersion != versions[kind] {
					t.Errorf("%s is of %s", kind, m.APIVersion)
				}
			}
		})
	}
}

// mountedConfig is the configuration that the gateway finds, and what it names is
// mounted.
func mountedConfig(t *testing.T, objects map[string]manifest, pod podSpec, gateway container) *Config {
	t.Helper()
	if len(gateway.Args) != 3 || gateway.Args[0] != "serve" || gateway.Args[1] != "--config" {
		t.Fatalf("args are %q", gateway.Args)
	}
	file := gateway.Args[2]
	text, ok := objects["ConfigMap"].Data[path.Base(file)]
	if !ok {
		t.Fatalf("no %s in the ConfigMap", path.Base(file))
	}
	config, err := Parse(file, []byte(text))
	if err != nil || len(config.Warnings) > 0 {
		t.Fatal(err, config.Warnings)
	}
	mounted := make(map[string]string) // name of the volume, by path
	for _, m := range gateway.VolumeMounts {
		mounted[m.MountPath] = m.Name
	}
	wanted := []string{file, path.Join(config.Storage, "x"), config.Admin.Socket}
	for _, c := range config.Certificates {
		wanted = append(wanted, c.Files.Certificate, c.Files.Key)
	}
	for _, file := range wanted {
		name := mounted[path.Dir(file)]
		i := slices.IndexFunc(pod.Volumes, func(v volume) bool { return v.Name == name })
		if i < 0 {
			t.Errorf("nothing is mounted for %s", file)
			continue
		}
		if v := pod.Volumes[i]; v.ConfigMap != nil && v.ConfigMap.Name != objects["ConfigMap"].Metadata.Name {
			t.Errorf("%s is in %s", file, v.ConfigMap.Name)
		}
	}
	if !config.Watch {
		t.Error("a change of the ConfigMap goes unnoticed")
	}
	return config
}

func portOf(c container, name string) int {
	for _, port := range c.Ports {
		if port.Name == name {
			return port.ContainerPort
		}
	}
	return 0
}

// checkPorts: the container has the ports of the configuration, by their names,
// and the probes ask the admin server.
func checkPorts(t *testing.T, config *Config, gateway container) {
	t.Helper()
	addresses := map[string]string{"admin": config.Admin.Address}
	for _, l := range config.Listeners {
		addresses[l.Name] = l.Address
	}
	if len(gateway.Ports) != len(addresses) {
		t.Errorf("%d ports for %d addresses", len(gateway.Ports), len(addresses))
	}
	for name, address := range addresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host != "" || port != strconv.Itoa(portOf(gateway, name)) {
			t.Errorf("%s is on %s, and port %d", name, address, portOf(gateway, name))
		}
	}
	for want, got := range map[string]struct{ Path, Port string }{"/readyz": gateway.ReadinessProbe.HTTPGet, "/healthz": gateway.LivenessProbe.HTTPGet} {
		if got.Path != want || got.Port != "admin" {
			t.Errorf("a probe asks %s at %s, want %s", got.Path, got.Port, want)
		}
	}
}

// checkTimes: the kubelet kills later than the gateway ends by itself.
func checkTimes(t *testing.T, config *Config, pod podSpec, gateway container) {
	t.Helper()
	pause := time.Duration(gateway.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	if grace := time.Duration(pod.TerminationGracePeriodSeconds) * time.Second; pause+config.DrainTimeout >= grace {
		t.Errorf("a pause of %v and draining for %v are not less than %v", pause, config.DrainTimeout, grace)
	}
}

func checkSecurity(t *testing.T, pod podSpec, gateway container) {
	t.Helper()
	c := gateway.SecurityContext
	user := max(c.RunAsUser, pod.SecurityContext.RunAsUser)
	for what, ok := range map[string]bool{
		"not as root":                  c.RunAsNonRoot || pod.SecurityContext.RunAsNonRoot,
		"as the image's user":          user == 65532 && pod.SecurityContext.FSGroup == 65532,
		"on a read-only file system":   c.ReadOnlyRootFilesystem,
		"without more privileges":      c.AllowPrivilegeEscalation != nil && !*c.AllowPrivilegeEscalation,
		"without capabilities":         slices.Equal(c.Capabilities.Drop, []string{"ALL"}),
		"under seccomp":                pod.SecurityContext.SeccompProfile.Type == "RuntimeDefault",
		"without the cluster's token":  pod.AutomountServiceAccountToken != nil && !*pod.AutomountServiceAccountToken,
		"within a limit of its memory": gateway.Resources.Limits["memory"] != "",
	} {
		if !ok {
			t.Errorf("it does not run %s", what)
		}
	}
}
