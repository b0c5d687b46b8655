package podspec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	podsv1alpha1 "k8s.io/kubelet/pkg/apis/pods/v1alpha1"
)

const (
	// patience is how long kubelet may take: it answers from memory, and a
	// session must not wait for one that hangs.
	patience = time.Second
	// answerLimit is far more than etcd takes of one pod.
	answerLimit = 8 << 20
)

// A server is where a kubelet is asked, who it must be, and how long it is
// waited for.
type server struct {
	socket   string
	owner    uint32
	patience time.Duration
}

// Ask asks the kubelet with this root directory for its pod of this UID: static
// pods too, by the UID of their sandbox, and with the API server down. It takes
// a second at most and is not tried again.
//
// Kubelet serves ROOT/pods-api/pods-api.sock since 1.37 (feature gate PodsAPI,
// kubelet_getters.go:getPodsAPIDir). The socket must be root's own and so must
// be who listens, since the answer decides what is mounted.
//
// Errors are [errdefs.ErrNotFound] where there is no such socket or pod,
// [errdefs.ErrUnavailable] where kubelet does not answer or is initializing,
// [errdefs.ErrPermissionDenied] where the socket is not to be trusted,
// [errdefs.ErrDataLoss] where the answer is no pod or another, and the
// context's own if that ended.
func Ask(ctx context.Context, root, uid string) (*corev1.Pod, error) {
	return server{filepath.Join(root, "pods-api", "pods-api.sock"), 0, patience}.ask(ctx, uid)
}

func (s server) ask(ctx context.Context, uid string) (*corev1.Pod, error) {
	if uid == "" {
		return nil, fmt.Errorf("kubelet's Pods API: the pod has no uid to ask for: %w", errdefs.ErrInvalidArgument)
	}
	limited, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	conn, err := s.dial(limited)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	defer conn.Close()
	client, err := grpc.NewClient("passthrough:///kubelet",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(once(conn)),
		grpc.WithAuthority("localhost"),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(answerLimit)))
	if err != nil {
		return nil, s.failed(ctx, fmt.Errorf("%w: %w", err, errdefs.ErrInternal))
	}
	defer client.Close()
	answer, err := podsv1alpha1.NewPodsClient(client).GetPod(limited, &podsv1alpha1.GetPodRequest{PodUID: uid})
	if err != nil {
		return nil, s.failed(ctx, s.explain(uid, err))
	}
	pod := &corev1.Pod{}
	if err := pod.Unmarshal(answer.GetPod()); err != nil {
		return nil, s.failed(ctx, fmt.Errorf("the answer is not a pod: %w: %w", err, errdefs.ErrDataLoss))
	}
	if string(pod.UID) != uid {
		return nil, s.failed(ctx, fmt.Errorf("it was asked for pod %s and answered with %q: %w", uid, pod.UID, errdefs.ErrDataLoss))
	}
	return pod, nil
}

// failed says who did not answer. If it was the caller who gave up, that is
// what went wrong.
func (s server) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("kubelet's Pods API at %s: %w", s.socket, err)
}

// explain turns what gRPC says into what it means here. Kubelet answers
// FailedPrecondition until it has heard from all its sources once, so after
// its own restart for as long as the API server is down
// (apis/pods/server.go:validateReady).
func (s server) explain(uid string, err error) error {
	said := status.Convert(err)
	var class error = errdefs.ErrUnavailable
	switch said.Code() {
	case codes.NotFound:
		return fmt.Errorf("it has no pod with uid %s: %w", uid, errdefs.ErrNotFound)
	case codes.DeadlineExceeded:
		return fmt.Errorf("no answer within %s; kubelet hangs or the node is busy: %w", s.patience, class)
	case codes.FailedPrecondition:
		return fmt.Errorf("kubelet has not heard from all sources of its pods since it started (%s): %w", said.Message(), class)
	case codes.ResourceExhausted:
		return fmt.Errorf("more than %d bytes, or asked too often (%s): %w", answerLimit, said.Message(), class)
	case codes.Unimplemented:
		class = errdefs.ErrNotImplemented
	}
	return fmt.Errorf("%s (%s): %w", said.Message(), said.Code(), class)
}

// dial connects to a socket that is root's own, and whose listener is root:
// whoever could replace the one by a link cannot become the other.
func (s server) dial(ctx context.Context) (net.Conn, error) {
	info, err := os.Lstat(s.socket)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no such socket; kubelet has one since 1.37, with feature gate PodsAPI: %w", errdefs.ErrNotFound)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrPermissionDenied)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrUnavailable)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("not a socket but %s: %w", info.Mode().Type(), errdefs.ErrPermissionDenied)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != s.owner {
		return nil, fmt.Errorf("the socket belongs to user %d, not to %d: %w", owner, s.owner, errdefs.ErrPermissionDenied)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", s.socket)
	if err != nil {
		return nil, fmt.Errorf("nobody listens: %w: %w", err, errdefs.ErrUnavailable)
	}
	listener, err := peer(conn.(*net.UnixConn))
	if err == nil && listener != s.owner {
		err = fmt.Errorf("user %d listens, not %d: %w", listener, s.owner, errdefs.ErrPermissionDenied)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// peer returns the user id of the process that listens: SO_PEERCRED keeps what
// it was when it called listen.
func peer(conn *net.UnixConn) (uint32, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", err, errdefs.ErrUnavailable)
	}
	var cred *syscall.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		credErr = err
	}
	if credErr != nil {
		return 0, fmt.Errorf("who listens cannot be told: %w: %w", credErr, errdefs.ErrPermissionDenied)
	}
	return cred.Uid, nil
}

// once hands gRPC the connection that was checked, and no second one.
func once(conn net.Conn) func(context.Context, string) (net.Conn, error) {
	first := make(chan net.Conn, 1)
	first <- conn
	return func(context.Context, string) (net.Conn, error) {
		select {
		case conn := <-first:
			return conn, nil
		default:
			return nil, errors.New("the connection was lost")
		}
	}
}
