package node

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/test/testenv"
)

// evil is a name that takes over a terminal that shows it: a title, colours,
// cleared screen, both kinds of control characters, and text that turns around.
// It has no semicolon, which CNI would trip over.
const evil = "evil\x1b]2owned\x07\x1b[2J\u009b31m\r\u202egpj.\u200bx\x7f"

// TestHostileNames shows a pod whose names were chosen by an enemy, in every
// way there is. A real API server would refuse them; the runtime does not.
func TestHostileNames(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{
			Name:        "hostile",
			Labels:      map[string]string{"note": evil},
			Annotations: map[string]string{"kubectl.kubernetes.io/default-container": evil},
			Containers: []testenv.ContainerSpec{
				{Name: "app", Edit: func(c *runtimeapi.ContainerConfig) { c.Metadata.Name = evil }},
				{Name: "other", Edit: func(c *runtimeapi.ContainerConfig) { c.Image.UserSpecifiedImage = evil }},
			},
			Edit: func(c *runtimeapi.PodSandboxConfig) {
				c.Metadata.Name, c.Metadata.Namespace = "web"+evil, "ns"+evil
				c.Labels["io.kubernetes.pod.name"] = "web" + evil
			},
		})
		image := "--image=" + testenv.ImageBusybox
		for _, args := range [][]string{
			{"pods"}, {"pods", "-o", "wide"}, {"pods", "-o", "name"}, {"pods", "-o", "json"}, {"pods", "-o", "yaml"},
			{"--verbose", "pods"}, {"debug", "--generate-bash-completion"},
			{"debug", "nobody", image}, {"debug", "web" + evil, image}, {"debug", p.ID[:13], image, "--target=nobody"},
			{"debug", p.ID[:13], image, "--", "true"}, {"debug", p.ID[:13], image, "--", evil},
			{"debug", p.ID[:13], image, "--dry-run"}, {"debug", p.ID[:13], image, "--dry-run", "-o", "yaml"},
			{"debug", p.ID[:13], image, "--target=" + evil}, {"debug", p.ID[:13], "--image=" + evil}, {"debug", p.ID[:13], image, "-c", evil},
			{"--runtime-endpoint=/" + evil, "pods"}, {evil}, {"pods", "-l", evil}, {"pods", "-n", evil}, {"debug", p.ID[:13], image, "--" + evil},
		} {
			r := e.run(args...)
			e.plain(r.stdout)
			e.plain(r.stderr)
			if said := r.stdout+r.stderr != ""; !said && r.code != 0 {
				e.Errorf("%q: %s; want it to say something", args, r)
			}
		}
		var list struct{ Items []podView }
		if r := e.run("pods", "-o", "json"); json.Unmarshal([]byte(r.stdout), &list) != nil || len(list.Items) != 1 || list.Items[0].Name != "web"+evil {
			e.Errorf("as JSON the name is %+v, want it as it is", list)
		}
		c := e.command("debug", p.ID[:13], image, "--", "sh", "-c", "echo ready; sleep 1000").with("SUDO_USER=" + evil).start()
		c.await(c.stdout, "ready\n")
		for _, args := range [][]string{{"ps"}, {"ps", "-o", "wide"}, {"ps", "-o", "json"}, {"ps", "-o", "yaml"}, {"gc", "--all", "--dry-run"}} {
			r := e.run(args...)
			e.plain(r.stdout)
			e.plain(r.stderr)
			if r.code != 0 || !strings.Contains(r.stdout, "web") {
				e.Errorf("%q: %s", args, r)
			}
		}
		c.signal(syscall.SIGTERM)
		r := c.ended(143)
		e.plain(r.stderr)
	})
}
