package node

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/porthole-project/porthole/test/testenv"
)

func TestWhichPod(t *testing.T) {
	each(t, func(e *env) {
		one := e.pod(testenv.PodSpec{Name: "twice", Namespace: "one"})
		two := e.pod(testenv.PodSpec{Name: "twice", Namespace: "two", Containers: []testenv.ContainerSpec{{Name: "a"}, {Name: "b"}}})
		once := e.pod(testenv.PodSpec{Name: "once"})
		open := func(rest ...string) result {
			return e.run(append([]string{"debug", "--image=" + testenv.ImageBusybox, "-q"}, append(rest, "--", "hostname")...)...)
		}
		for _, args := range [][]string{
			{"once"}, {"pod/once"}, {"pods/once"}, {"po/once"}, {"default/once"}, {"-n", "default", "once"}, {"once", "-n=default"}, {once.ID}, {once.ID[:13]}, {once.Containers["app"].ID[:13]},
		} {
			if r := open(args...); r.stdout != "once\n" || r.code != 0 {
				e.Errorf("%q: %s; want once", args, r)
			}
		}
		for _, args := range [][]string{{"one/twice"}, {"-n", "one", "twice"}, {"pod/twice", "--namespace", "one"}, {one.ID[:13]}} {
			if r := open(args...); r.stdout != "twice\n" || r.code != 0 {
				e.Errorf("%q: %s; want twice", args, r)
			}
		}
		// A container's ID names the target, too.
		r := e.run("debug", two.Containers["b"].ID[:13], "--image="+testenv.ImageBusybox, "--dry-run")
		if !strings.Contains(r.stdout, two.Containers["b"].ID) || strings.Contains(r.stdout, two.Containers["a"].ID) || r.code != 0 {
			e.Errorf("container ID: %s; want it as target", r)
		}
		e.refused(open("nobody"), "unknown", "no pod nobody", "default/once", "one/twice", "two/twice", once.ID[:13])
		e.refused(open("two/once"), "wrong namespace", "no pod two/once", "default/once")
		e.refused(open("twice"), "ambiguous", "ambiguous", "one/twice", "two/twice", "NAMESPACE/NAME")
		e.refused(open("0123456789abcdef"), "unknown ID", "0123456789abcdef")
		e.refused(open("node/once"), "node", "names a node")
		e.refused(open("Bad_Name"), "malformed", `"Bad_Name" is not valid`)
		e.refused(open("a/b/c"), "malformed", `"b/c" is not valid`)
		e.refused(open("one/once", "-n", "two"), "contradiction", "-n says two")
		e.refused(open("once", "twice"), "two pods", "one pod at a time")
		e.refused(e.run("debug", "--image=x"), "no pod", "no pod is named")
	})
}

func TestBadTarget(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "half", Containers: []testenv.ContainerSpec{{Name: "stopped"}, {Name: "running"}}})
		e.changes(p)
		if err := p.StopContainer(e.Context(), "stopped"); err != nil {
			e.Fatal(err)
		}
		e.refused(e.run(debug(p, "--target=nobody", "--", "true")...), "unknown", `no container "nobody"`, "stopped, running")
		e.refused(e.run(debug(p, "--target=stopped", "--", "true")...), "stopped", `"stopped"`, "is not running - in state CONTAINER_EXITED", "--target")
		e.refused(e.run(debug(p, "-c", "running", "--", "true")...), "taken name", `Duplicate value: "running"`)
		e.refused(e.run(debug(p, "-c", "Not A Name", "--", "true")...), "malformed name", `"Not A Name"`)
		if err := p.StopContainer(e.Context(), "running"); err != nil {
			e.Fatal(err)
		}
		e.refused(e.run(debug(p, "--", "true")...), "all stopped", "is not running - in state CONTAINER_EXITED")
		if r := e.run(debug(p, "--target=", "--", "echo", "still")...); r.stdout != "still\n" || r.code != 0 {
			e.Errorf("without target: %s", r)
		}
		if err := p.Stop(e.Context()); err != nil {
			e.Fatal(err)
		}
		e.refused(e.run(debug(p, "--target=", "--", "true")...), "dead sandbox", "is not ready")
	})
}

func TestBadImageAndSpec(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "spec"})
		with := func(rest ...string) result { return e.run(append([]string{"debug", p.Name}, rest...)...) }
		image := "--image=" + testenv.ImageBusybox
		e.refused(with("--image=localhost/absent:1", "--image-pull-policy=Never"), "absent", "localhost/absent:1", "is not present with pull policy of Never", "ErrImageNeverPull")
		e.refused(with("--image=localhost/absent:1", "--dry-run"), "absent, dry", "localhost/absent:1", "would be pulled")
		if r := with("--image=localhost/absent:1", "-q", "--dry-run", "-o", "spec"); r.code != 0 || !strings.Contains(r.stdout, "image: localhost/absent:1\n") {
			e.Errorf("a spec needs no image: %s", r)
		}
		e.refused(with("--image=127.0.0.1:1/absent:1"), "no registry", "127.0.0.1:1/absent:1")
		for _, bad := range []string{"Upper/Case", "a b", "a:b:c", "@sha256:1", "x@sha256:12", "-x", "\x1b[31mred", "../x"} {
			e.refused(with("--image="+bad), "image "+bad, "image")
		}
		e.refused(with(), "no image", "no image")
		e.refused(with(image, "--image-pull-policy=Sometimes"), "policy", "Sometimes", "IfNotPresent")
		e.refused(with(image, "--env=NOVALUE"), "env", `"NOVALUE"`, "NAME=VALUE")
		e.refused(with(image, "--env==x"), "env", "NAME=VALUE")
		e.refused(with(image, "--env=a\x1bb=x"), "env", "Invalid value")
		e.refused(with(image, "--profile=root"), "profile", `"root"`, "general")
		e.refused(with(image, "--ttl=1000h"), "ttl", "--ttl")
		e.refused(with(image, "--ttl=-1s"), "ttl", "--ttl")
		e.refused(with(image, "--ttl=soon"), "ttl", "soon")
		e.refused(with(image, "--dry-run", "-o", "xml"), "output", `"xml"`)
		e.refused(with(image, "--arguments-only"), "arguments", "--arguments-only")
		e.refused(with(image, "--"), "no command", "no command")
		e.refused(with(image, "--no-such-flag"), "flag", "no-such-flag")
		e.refused(e.run("no-such-command"), "command", `"no-such-command"`)
		if err := os.WriteFile(e.config, []byte("debug:\n  imaeg: x\n"), 0o600); err != nil {
			e.Fatal(err)
		}
		e.refused(with(image), "configuration", "imaeg", e.config)
	})
}

func TestBadEndpoint(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "endpoint"})
		dir := e.TempDir()
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			e.Fatal(err)
		}
		closing, mute := filepath.Join(dir, "closing"), filepath.Join(dir, "mute")
		e.listen(closing, true)
		e.listen(mute, false)
		other := filepath.Join(dir, "other")
		l, err := net.Listen("unix", other)
		if err != nil {
			e.Fatal(err)
		}
		server := grpc.NewServer()
		go func() { _ = server.Serve(l) }()
		e.Cleanup(server.Stop)
		for endpoint, says := range map[string]string{
			filepath.Join(dir, "nothing"): "no such socket",
			file:                          "not a socket",
			closing:                       closing,
			mute:                          "did not answer in time",
			other:                         "is not a CRI v1 runtime",
			"tcp://127.0.0.1:1":           "only unix:///PATH",
			"relative/path":               "only unix:///PATH",
		} {
			for _, args := range [][]string{debug(p, "--", "true"), {"pods"}, {"gc"}} {
				began := time.Now()
				e.refused(e.run(append([]string{"--runtime-endpoint", endpoint}, args...)...), endpoint, endpoint, says)
				if took := time.Since(began); took > 5*time.Second {
					e.Errorf("%s: took %s", endpoint, took)
				}
			}
		}
		// The named endpoint is tried and no other.
		r := e.command("pods").with("CONTAINER_RUNTIME_ENDPOINT=" + filepath.Join(dir, "nothing")).start().wait()
		e.refused(r, "environment", "CONTAINER_RUNTIME_ENDPOINT")
		if strings.Contains(r.stderr, "/run/") {
			e.Errorf("other sockets were tried: %s", r)
		}
		e.refused(e.run(append([]string{"--image-endpoint", file}, debug(p, "--", "true")...)...), "image endpoint", file)
	})
}

// listen takes connections on a socket that no CRI runtime serves.
func (e *env) listen(path string, hangUp bool) {
	e.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = l.Close() })
	go func() {
		var open []net.Conn // a connection that is collected would be closed
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			if hangUp {
				_ = conn.Close()
			}
			open = append(open, conn)
		}
		for _, conn := range open {
			_ = conn.Close()
		}
	}()
}
