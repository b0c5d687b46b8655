package cri

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/runtime"
)

// TestPullWithCredentials: each credential is tried once, in order, for the
// pod's sandbox; no error shows a secret.
func TestPullWithCredentials(t *testing.T) {
	const ref = "localhost/tools:1"
	onBoth(t, func(t *testing.T, s *critest.Server, _ *Client) {
		s = critest.New(t, critest.WithRecording(s.Recording()), critest.WithRegistry(ref))
		c := dial(t, s)
		asked := 0
		o := runtime.ImageOrder{Ref: ref, Facts: factsOf(t, c, "plain"), Notice: func(string) {}}
		o.Credentials = func(context.Context, string) []runtime.Credential {
			asked++
			return []runtime.Credential{{Username: "wrong", Password: "s3cr3t-one", Source: "a file"}, {Username: "right", Password: "s3cr3t-two", IdentityToken: "s3cr3t-three", Source: "kubelet"}}
		}
		s.On("PullImage").Fail(codes.Unknown, "401 Unauthorized").Times(2)
		if _, err := c.Image(t.Context(), o); err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "a file") || !strings.Contains(err.Error(), "kubelet") {
			t.Errorf("both refused: %v", err)
		}
		s.On("PullImage").Fail(codes.Unknown, "401 Unauthorized").Times(1)
		image, err := c.Image(t.Context(), o)
		if err != nil || !image.Pulled || image.Source != "kubelet" || asked != 2 {
			t.Errorf("%+v, %v, asked %d times", image, err, asked)
		}
		calls := s.Calls("PullImage")
		last := calls[len(calls)-1].Request.(*runtimeapi.PullImageRequest)
		if a := last.GetAuth(); a.GetUsername() != "right" || a.GetPassword() != "s3cr3t-two" || a.GetIdentityToken() != "s3cr3t-three" {
			t.Errorf("the last was asked with %q", a.GetUsername())
		}
		if last.GetSandboxConfig().GetMetadata().GetUid() != o.Facts.Pod.UID {
			t.Errorf("pulled for sandbox %v", last.GetSandboxConfig().GetMetadata())
		}
		if image, err = c.Image(t.Context(), o); err != nil || image.Pulled || asked != 2 {
			t.Errorf("one that is here: %+v, %v, asked %d times", image, err, asked)
		}
	})
}

func TestCredentialsDoNotShow(t *testing.T) {
	c := runtime.Credential{Username: "s3cr3t", Password: "s3cr3t", RegistryToken: "s3cr3t", IdentityToken: "s3cr3t", Source: "a file"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, c); strings.Contains(text, "s3cr3t") || !strings.Contains(text, "a file") {
			t.Errorf("%s: %s", verb, text)
		}
	}
}

// TestRemoveImage: not while a container is of it, and never twice.
func TestRemoveImage(t *testing.T) {
	const ref = "localhost/tools:1"
	onBoth(t, func(t *testing.T, s *critest.Server, _ *Client) {
		s = critest.New(t, critest.WithRecording(s.Recording()), critest.WithRegistry(ref))
		c := dial(t, s)
		if err := c.RemoveImage(t.Context(), "localhost/app:1"); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "in use by container") {
			t.Errorf("in use: %v", err)
		}
		if err := c.RemoveImage(t.Context(), ref); err != nil {
			t.Errorf("not there: %v", err)
		}
		if _, err := c.Image(t.Context(), runtime.ImageOrder{Ref: ref, Notice: func(string) {}}); err != nil {
			t.Fatal(err)
		}
		other := s.On("ImageStatus").After(func(_, resp proto.Message, err error) error {
			if image := resp.(*runtimeapi.ImageStatusResponse).GetImage(); image != nil {
				image.RepoDigests = append(image.RepoDigests, "localhost/else@sha256:"+strings.Repeat("0", 64))
			}
			return err
		})
		if err := c.RemoveImage(t.Context(), ref); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "localhost/else") {
			t.Errorf("it has another name: %v", err)
		}
		other.Times(0)
		if err := c.RemoveImage(t.Context(), ref); err != nil {
			t.Error(err)
		}
		if _, err := c.Image(t.Context(), runtime.ImageOrder{Ref: ref, Policy: "Never"}); !errdefs.IsNotFound(err) {
			t.Errorf("it is still there: %v", err)
		}
	})
}

// TestForeignKernel: by the shim or the program that it runs; where only a
// handler's name is known, by that.
func TestForeignKernel(t *testing.T) {
	for what, c := range map[string]struct {
		handler string
		info    sandboxInfo
		want    string
	}{
		"runc":                         {"", sandboxInfo{RuntimeType: "io.containerd.runc.v2"}, ""},
		"runc under a misleading name": {"kata", sandboxInfo{RuntimeType: "io.containerd.runc.v2"}, ""},
		"runc with options":            {"", sandboxInfo{RuntimeType: "io.containerd.runc.v2", Options: map[string]any{"BinaryName": "/usr/bin/crun", "Root": "/run/kata"}}, ""},
		"kata":                         {"kata", sandboxInfo{RuntimeType: "io.containerd.kata.v2"}, "io.containerd.kata.v2"},
		"kata with qemu":               {"kata", sandboxInfo{RuntimeType: "io.containerd.kata-qemu.v2"}, "io.containerd.kata-qemu.v2"},
		"gVisor":                       {"", sandboxInfo{RuntimeType: "io.containerd.runsc.v1"}, "io.containerd.runsc.v1"},
		"gVisor through runc's shim":   {"", sandboxInfo{RuntimeType: "io.containerd.runc.v2", Options: map[string]any{"BinaryName": "/usr/local/bin/runsc"}}, "/usr/local/bin/runsc"},
		"wasm":                         {"", sandboxInfo{RuntimeType: "io.containerd.wasmtime.v1"}, "io.containerd.wasmtime.v1"},
		"CRI-O's default":              {"", sandboxInfo{}, ""},
		"CRI-O's crun":                 {"crun", sandboxInfo{}, ""},
		"CRI-O's kata":                 {"kata-cc", sandboxInfo{}, "kata-cc"},
		"CRI-O's, by its annotation":   {"", sandboxInfo{RuntimeSpec: runtimeSpec{Annotations: map[string]string{crioHandler: "kata"}}}, "kata"},
		"options of another form":      {"", sandboxInfo{RuntimeType: "io.containerd.runc.v2", Options: "text"}, ""},
	} {
		if got := foreignKernel(&runtimeapi.PodSandboxStatus{RuntimeHandler: c.handler}, c.info); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}
