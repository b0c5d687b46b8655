package cri

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc"

	"github.com/porthole-project/porthole/runtime"
)

func TestFindEndpoints(t *testing.T) {
	dir := t.TempDir()
	full := writeFile(t, filepath.Join(dir, "full.yaml"), "runtime-endpoint: unix:///file.sock\nimage-endpoint: /file-image.sock\ntimeout: 2\n")
	runtimeOnly := writeFile(t, filepath.Join(dir, "runtime.yaml"), "runtime-endpoint: /file.sock\n")
	empty := writeFile(t, filepath.Join(dir, "empty.yaml"), "timeout: 10\n")
	broken := writeFile(t, filepath.Join(dir, "broken.yaml"), "runtime-endpoint: [\n")
	for _, c := range []struct {
		what, runtimeFlag, imageFlag string
		env                          map[string]string
		file                         string
		want                         Endpoints
	}{
		{what: "nothing", file: filepath.Join(dir, "none"), want: Endpoints{}},
		{what: "a file that names nothing", file: empty, want: Endpoints{}},
		{what: "file", file: full, want: Endpoints{"unix:///file.sock", "unix:///file-image.sock", full}},
		{what: "file without images", file: runtimeOnly, want: Endpoints{"unix:///file.sock", "", runtimeOnly}},
		{what: "environment over file", env: map[string]string{EnvRuntimeEndpoint: "unix:///env.sock"}, file: full, want: Endpoints{"unix:///env.sock", "", EnvRuntimeEndpoint}},
		{what: "all of the environment", env: map[string]string{EnvRuntimeEndpoint: "/env.sock", EnvImageEndpoint: "/env-image.sock"}, file: full, want: Endpoints{"unix:///env.sock", "unix:///env-image.sock", EnvRuntimeEndpoint}},
		{what: "flag over all", runtimeFlag: "/flag.sock", env: map[string]string{EnvRuntimeEndpoint: "/env.sock"}, file: full, want: Endpoints{"unix:///flag.sock", "", "--runtime-endpoint"}},
		{what: "image flag beside the file", imageFlag: "/flag.sock", file: full, want: Endpoints{"unix:///file.sock", "unix:///flag.sock", full}},
		{what: "a broken file is not read for a flag", runtimeFlag: "/flag.sock", file: broken, want: Endpoints{"unix:///flag.sock", "", "--runtime-endpoint"}},
	} {
		got, err := FindEndpoints(c.runtimeFlag, c.imageFlag, func(name string) string { return c.env[name] }, c.file)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.what, got, err, c.want)
		}
	}
}

func TestFindEndpointsRefuses(t *testing.T) {
	dir := t.TempDir()
	broken := writeFile(t, filepath.Join(dir, "broken.yaml"), "runtime-endpoint: [\n")
	none := func(string) string { return "" }
	if _, err := FindEndpoints("", "", none, broken); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), broken) {
		t.Errorf("a broken file: %v", err)
	}
	if _, err := FindEndpoints("", "", none, dir); err == nil {
		t.Error("a directory was read as crictl's configuration")
	}
	for _, endpoint := range []string{"tcp://127.0.0.1:1", "npipe:////./pipe/x", "cri.sock", "unix://cri.sock", "http:///x"} {
		if _, err := FindEndpoints(endpoint, "", none, filepath.Join(dir, "none")); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), endpoint) {
			t.Errorf("%s: %v", endpoint, err)
		}
		if _, err := FindEndpoints("/a", endpoint, none, filepath.Join(dir, "none")); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s for images: %v", endpoint, err)
		}
	}
}

// listen makes a socket whose connections serve gets; serve ends with it.
func listen(t *testing.T, name string, serve func(net.Listener)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cri") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); serve(l) }()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		_ = os.RemoveAll(dir)
	})
	return path
}

// hang takes connections and says nothing.
func hang(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
	}
}

func TestDialSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "file"), "")
	dead := filepath.Join(dir, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	for _, c := range []struct{ what, path, says string }{
		{"missing", filepath.Join(dir, "none"), "no such socket"},
		{"a file", file, "not a socket"},
		{"a directory", dir, "not a socket"},
		{"nobody listens", dead, "connection refused"},
		{"another gRPC server", listen(t, "grpc", func(l net.Listener) { _ = grpc.NewServer().Serve(l) }), "listens, but is not a CRI v1 runtime"},
		{"an HTTP server", listen(t, "http", func(l net.Listener) {
			_ = (&http.Server{ReadHeaderTimeout: time.Second}).Serve(l)
		}), ""},
		{"one that hangs", listen(t, "hang", hang), "did not answer in time"},
	} {
		began := time.Now()
		limits := DefaultLimits()
		limits.Call = 300 * time.Millisecond
		client, err := Dial(t.Context(), Endpoints{Runtime: "unix://" + c.path, Source: "--runtime-endpoint"}, limits)
		if client != nil || !errdefs.IsUnavailable(err) {
			t.Errorf("%s: %v, %v", c.what, client, err)
			continue
		}
		for _, want := range []string{"unix://" + c.path, c.says, "named by --runtime-endpoint"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", c.what, err, want)
			}
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: took %v", c.what, took)
		}
	}
}

// Without a name the well-known sockets are tried in turn.
func TestDialTriesTheWellKnown(t *testing.T) {
	s := serve(t, "crio-1.37")
	dir := t.TempDir()
	missing, file := filepath.Join(dir, "none"), writeFile(t, filepath.Join(dir, "file"), "")
	was := wellKnown
	t.Cleanup(func() { wellKnown = was })
	wellKnown = []string{"unix://" + missing, "unix://" + file, s.Endpoint()}
	c, err := Dial(t.Context(), Endpoints{}, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Endpoint() != s.Endpoint() || c.Name != "cri-o" || c.Version != "1.37.0" || c.String() != "cri-o 1.37.0 ("+s.Endpoint()+")" {
		t.Errorf("connected to %s", c)
	}
	s.Down()
	_, err = Dial(t.Context(), Endpoints{}, DefaultLimits())
	if !errdefs.IsUnavailable(err) {
		t.Fatalf("nobody answers: %v", err)
	}
	for _, want := range []string{"well-known sockets", missing + ": no such socket", file + ": not a socket", s.Endpoint() + ": no such socket"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestDialTheImageService(t *testing.T) {
	s, images := serve(t, "containerd-2.4.2"), serve(t, "crio-1.37")
	c, err := Dial(t.Context(), Endpoints{Runtime: s.Endpoint(), Image: images.Endpoint()}, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Image(t.Context(), runtime.ImageOrder{Ref: "localhost/busybox:1", Policy: "", Notice: func(string) {}}); err != nil {
		t.Error(err)
	}
	if n, m := len(s.Calls("ImageStatus")), len(images.Calls("ImageStatus")); n != 0 || m != 1 {
		t.Errorf("the runtime was asked %d times, the image service %d times", n, m)
	}
	_, err = Dial(t.Context(), Endpoints{Runtime: s.Endpoint(), Image: "unix:///nowhere"}, DefaultLimits())
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "image endpoint unix:///nowhere: no such socket") {
		t.Errorf("no image service: %v", err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	path := listen(t, "hang", hang)
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := Dial(ctx, Endpoints{Runtime: "unix://" + path}, DefaultLimits()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
