package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	rabbitServer = "/usr/lib/rabbitmq/bin/rabbitmq-server" // not the wrapper, which wants to be user rabbitmq
	activemqHome = "/usr/share/activemq"
)

// startRabbitMQ runs RabbitMQ with every protocol it has, in dir alone: its
// own epmd, cookie, database and log.
func startRabbitMQ(dir string) (*process, map[string]probe, error) {
	addresses := make(map[string]string)
	for _, protocol := range []string{"amqp", "stomp", "mqtt", "web-stomp", "web-mqtt"} {
		addresses[protocol] = loopback(freePorts.next())
	}
	port := func(protocol string) string { return strings.TrimPrefix(addresses[protocol], "127.0.0.1:") }
	config := filepath.Join(dir, "rabbitmq.conf")
	plugins := filepath.Join(dir, "enabled_plugins")
	if err := writeFiles(map[string]string{
		config: `listeners.tcp.1 = ` + addresses["amqp"] + `
stomp.listeners.tcp.1 = ` + addresses["stomp"] + `
mqtt.listeners.tcp.1 = ` + addresses["mqtt"] + `
mqtt.prefetch = 1000
web_stomp.tcp.ip = 127.0.0.1
web_stomp.tcp.port = ` + port("web-stomp") + `
web_stomp.ws_frame = binary
web_mqtt.tcp.ip = 127.0.0.1
web_mqtt.tcp.port = ` + port("web-mqtt") + `
log.console = true
log.file = false
`,
		plugins: "[rabbitmq_stomp,rabbitmq_mqtt,rabbitmq_amqp1_0,rabbitmq_web_stomp,rabbitmq_web_mqtt].\n",
	}); err != nil {
		return nil, nil, err
	}
	p, err := startRabbitNode("rabbitmq", dir)
	return p, map[string]probe{
		"amqp":      probeAMQP(addresses["amqp"]),
		"stomp":     probeSTOMP(addresses["stomp"]),
		"mqtt":      probeMQTT(addresses["mqtt"]),
		"web-stomp": probeWebSocket(addresses["web-stomp"], "v12.stomp"),
		"web-mqtt":  probeWebSocket(addresses["web-mqtt"], "mqtt"),
	}, err
}

// startRabbitNode runs RabbitMQ with dir's rabbitmq.conf and enabled_plugins, and
// with what env says in another way.
func startRabbitNode(name, dir string, env ...string) (*process, error) {
	if _, err := os.Stat(rabbitServer); err != nil {
		return nil, notInstalled("rabbitmq-server")
	}
	epmdPort, distPort := fmt.Sprint(freePorts.next()), fmt.Sprint(freePorts.next())
	// An epmd that RabbitMQ started would leave the process group; one that
	// runs already is used.
	cmd := exec.Command("sh", "-c", `epmd -address 127.0.0.1 -port "$ERL_EPMD_PORT" & exec "$0"`, rabbitServer)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"HOME="+dir,
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"ERL_EPMD_PORT="+epmdPort,
		"RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_NODENAME=suitegate-"+distPort+"@localhost",
		"RABBITMQ_DIST_PORT="+distPort,
		"RABBITMQ_CONFIG_FILE="+filepath.Join(dir, "rabbitmq.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "enabled_plugins"),
		"RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "mnesia"),
		"RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
	)
	cmd.Env = append(cmd.Env, env...)
	return start(name, dir, cmd)
}

// startActiveMQ runs ActiveMQ Classic with OpenWire and STOMP.
func startActiveMQ(dir string) (*process, map[string]probe, error) {
	if _, err := os.Stat(activemqHome); err != nil {
		return nil, nil, notInstalled("activemq")
	}
	if _, err := exec.LookPath("java"); err != nil {
		return nil, nil, notInstalled("java")
	}
	openwire, stomp := loopback(freePorts.next()), loopback(freePorts.next())
	config := filepath.Join(dir, "activemq.xml")
	if err := writeFiles(map[string]string{config: `<?xml version="1.0" encoding="UTF-8"?>
<beans xmlns="http://www.springframework.org/schema/beans"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans.xsd
        http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="e2e" persistent="false" useJmx="false">
    <transportConnectors>
      <transportConnector name="openwire" uri="tcp://` + openwire + `"/>
      <transportConnector name="stomp" uri="stomp://` + stomp + `"/>
    </transportConnectors>
  </broker>
</beans>
`}); err != nil {
		return nil, nil, err
	}
	cmd := activeMQConsole(dir, nil, "start", "xbean:file:"+config)
	p, err := start("activemq", dir, cmd)
	return p, map[string]probe{
		"openwire": probeOpenWire(openwire),
		"stomp":    probeSTOMP(stomp),
	}, err
}

// log4jConfig makes ActiveMQ's programs print what they do, a message a line.
const log4jConfig = `log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%m%n
`

// activeMQConsole is a command of ActiveMQ's own console program: the broker
// itself ("start") and its OpenWire clients ("producer", "consumer").
func activeMQConsole(dir string, properties []string, args ...string) *exec.Cmd {
	java := append(properties,
		"-Xmx512m",
		"-Dactivemq.home="+activemqHome,
		"-Dactivemq.base="+dir,
		"-cp", activemqHome+"/lib/*:"+activemqHome+"/lib/optional/*:"+activemqHome+"/bin/activemq.jar",
		"org.apache.activemq.console.Main")
	cmd := exec.Command("java", append(java, args...)...)
	cmd.Dir = dir
	return cmd
}

// startMosquitto runs Mosquitto without queue limits, so that it never drops.
func startMosquitto(dir string) (*process, map[string]probe, error) {
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto" // not on everyone's PATH
		if _, err := os.Stat(program); err != nil {
			return nil, nil, notInstalled("mosquitto")
		}
	}
	port := freePorts.next()
	config := filepath.Join(dir, "mosquitto.conf")
	if err := writeFiles(map[string]string{
		config: fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n", port),
	}); err != nil {
		return nil, nil, err
	}
	p, err := start("mosquitto", dir, exec.Command(program, "-c", config))
	return p, map[string]probe{"mqtt": probeMQTT(loopback(port))}, err
}

func writeFiles(files map[string]string) error {
	for name, content := range files {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// TestBrokersReady shows that all three brokers are there, so that a broker's
// own trouble is not taken for the gateway's.
func TestBrokersReady(t *testing.T) {
	t.Run("RabbitMQ", func(t *testing.T) { rabbitMQ(t) })
	t.Run("ActiveMQ", func(t *testing.T) { activeMQ(t) })
	t.Run("Mosquitto", func(t *testing.T) { mosquitto(t) })
}
