package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// layout is where a node keeps its things, all under one directory.
type layout struct{ dir string }

func (l layout) at(elem ...string) string { return filepath.Join(append([]string{l.dir}, elem...)...) }

func (l layout) config() string  { return l.at("config.toml") }
func (l layout) log() string     { return l.at("containerd.log") }
func (l layout) socket() string  { return l.at("c.sock") }
func (l layout) root() string    { return l.at("root") }
func (l layout) state() string   { return l.at("state") }
func (l layout) cniConf() string { return l.at("cni", "net.d") }
func (l layout) cniIPAM() string { return l.at("cni", "ipam") }
func (l layout) tmp() string     { return l.at("tmp") }
func (l layout) kubelet() string { return l.at("kubelet") }
func (l layout) podLogs() string { return l.at("logs", "pods") }

// shimSockets is where 2.4 puts the shims' sockets; 1.6 has no such setting.
func (l layout) shimSockets() string { return l.at("s") }

// make creates the directories. They are traversable by others, as
// /var/lib/kubelet and containerd's root are: the root of a user namespace has
// to reach what is mounted for it.
func (l layout) make() error {
	if err := os.MkdirAll(l.dir, 0o711); err != nil {
		return err
	}
	if err := os.Chmod(l.dir, 0o711); err != nil {
		return err
	}
	for _, d := range []string{l.root(), l.state(), l.cniConf(), l.cniIPAM(), l.tmp(), l.kubelet(), l.podLogs(), l.shimSockets()} {
		if err := os.MkdirAll(d, 0o711); err != nil {
			return err
		}
	}
	return nil
}

// write writes containerd's configuration and the CNI network of the node.
func (l layout) write(v Version, bin binaries, net network) error {
	template := config16
	if v == V24 {
		template = config24
	}
	text := strings.NewReplacer(
		"@root@", l.root(),
		"@state@", l.state(),
		"@socket@", l.socket(),
		"@shims@", l.shimSockets(),
		"@cnibin@", cniBin,
		"@cniconf@", l.cniConf(),
		"@runc@", bin.runc,
		"@runcroot@", l.at("runc"),
		"@pause@", ImagePause,
	).Replace(template)
	if err := os.WriteFile(l.config(), []byte(text), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.cniConf(), "10-porthole.conflist"), []byte(net.conflist(l.cniIPAM())), 0o600)
}

// conflist is the CNI configuration of the network. The bridge exists already
// and has its address, so the plugin neither routes, masquerades nor turns on
// forwarding: nothing of the machine but this bridge is touched.
func (n network) conflist(ipam string) string {
	return fmt.Sprintf(`{
  "cniVersion": "0.4.0",
  "name": %q,
  "plugins": [{
    "type": "bridge",
    "bridge": %q,
    "isGateway": false,
    "ipMasq": false,
    "ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": %q}]]}
  }]
}
`, n.name, n.bridge, ipam, n.subnet)
}

// config16 is for containerd 1.6, whose CRI plugin is one. The out-of-memory
// score must be restricted, because a test machine may lack CAP_SYS_RESOURCE.
// What is disabled is not needed and only costs start-up time.
const config16 = `version = 2
root = "@root@"
state = "@state@"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.native",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "@socket@"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "@pause@"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "@cnibin@"
  conf_dir = "@cniconf@"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "@runc@"
  Root = "@runcroot@"
  SystemdCgroup = false
`

// config24 is for containerd 2.4, which splits the CRI plugin in three.
const config24 = `version = 3
root = "@root@"
state = "@state@"
imports = []
disabled_plugins = [
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.native",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.differ.v1.erofs",
  "io.containerd.mount-handler.v1.erofs",
  "io.containerd.image-verifier.v1.bindir",
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "@socket@"

[plugins."io.containerd.shim.v1.manager"]
  socket_dir = "@shims@"

[plugins."io.containerd.nri.v1.nri"]
  disable = true

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "@pause@"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["@cnibin@"]
  conf_dir = "@cniconf@"
  use_internal_loopback = true

[plugins."io.containerd.cri.v1.runtime".containerd]
  default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "@runc@"
  Root = "@runcroot@"
  SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
`
