package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/porthole-project/porthole/test/testenv"
)

const (
	// afterRestart is for how long a new kubelet may do what it wants: its
	// clean-up runs every 2 s, and its first look at the runtime is at once.
	afterRestart = 15 * time.Second
	// afterExit is how long kubelet gets to react to a container that ended.
	afterExit = 5 * time.Second
	// exitLimit is how soon nothing of a session must be left after its end.
	exitLimit = time.Second
	// collection is how long kubelet may take to remove a deleted pod: sandboxes
	// and logs go with its collection of containers, once a minute.
	collection = 2 * time.Minute
)

// proof is what the steps of TestKubelet share.
type proof struct {
	k        *kubelet
	pods     []*watched
	stateDir string
	empty    testenv.Residue // the node before the first pod
	known    map[string]bool // kinds of what kubelet complains about by itself
	living   int             // offset in kubelet's log where the first session began
	opened   time.Time
}

// TestKubelet is one story of a node: kubelet runs the pods, Porthole opens all
// of them, kubelet keeps house, is restarted, sees the sessions end, and deletes
// the pods around others.
func TestKubelet(t *testing.T) {
	program := program(t)
	machineStays(t)
	p := &proof{k: startKubelet(t, program), stateDir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(p.stateDir, "config.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.start(t)
	t.Cleanup(func() {
		for _, w := range p.pods {
			w.session.stop()
		}
		fmt.Println()
		printTable(os.Stdout, p.pods)
	})
	t.Run("pods-api", p.podsAPI)
	t.Run("requests", p.requests)
	t.Run("crashed-target", p.crashedTarget)
	if !t.Run("open", p.open) {
		t.FailNow() // all that follows would say so again
	}
	t.Run("housekeeping", p.housekeeping)
	t.Run("restart", p.restart)
	t.Run("exit", p.exit)
	t.Run("log", p.log)
	if !t.Run("open-again", p.open) {
		t.FailNow()
	}
	t.Run("delete", p.delete)
}

// start waits for kubelet, then gives it all pods at once and waits for them.
func (p *proof) start(t *testing.T) {
	t.Helper()
	p.k.eventually(t, 30*time.Second, "kubelet is up", func(ctx context.Context) error {
		var err error
		if p.empty, err = p.k.node.Residue(ctx); err != nil {
			return err
		}
		if !slices.Contains(p.empty[testenv.KindCgroup], "kubepods/besteffort") || !slices.Contains(p.empty[testenv.KindCgroup], "kubepods/burstable") {
			return fmt.Errorf("cgroups are %v", p.empty[testenv.KindCgroup])
		}
		return nil
	})
	for _, s := range subjects() {
		p.pods = append(p.pods, &watched{subject: s, k: p.k})
		if err := p.k.apply(s.pod()); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range p.pods {
		p.k.eventually(t, time.Minute, "pod "+w.name+" runs", w.ready)
	}
	p.known = map[string]bool{}
	text, end, err := p.k.logged(0)
	if err != nil {
		t.Fatal(err)
	}
	p.living = end
	for _, e := range entries(text) {
		p.known[e.kind()] = e.severity != 'I'
	}
}

// podsAPI checks that kubelet serves its pods, as it does unless told not to.
func (p *proof) podsAPI(t *testing.T) {
	conn, err := net.Dial("unix", filepath.Join(p.k.node.KubeletRoot(), "pods-api", "pods-api.sock"))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// requests compares what Porthole would send with what this kubelet has sent.
func (p *proof) requests(t *testing.T) {
	for _, w := range p.pods {
		if err := w.mirrors(t.Context(), p.stateDir); err != nil {
			t.Error(err)
		}
	}
}

// crashedTarget asks for the processes of a container that has none.
func (p *proof) crashedTarget(t *testing.T) {
	for _, w := range p.pods {
		if !w.crashes {
			continue
		}
		out, err := p.k.porthole(p.stateDir, append(w.debug("--target=app"), "--", "true")...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "is not running") {
			t.Errorf("pod %s: --target=app: %v: %s", w.name, err, out)
		}
		if left, err := w.ours(t.Context()); err != nil || len(left) > 0 {
			t.Errorf("pod %s: a refused session left %v: %v", w.name, left, err)
		}
	}
}

// open opens all pods side by side.
func (p *proof) open(t *testing.T) {
	var group errgroup.Group
	for _, w := range p.pods {
		group.Go(func() error {
			began := time.Now()
			err := w.open(t.Context(), p.stateDir)
			if w.row.opened == 0 {
				w.row.opened = time.Since(began)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	p.opened = time.Now()
}

// housekeeping gives kubelet time to do what it does to containers that it does
// not want.
func (p *proof) housekeeping(t *testing.T) {
	time.Sleep(time.Until(p.opened.Add(housekeeping(t))))
	p.undisturbed(t)
}

// restart lets a kubelet that knows nothing find the debug containers.
func (p *proof) restart(t *testing.T) {
	if err := p.k.restart(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(afterRestart)
	if !p.k.daemon.Running() {
		t.Fatalf("kubelet does not start again%s", p.k.tail())
	}
	p.undisturbed(t)
}

// undisturbed checks that all sessions and pods are what they were.
func (p *proof) undisturbed(t *testing.T) {
	t.Helper()
	for _, w := range p.pods {
		if err := w.living(t.Context()); err != nil {
			t.Error(err)
		} else {
			w.row.alive = time.Since(p.opened)
		}
		p.unchanged(t, w)
	}
}

// unchanged checks a pod and notes the verdict.
func (p *proof) unchanged(t *testing.T, w *watched) {
	t.Helper()
	err := w.unchanged(t.Context())
	switch {
	case err != nil:
		t.Error(err)
		w.row.unchanged = "CHANGED"
	case w.row.unchanged == "" && w.crashes:
		w.row.unchanged = "same sandbox"
	case w.row.unchanged == "":
		w.row.unchanged = "unchanged"
	}
}

// exit ends one session after the other and sees what is left of each.
func (p *proof) exit(t *testing.T) {
	for _, w := range p.pods {
		began := time.Now()
		if _, err := w.session.stdin.Write([]byte("\n")); err != nil {
			t.Error(err)
			continue
		}
		p.k.eventually(t, 10*time.Second, "session in pod "+w.name+" is gone", func(ctx context.Context) error { return w.gone(ctx, w.session) })
		if w.row.exited = time.Since(began); w.row.exited > exitLimit {
			t.Errorf("pod %s: gone %s after the command's end, want at most %s", w.name, w.row.exited, exitLimit)
		}
		if err := w.session.ended(7, exitLimit); err != nil {
			t.Error(err)
		}
	}
	time.Sleep(afterExit)
	for _, w := range p.pods {
		p.unchanged(t, w)
		if now, err := w.restarts(t.Context()); err != nil || w.crashes && now <= w.restarted {
			t.Errorf("pod %s: %d restarts, were %d: kubelet does not go on: %v", w.name, now, w.restarted, err)
		}
	}
}

// log reads what kubelet has written since the first session began.
func (p *proof) log(t *testing.T) {
	text, end, err := p.k.logged(p.living)
	if err != nil {
		t.Fatal(err)
	}
	list := entries(text)
	for _, w := range p.pods {
		for _, e := range list {
			if !e.names(w.session) {
				continue
			}
			w.row.lines++
			if !e.in(whileItLives, cadvisor) {
				w.row.complaint++
				t.Errorf("pod %s: kubelet says of %s: %s", w.name, w.session.name, e)
			}
		}
	}
	for _, e := range troubles(list, p.pods, p.known) {
		t.Errorf("kubelet says, and did not before: %s", e)
	}
	p.living = end
}

// delete takes all manifests away, at once and under open sessions that kubelet
// knows of: one that it has not seen yet is not in its way.
func (p *proof) delete(t *testing.T) {
	p.k.eventually(t, 10*time.Second, "kubelet sees every session", func(context.Context) error {
		text, _, err := p.k.logged(p.living)
		for _, w := range p.pods {
			if !strings.Contains(text, `"Type":"ContainerStarted","Data":"`+w.session.id+`"`) {
				err = errors.Join(err, fmt.Errorf("not that in pod %s", w.name))
			}
		}
		return err
	})
	began := time.Now()
	for _, w := range p.pods {
		if err := p.k.remove(w.pod()); err != nil {
			t.Fatal(err)
		}
	}
	p.watch(t, began, "session", func(w *watched) *time.Duration { return &w.row.killed }, func(ctx context.Context, w *watched) error {
		if w.session.daemon.Running() {
			return errors.New("it runs")
		}
		return w.gone(ctx, w.session)
	})
	for _, w := range p.pods {
		if err := w.session.ended(137, exitLimit); err != nil {
			t.Error(err)
		}
	}
	p.watch(t, began, "pod", func(w *watched) *time.Duration { return &w.row.deleted }, func(ctx context.Context, w *watched) error {
		return w.deleted(ctx)
	})
	diff, err := p.k.node.Settles(t.Context(), p.empty, collection)
	if err != nil || diff != "" {
		t.Errorf("left on the node: %v\n%s", err, diff)
	}
	p.logOfDeletion(t)
}

// watch waits until something is true of each pod, and notes when it was.
func (p *proof) watch(t *testing.T, began time.Time, what string, note func(*watched) *time.Duration, ok func(context.Context, *watched) error) {
	t.Helper()
	p.k.eventually(t, collection, "every "+what+" is gone", func(ctx context.Context) error {
		var errs []error
		for _, w := range p.pods {
			if *note(w) > 0 {
				continue
			}
			err := ok(ctx, w)
			if err == nil {
				*note(w) = time.Since(began)
				continue
			}
			errs = append(errs, fmt.Errorf("%s of pod %s: %w", what, w.name, err))
		}
		return errors.Join(errs...)
	})
}

// logOfDeletion reads what kubelet said of the sessions that died with their
// pods.
func (p *proof) logOfDeletion(t *testing.T) {
	t.Helper()
	text, _, err := p.k.logged(p.living)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries(text) {
		for _, w := range p.pods {
			switch {
			case !e.names(w.session) || e.in(whileItLives, cadvisor):
			case e.in(whileThePodDies):
				w.row.dying++
				if w.row.dying > len(whileThePodDies) {
					t.Errorf("pod %s: kubelet says it again: %s", w.name, e)
				}
			default:
				t.Errorf("pod %s: kubelet says of %s: %s", w.name, w.session.name, e)
			}
		}
	}
}
