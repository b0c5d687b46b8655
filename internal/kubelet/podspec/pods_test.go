package podspec

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	podsv1alpha1 "k8s.io/kubelet/pkg/apis/pods/v1alpha1"
)

const uid = "0123456789abcdef0123456789abcdef"

// pods is a kubelet's side of the API: it answers as its function does.
type pods struct {
	podsv1alpha1.UnimplementedPodsServer
	get func(context.Context, string) ([]byte, error)
}

func (p pods) GetPod(ctx context.Context, r *podsv1alpha1.GetPodRequest) (*podsv1alpha1.GetPodResponse, error) {
	text, err := p.get(ctx, r.PodUID)
	return &podsv1alpha1.GetPodResponse{Pod: text}, err
}

// listen starts a server of this process on a socket of the test's own.
func listen(t *testing.T, get func(context.Context, string) ([]byte, error)) server {
	t.Helper()
	s := socket(t)
	listener, err := net.Listen("unix", s.socket)
	must(t, err)
	g := grpc.NewServer()
	podsv1alpha1.RegisterPodsServer(g, pods{get: get})
	done := make(chan error)
	go func() { done <- g.Serve(listener) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func socket(t *testing.T) server {
	t.Helper()
	return server{filepath.Join(t.TempDir(), "s.sock"), uint32(os.Getuid()), 5 * time.Second}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func marshalled(t *testing.T, uid string) []byte {
	t.Helper()
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "etcd-node1", Namespace: "kube-system", UID: types.UID(uid)},
		Spec:       corev1.PodSpec{HostUsers: new(false), Containers: []corev1.Container{{Name: "etcd"}}},
	}
	text, err := pod.Marshal()
	must(t, err)
	return text
}

func TestAsk(t *testing.T) {
	mine, other := marshalled(t, uid), marshalled(t, "x")
	for name, tc := range map[string]struct {
		answer []byte
		err    error
		class  error
		text   string
	}{
		"pod":          {answer: mine},
		"none":         {err: status.Error(codes.NotFound, "pod with UID x not found"), class: errdefs.ErrNotFound, text: "it has no pod with uid " + uid},
		"initializing": {err: status.Error(codes.FailedPrecondition, "Kubelet is initializing"), class: errdefs.ErrUnavailable, text: "(Kubelet is initializing)"},
		"rate limited": {err: status.Error(codes.ResourceExhausted, "slow down"), class: errdefs.ErrUnavailable, text: "slow down"},
		"broken":       {err: status.Error(codes.Internal, "oops"), class: errdefs.ErrUnavailable, text: "oops (Internal)"},
		"other API":    {err: status.Error(codes.Unimplemented, "unknown service"), class: errdefs.ErrNotImplemented, text: "unknown service"},
		"other pod":    {answer: other, class: errdefs.ErrDataLoss, text: `answered with "x"`},
		"nothing":      {answer: nil, class: errdefs.ErrDataLoss, text: `answered with ""`},
		"garbage":      {answer: []byte{0xff, 0xff, 0xff, 0xff}, class: errdefs.ErrDataLoss, text: "not a pod"},
		"cut short":    {answer: mine[:len(mine)-1], class: errdefs.ErrDataLoss, text: "not a pod"},
		"too large":    {answer: bytes.Repeat([]byte("x"), answerLimit), class: errdefs.ErrUnavailable, text: "more than 8388608 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan string, 1)
			s := listen(t, func(_ context.Context, uid string) ([]byte, error) {
				asked <- uid
				return tc.answer, tc.err
			})
			pod, err := s.ask(t.Context(), uid)
			if got := <-asked; got != uid {
				t.Errorf("it was asked for %q", got)
			}
			if tc.class == nil {
				if err != nil || pod.Name != "etcd-node1" || *pod.Spec.HostUsers || pod.Spec.Containers[0].Name != "etcd" {
					t.Errorf("%+v, %v", pod, err)
				}
				return
			}
			if !errors.Is(err, tc.class) || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), s.socket) {
				t.Errorf("got %v, want %v with %q and the socket", err, tc.class, tc.text)
			}
		})
	}
}

// TestAskHung: a kubelet that hangs costs what it was given and no more; a
// caller who leaves is not kept.
func TestAskHung(t *testing.T) {
	s := listen(t, func(ctx context.Context, _ string) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	s.patience = 50 * time.Millisecond
	began := time.Now()
	if _, err := s.ask(t.Context(), uid); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Error(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
	s.patience = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := s.ask(ctx, uid); !errors.Is(err, context.Canceled) || errdefs.IsUnavailable(err) {
		t.Error(err)
	}
}

// TestAskMute: who listens and says nothing, or something that is not gRPC.
func TestAskMute(t *testing.T) {
	for name, says := range map[string]string{"mute": "", "other protocol": "220 mail.example ESMTP\r\n"} {
		t.Run(name, func(t *testing.T) {
			s := socket(t)
			s.patience = 200 * time.Millisecond
			listener, err := net.Listen("unix", s.socket)
			must(t, err)
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, says)
				_, _ = io.Copy(io.Discard, conn)
			}()
			if _, err := s.ask(t.Context(), uid); !errdefs.IsUnavailable(err) {
				t.Error(err)
			}
			must(t, listener.Close())
			<-done
		})
	}
}

func TestAskWhom(t *testing.T) {
	answer := marshalled(t, uid)
	live := listen(t, func(context.Context, string) ([]byte, error) { return answer, nil })
	dir := t.TempDir()
	stale, link, file := filepath.Join(dir, "stale"), filepath.Join(dir, "link"), filepath.Join(dir, "file")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	must(t, os.Symlink(live.socket, link))
	must(t, os.WriteFile(file, nil, 0o600))
	with := func(socket string, owner uint32) server { return server{socket, owner, live.patience} }
	for name, tc := range map[string]struct {
		server server
		uid    string
		class  error
		text   string
	}{
		"right":      {live, uid, nil, ""},
		"none":       {with(filepath.Join(dir, "none"), live.owner), uid, errdefs.ErrNotFound, "PodsAPI"},
		"stale":      {with(stale, live.owner), uid, errdefs.ErrUnavailable, "nobody listens"},
		"link":       {with(link, live.owner), uid, errdefs.ErrPermissionDenied, "not a socket but L"},
		"file":       {with(file, live.owner), uid, errdefs.ErrPermissionDenied, "not a socket"},
		"of another": {with(live.socket, live.owner+1), uid, errdefs.ErrPermissionDenied, "belongs to user"},
		"no uid":     {live, "", errdefs.ErrInvalidArgument, "no uid"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.server.ask(t.Context(), tc.uid)
			if tc.class == nil && err != nil || tc.class != nil && (!errors.Is(err, tc.class) || !strings.Contains(err.Error(), tc.text)) {
				t.Errorf("got %v, want %v with %q", err, tc.class, tc.text)
			}
		})
	}
	// Whoever chowns a socket to root still listens as himself.
	if os.Getuid() == 0 {
		must(t, os.Chown(live.socket, 4711, 0))
		if _, err := with(live.socket, 4711).ask(t.Context(), uid); !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "user 0 listens") {
			t.Error(err)
		}
	}
	if _, err := Ask(t.Context(), dir, uid); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), filepath.Join(dir, "pods-api/pods-api.sock")) {
		t.Error(err)
	}
}
