package kubelet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/test/testenv"
)

// nodeName is what kubelet appends to the names of static pods.
const nodeName = "node"

// kubelet is a running kubelet and the node below it.
type kubelet struct {
	node    *testenv.Node
	program string
	log     *os.File
	daemon  *testenv.Daemon
}

// startKubelet starts a node and a kubelet on it, both of which end with the
// test. The node's end takes all that kubelet made: everything is below its
// directory and its cgroup.
func startKubelet(t *testing.T, program string) *kubelet {
	t.Helper()
	k := &kubelet{program: program}
	testenv.Need(t, testenv.Root, testenv.Containerd24)
	var err error
	if k.node, err = testenv.Start(t.Context(), testenv.Options{Version: testenv.V24}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.stop(t) })
	if err := k.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := k.start(); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *kubelet) at(elem ...string) string {
	return filepath.Join(append([]string{k.node.Dir()}, elem...)...)
}

func (k *kubelet) manifests() string { return k.at("manifests") }

// prepare writes what kubelet is started with. Its root directory becomes a
// mount that it shares with containerd: kubelet has a mount namespace of its
// own, and volumes are made there for the runtime to see.
func (k *kubelet) prepare() error {
	if err := os.MkdirAll(k.manifests(), 0o700); err != nil {
		return err
	}
	root := k.node.KubeletRoot()
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", root, err)
	}
	if err := unix.Mount("", root, "", unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share %s: %w", root, err)
	}
	config, err := json.MarshalIndent(k.config(), "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(k.at("kubelet.json"), config, 0o600); err != nil {
		return err
	}
	k.log, err = os.OpenFile(k.at("kubelet.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return err
}

// config is kubelet's configuration. What is not named is as on any node, the
// periods of its housekeeping above all.
func (k *kubelet) config() map[string]any {
	return map[string]any{
		"apiVersion":               "kubelet.config.k8s.io/v1beta1",
		"kind":                     "KubeletConfiguration",
		"containerRuntimeEndpoint": k.node.Endpoint(),
		"staticPodPath":            k.manifests(),
		"podLogsDir":               k.node.PodLogs(),
		"volumePluginDir":          k.at("volumeplugins"),
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               k.node.Cgroup(),

		// No API server, and nothing that listens on the network.
		"enableServer":   false,
		"healthzPort":    0,
		"authentication": map[string]any{"anonymous": map[string]any{"enabled": false}, "webhook": map[string]any{"enabled": false}},
		"authorization":  map[string]any{"mode": "AlwaysAllow"},

		// The machine is what it is, and is to stay so.
		"failCgroupV1":                false,
		"failSwapOn":                  false,
		"enforceNodeAllocatable":      []string{},
		"makeIPTablesUtilChains":      false,
		"resolvConf":                  "",
		"oomScoreAdj":                 0,
		"imageGCHighThresholdPercent": 100, // never
		"evictionHard":                map[string]string{"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%"},
	}
}

// start starts kubelet. It dies with this process, and its namespace with it.
func (k *kubelet) start() error {
	cmd := exec.Command(os.Args[0], k.program,
		"--config="+k.at("kubelet.json"),
		"--root-dir="+k.node.KubeletRoot(),
		"--cert-dir="+filepath.Join(k.node.KubeletRoot(), "pki"),
		"--hostname-override="+nodeName,
		"--v=3",
	)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/root", rootVar + "=" + k.node.KubeletRoot()}
	cmd.Dir = k.node.Dir()
	cmd.Stdout, cmd.Stderr = k.log, k.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	var err error
	k.daemon, err = testenv.StartDaemon(cmd)
	return err
}

// restart ends kubelet as systemd does and starts it again.
func (k *kubelet) restart() error {
	k.daemon.End(syscall.SIGTERM, 10*time.Second)
	return k.start()
}

// stop ends kubelet first, so that it does not see its node fall.
func (k *kubelet) stop(t *testing.T) {
	t.Helper()
	if k.daemon != nil {
		k.daemon.End(syscall.SIGKILL, 10*time.Second)
	}
	if path := os.Getenv(logVar); path != "" && k.log != nil {
		text, err := os.ReadFile(k.log.Name())
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if k.log != nil {
		_ = k.log.Close()
	}
	if err := k.node.Stop(); err != nil {
		t.Error(err)
	}
}

// apply writes the manifest of a pod, whole from the first moment.
func (k *kubelet) apply(p *corev1.Pod) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(k.manifests(), p.Name+".json")
	hidden := filepath.Join(k.manifests(), "."+p.Name) // kubelet ignores it
	if err := os.WriteFile(hidden, text, 0o600); err != nil {
		return err
	}
	return os.Rename(hidden, path)
}

// remove deletes the manifest of a pod.
func (k *kubelet) remove(p *corev1.Pod) error {
	return os.Remove(filepath.Join(k.manifests(), p.Name+".json"))
}

// logged returns what kubelet has logged from offset on, as whole lines, and
// the offset behind them.
func (k *kubelet) logged(offset int) (string, int, error) {
	text, err := os.ReadFile(k.log.Name())
	if err != nil {
		return "", offset, err
	}
	end := bytes.LastIndexByte(text, '\n') + 1
	return string(text[min(offset, end):end]), end, nil
}

// tail is the end of kubelet's log, for messages.
func (k *kubelet) tail() string {
	text, _, _ := k.logged(0)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return "\nkubelet log:\n" + strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// eventually waits for what has no event. It fails the test with the last
// reason and the end of kubelet's log.
func (k *kubelet) eventually(t *testing.T, within time.Duration, what string, ok func(context.Context) error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := ok(t.Context())
		if err == nil {
			return
		}
		if !k.daemon.Running() {
			t.Fatalf("%s: kubelet has ended%s", what, k.tail())
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v%s", what, within, err, k.tail())
		}
		time.Sleep(20 * time.Millisecond)
	}
}
