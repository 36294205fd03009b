package configs

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

func TestExamples(t *testing.T) {
	for _, test := range []struct {
		file string
		want []string
	}{
		{"rabbitmq-sidecar.yml", []string{
			"amqps :5671 amqp rabbitmq [default] → rabbit-amqp [127.0.0.1:5672]",
			"mqtts :8883 mqtt rabbitmq [default] → rabbit-mqtt [127.0.0.1:1883]",
		}},
		{"activemq-gateway.yml", []string{
			"openwire :61617 openwire activemq [rsa ecdsa] → openwire [broker-a.internal:61616 broker-b.internal:61616]",
			"stomp :61614 stomp activemq [rsa ecdsa] → stomp [broker-a.internal:61613 broker-b.internal:61613]",
			"mqtt :8883 mqtt activemq [rsa ecdsa] → mqtt [broker-a.internal:1883 broker-b.internal:1883]",
			"wss :61619 websocket activemq [rsa ecdsa] → websocket [broker-a.internal:61614 broker-b.internal:61614]",
			"amqp :5671 amqp activemq [rsa ecdsa] → amqp [broker-a.internal:5672 broker-b.internal:5672]",
		}},
		{"openssl-test-bench.yml", []string{
			"rabbitmq 127.0.0.1:4431 tcp rabbitmq [bench] → echo [127.0.0.1:7000]",
			"activemq 127.0.0.1:4432 tcp activemq [bench] → echo [127.0.0.1:7000]",
			"tls13-only 127.0.0.1:4433 tcp tls13-only [bench] → echo [127.0.0.1:7000]",
			"mobile 127.0.0.1:4434 tcp mobile [bench] → echo [127.0.0.1:7000]",
		}},
		{"reference.yml", []string{
			"amqps 127.0.0.1:5671 amqp rabbitmq [default encrypted keystore development public public-second wildcard wildcard-second] → rabbit [127.0.0.1:5672]",
			"any 127.0.0.1:5700 auto strict [default encrypted keystore development public public-second wildcard wildcard-second] → map[amqp:rabbit mqtt:rabbit-mqtt]",
		}},
	} {
		t.Run(test.file, func(t *testing.T) {
			cfg, err := Load(test.file)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range cfg.Listeners {
				to := fmt.Sprint(l.Upstream, " ", cfg.Upstreams[l.Upstream].Nodes)
				if l.Upstreams != nil {
					to = fmt.Sprint(l.Upstreams)
				}
				got = append(got, fmt.Sprint(l.Name, " ", l.Address, " ", l.Protocol, " ", l.Policy.Name, " ", l.Certificates, " → ", to))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("listeners (-want +got):\n%s", diff)
			}
			if len(cfg.Warnings) > 0 {
				t.Errorf("warnings:\n%v", cfg.Warnings)
			}
		})
	}
}

// readReference returns reference.yml as it stands, and with the keys that are
// commented out ("#key: value", without a space) put in. What stands behind "#|"
// is an alternative: each block replaces the line of the same key.
func readReference(t *testing.T) (plain, full string, alternatives []string) {
	t.Helper()
	data, err := os.ReadFile("reference.yml")
	if err != nil {
		t.Fatal(err)
	}
	plain = string(data)
	full = regexp.MustCompile(`(?m)^( *)#([a-z_0-9]+:)`).ReplaceAllString(plain, "$1$2")
	if plain == full {
		t.Fatal("reference.yml has no keys that are commented out")
	}
	for _, block := range regexp.MustCompile(`(?m)(^#\|.*\n)+`).FindAllString(full, -1) {
		text := strings.ReplaceAll(block, "#|", "")
		key, _, _ := strings.Cut(text, ":")
		without := regexp.MustCompile(`(?m)^`+key+`:.*\n(?: .*\n)*`).ReplaceAllString(full, "")
		alternatives = append(alternatives, strings.Replace(without, block, text, 1))
	}
	if len(alternatives) == 0 {
		t.Fatal("reference.yml has no alternatives")
	}
	return plain, full, alternatives
}

// The values that are commented out in reference.yml are the defaults: the
// configuration is the same with them.
func TestReferenceDefaults(t *testing.T) {
	plain, full, _ := readReference(t)
	if diff := cmp.Diff(mustParse(t, plain), mustParse(t, full), ignoreTree); diff != "" {
		t.Errorf("reference.yml, as it is (-) and with its comments put in (+):\n%s", diff)
	}
}

// Every key of the schema stands in reference.yml, in one of the places where its
// mapping may stand. The reverse holds because unknown keys are errors.
func TestReferenceKeys(t *testing.T) {
	_, full, alternatives := readReference(t)
	var nodes []*yaml.Node
	for _, text := range append(alternatives, full) {
		mustParse(t, text)
		var doc yaml.Node
		if err := yaml.Load([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, doc.Content...)
	}
	type key struct {
		owner reflect.Type
		key   string
	}
	shown := make(map[key]bool)
	places := make(map[key]string)
	eachKey(reflect.TypeFor[document](), nodes, "", func(owner reflect.Type, path string, found bool) {
		k := key{owner, path[strings.LastIndexByte(path, '.')+1:]}
		shown[k] = shown[k] || found
		places[k] = path
	})
	for k, path := range places {
		if !shown[k] {
			t.Errorf("reference.yml lacks the key %s", path)
		}
	}
	if len(places) < 30 {
		t.Errorf("%d keys found in the schema; the walk through it is broken", len(places))
	}
}

// eachKey calls f for every key that a type of the schema takes, and says
// whether one of the nodes has it.
func eachKey(typ reflect.Type, nodes []*yaml.Node, path string, f func(owner reflect.Type, path string, found bool)) {
	below := func(key string) (found []*yaml.Node) {
		for _, n := range nodes {
			for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
				if key == "" || n.Content[i].Value == key {
					found = append(found, n.Content[i+1])
				}
			}
		}
		return found
	}
	switch {
	case reflect.PointerTo(typ).Implements(reflect.TypeFor[scalar]()):
	case strings.HasPrefix(typ.Name(), "field["), strings.HasPrefix(typ.Name(), "entry["), strings.HasPrefix(typ.Name(), "either["):
		value, _ := typ.FieldByName("value")
		eachKey(value.Type, nodes, path, f)
	case strings.HasPrefix(typ.Name(), "names["):
		eachKey(typ.Elem(), below(""), path+"*.", f)
	case typ.Kind() == reflect.Slice:
		var items []*yaml.Node
		for _, n := range nodes {
			items = append(items, n.Content...)
		}
		eachKey(typ.Elem(), items, path, f)
	default:
		for i, s := range schemaOf(typ) {
			found := below(s.key)
			f(typ, path+s.key, len(found) > 0)
			eachKey(typ.Field(i).Type, found, path+s.key+".", f)
		}
	}
}
