package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/porthole-project/porthole/cri"
	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/internal/cgroup"
	"github.com/porthole-project/porthole/internal/config"
	"github.com/porthole-project/porthole/internal/journal"
	"github.com/porthole-project/porthole/internal/kubelet"
	"github.com/porthole-project/porthole/internal/kubelet/poddir"
	"github.com/porthole-project/porthole/internal/registry"
	"github.com/porthole-project/porthole/nsjoin"
	"github.com/porthole-project/porthole/runtime"
)

// This file is the only one that names rungs: here the engine meets the CRI,
// the kernel and kubelet's files.

// node is everything a verb works with.
type node struct {
	stdio
	config config.Config
	client *cri.Client
	engine *agent.Engine
	quiet  bool
	talk   bool // --verbose
	// kubelet is where kubelet was found to keep things, nil before it was asked.
	kubelet *kubelet.Paths
	// sources of credentials, best first.
	sources []registry.Source
}

// openNode reads the settings and connects to the runtime.
func openNode(c *cli.Context, io stdio) (*node, error) {
	settings, err := loadConfig(c)
	if err != nil {
		return nil, err
	}
	ends, err := cri.FindEndpoints(settings.RuntimeEndpoint, settings.ImageEndpoint, os.Getenv, cri.CrictlConfig)
	if err != nil {
		return nil, err
	}
	limits := cri.DefaultLimits()
	limits.Call, limits.Pull = settings.Timeout, settings.PullTimeout
	client, err := cri.Dial(c.Context, ends, limits)
	if err != nil {
		return nil, err
	}
	n := &node{stdio: io, config: settings, client: client, talk: c.Bool("verbose")}
	if n.engine, err = newEngine(n); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	n.verbose("runtime: %s", client)
	return n, nil
}

func (n *node) close() { _ = n.client.Close() }

// notice tells the user something; a warning also when they want quiet.
func (n *node) notice(text string) {
	if !n.quiet || strings.HasPrefix(text, "Warning: ") {
		n.console.line(text)
	}
}

func (n *node) verbose(format string, args ...any) {
	if n.talk {
		n.console.line(fmt.Sprintf(format, args...))
	}
}

// loadConfig lays the flags over environment, file and defaults.
func loadConfig(c *cli.Context) (config.Config, error) {
	path, named := config.DefaultPath, c.IsSet("config")
	if named {
		path = c.String("config")
	}
	settings, err := config.Load(path, named)
	if err != nil {
		return settings, err
	}
	if settings, err = settings.FromEnv(os.Environ()); err != nil {
		return settings, err
	}
	for flag, value := range map[string]*string{
		"runtime-endpoint": &settings.RuntimeEndpoint, "image-endpoint": &settings.ImageEndpoint,
		"kubelet-root": &settings.KubeletRoot, "state-dir": &settings.StateDir,
	} {
		if c.IsSet(flag) {
			*value = c.String(flag)
		}
	}
	if c.IsSet("timeout") {
		settings.Timeout = c.Duration("timeout")
		if settings.Timeout <= 0 {
			return settings, usageErrorf("--timeout %s: want more than nothing", settings.Timeout)
		}
	}
	return settings, nil
}

func newEngine(n *node) (*agent.Engine, error) {
	self, err := nsjoin.Self()
	if err != nil {
		return nil, err
	}
	e := &agent.Engine{
		Rung:     rung{n.client},
		Endpoint: n.client.Endpoint(),
		Store:    n.client,
		Notice:   n.notice,
		Host: agent.Host{
			Pin:         pin,
			Keeper:      self.String(),
			Running:     running,
			Owner:       owner(),
			Describe:    n.describe,
			CheckMount:  poddir.OutsideProc,
			LimitPids:   cgroup.Files{}.LimitPids,
			Credentials: n.credentials,
		},
		Verbose: func(line string) { n.verbose("%s", line) },
	}
	if e.Journal, err = journal.Open(filepath.Join(n.config.StateDir, "sessions")); err != nil {
		// A node with a read-only disk must still be opened.
		n.verbose("Warning: %v; a crash could leave an empty log directory", err)
		e.Journal = nil
	}
	if e.Records, err = journal.OpenRecords(filepath.Join(n.config.StateDir, "records")); err != nil {
		n.verbose("Warning: %v; what is added to a pod is not remembered", err)
		e.Records = nil
	}
	return e, nil
}

// rung gives the CRI client the shape that the engine wants.
type rung struct{ *cri.Client }

var _ agent.Rung = rung{}

func (r rung) Launch(ctx context.Context, plan *runtime.Plan) (agent.Container, error) {
	c, err := r.Client.Launch(ctx, plan)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// pinned gives a pinned process the shape that the engine wants.
type pinned struct{ *nsjoin.Process }

func (p pinned) Namespaces() (map[string]string, error) {
	set, err := p.Process.Namespaces()
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(set))
	for kind, id := range set {
		out[string(kind)] = id.String()
	}
	return out, nil
}

func pin(pid int) (agent.Process, error) {
	p, err := nsjoin.Pin(pid)
	if err != nil {
		return nil, err
	}
	return pinned{p}, nil
}

// running judges a keeper. A label that cannot be read names nobody we know.
func running(keeper string) (alive, known bool) {
	id, err := nsjoin.ParseIdentity(keeper)
	if err != nil {
		return false, false
	}
	return id.Running()
}

var notInLabels = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// owner names the acting user: behind sudo the one who used it.
func owner() string {
	name := os.Getenv("SUDO_USER")
	if name == "" {
		name = "uid-" + strconv.Itoa(os.Getuid())
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	name = notInLabels.ReplaceAllString(name, "_")
	return name[:min(len(name), 63)]
}
