// Command demo shows Porthole on a private node: it starts a containerd of its
// own, runs a distroless pod in it, opens that with Porthole, shows what is
// shared and how that is proved, and removes everything again.
//
// With -hold it only starts the node and the pod and says how to use them, for
// trying things by hand.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/porthole-project/porthole/test/testenv"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	var d demo
	flag.StringVar(&d.porthole, "porthole", "bin/porthole", "the porthole binary")
	flag.StringVar(&d.version, "containerd", string(testenv.V24), "containerd version: 1.6 or 2.4")
	flag.BoolVar(&d.hold, "hold", false, "start the node and the pod, and wait for ctrl-c")
	flag.Parse()
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type demo struct {
	porthole, version string
	hold              bool
	node              *testenv.Node
	pod               *testenv.Pod
}

func (d *demo) run(ctx context.Context) (err error) {
	if os.Getuid() != 0 {
		return errors.New("a private container runtime needs root: sudo make demo")
	}
	if _, err := os.Stat(d.porthole); err != nil {
		return fmt.Errorf("%w; build it first: make build", err)
	}
	d.say("A private node: containerd %s with its own root, state, socket and network", d.version)
	d.node, err = testenv.Start(ctx, testenv.Options{Version: testenv.Version(d.version)})
	if err != nil {
		return fmt.Errorf("start the node: %w; 'test/setup' installs what it needs", err)
	}
	defer func() { err = errors.Join(err, d.end()) }()
	if err := d.startPod(ctx); err != nil {
		return fmt.Errorf("start the pod: %w", err)
	}
	if d.hold {
		return d.wait(ctx)
	}
	return d.show(ctx)
}

// startPod runs a pod with nothing in it but one static program, and a secret
// where only that program can see it.
func (d *demo) startPod(ctx context.Context) (err error) {
	d.pod, err = d.node.RunPod(ctx, testenv.PodSpec{
		Namespace:  "shop",
		Name:       "checkout",
		Containers: []testenv.ContainerSpec{{Name: "app", Image: testenv.ImageApp, Mounts: []testenv.Mount{{Volume: "secret", Path: "/secret"}}}},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.pod.VolumeDir("secret"), "token"), []byte("s3cr3t-of-the-app\n"), 0o400)
}

// show opens the pod a few times. Each step is a command that can be repeated by
// hand.
func (d *demo) show(ctx context.Context) error {
	steps := []struct {
		title string
		args  []string
	}{
		{"What can be opened here?", []string{"pods"}},
		{"The pod has no shell. A debug container brings one and shares its processes: PID 1 is the app", d.debug("ps", "-o", "pid,args")},
		{"The app's own files, through its root", d.debug("cat", "/proc/1/root/secret/token")},
		{"The pod's network address, and the app behind it", d.debug("sh", "-c", "ip -4 -o addr show eth0 && wget -qO- http://127.0.0.1:8080")},
		{"The command's own exit code comes back", d.debug("sh", "-c", "exit 7")},
		{"The proof: after the start the namespaces were compared with the target's", append([]string{"--verbose"}, d.debug("sleep", "0.2")...)},
		{"And nothing is left", []string{"ps"}},
	}
	for _, s := range steps {
		d.say("%s", s.title)
		if err := d.step(ctx, s.args); err != nil {
			return err
		}
	}
	return d.proof(ctx)
}

func (d *demo) debug(command ...string) []string {
	return append([]string{"debug", "shop/checkout", "--image=" + testenv.ImageBusybox, "--"}, command...)
}

func (d *demo) command(ctx context.Context, args ...string) *exec.Cmd {
	// Interrupting the demo must let Porthole clean up.
	cmd := exec.CommandContext(ctx, d.porthole, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(os.Environ(), "CONTAINER_RUNTIME_ENDPOINT="+d.node.Endpoint(),
		"PORTHOLE_STATE_DIR="+filepath.Join(d.node.Dir(), "porthole"))
	cmd.Stderr = os.Stderr
	return cmd
}

// step runs one command and shows it with its output. A command of the app's
// own may fail: its code is part of the show.
func (d *demo) step(ctx context.Context, args []string) error {
	fmt.Printf("\n$ porthole %s\n", strings.Join(quote(args), " "))
	cmd := d.command(ctx, args...)
	cmd.Stdout = os.Stdout
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 && exit.ExitCode() < 124 {
		fmt.Printf("(exit code %d)\n", exit.ExitCode())
		return nil
	}
	return err
}

// proof compares the namespaces once more, from the outside: what the debug
// container sees of itself is what the kernel says of the app.
func (d *demo) proof(ctx context.Context) error {
	d.say("The same from outside: the app's namespaces as the host's kernel names them, and the debug container's")
	kinds := []string{"pid", "net", "ipc", "uts", "mnt"}
	script := "for n in " + strings.Join(kinds, " ") + "; do readlink /proc/self/ns/$n; done"
	args := append([]string{"debug", "-q"}, d.debug("sh", "-c", script)[1:]...)
	out, err := d.command(ctx, args...).Output()
	if err != nil {
		return err
	}
	inside := strings.Fields(string(out))
	if len(inside) != len(kinds) {
		return fmt.Errorf("the debug container tells of %d namespaces, want %d", len(inside), len(kinds))
	}
	fmt.Printf("\n   %-6s %-18s %-18s\n", "", "app", "debug container")
	for i, kind := range kinds {
		app, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", d.pod.Containers["app"].PID, kind))
		if err != nil {
			return fmt.Errorf("namespace %s: %w", kind, err)
		}
		same := "the same"
		if app != inside[i] {
			same = "its own"
		}
		if (kind == "mnt") != (app != inside[i]) {
			return fmt.Errorf("namespace %s: the app has %s, the debug container %s", kind, app, inside[i])
		}
		fmt.Printf("   %-6s %-18s %-18s %s\n", kind, strings.TrimPrefix(app, kind+":"), strings.TrimPrefix(inside[i], kind+":"), same)
	}
	return nil
}

func (d *demo) wait(ctx context.Context) error {
	fmt.Printf("\nThe pod shop/checkout runs. In another terminal:\n\n   export CONTAINER_RUNTIME_ENDPOINT=%s\n   %s debug checkout -it --image=%s\n\nctrl-c here ends it all.\n",
		d.node.Endpoint(), d.porthole, testenv.ImageBusybox)
	<-ctx.Done()
	return nil
}

func (d *demo) end() error {
	d.say("Removing the pod and the node")
	if err := d.node.Stop(); err != nil {
		return fmt.Errorf("remove the node: %w", err)
	}
	fmt.Println()
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Printf("\n▸ "+format+"\n", args...) }

func quote(args []string) []string {
	out := make([]string, 0, len(args))
	for _, a := range args {
		if strings.ContainsAny(a, " $;&|'\"") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out = append(out, a)
	}
	return out
}
