package cri

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/runtime"
)

func TestImagePolicies(t *testing.T) {
	const here, there, nowhere = "localhost/busybox:1", "localhost/tools:1", "localhost/none:1"
	for _, name := range recordings {
		for _, k := range []struct {
			what   string
			ref    string
			policy corev1.PullPolicy
			pulls  int
			is     func(error) bool // nil when it is found
		}{
			{"Never, present", here, corev1.PullNever, 0, nil},
			{"Never, absent", there, corev1.PullNever, 0, errdefs.IsNotFound},
			{"IfNotPresent, present", here, corev1.PullIfNotPresent, 0, nil},
			{"IfNotPresent, absent", there, corev1.PullIfNotPresent, 1, nil},
			{"IfNotPresent, nowhere", nowhere, corev1.PullIfNotPresent, 1, errdefs.IsUnknown},
			{"Always, present, registry down", here, corev1.PullAlways, 1, errdefs.IsUnknown},
			{"Always, absent", there, corev1.PullAlways, 1, nil},
			{"none, tagged, present", here, "", 0, nil},
			{"none, tagged, absent", there, "", 1, nil},
			{"none, latest", "localhost/tools:latest", "", 1, nil},
			{"none, no tag", "localhost/tools", "", 1, nil},
			{"none, latest, nowhere", "localhost/none", "", 1, errdefs.IsUnknown},
			{"another word", here, "Sometimes", 0, errdefs.IsInvalidArgument},
		} {
			s := serve(t, name, critest.WithRegistry(there, "localhost/tools:latest", "localhost/tools"))
			var notices []string
			image, err := dial(t, s).Image(t.Context(), runtime.ImageOrder{Ref: k.ref, Policy: k.policy, Notice: func(n string) { notices = append(notices, n) }})
			if pulls := len(s.Calls("PullImage")); pulls != k.pulls {
				t.Errorf("%s, %s: %d pulls, want %d", name, k.what, pulls, k.pulls)
			}
			if k.is != nil {
				if !k.is(err) || !strings.Contains(err.Error(), k.ref) && k.what != "another word" {
					t.Errorf("%s, %s: %+v, %v", name, k.what, image, err)
				}
				continue
			}
			if err != nil || image.Ref != k.ref || image.ID == "" {
				t.Errorf("%s, %s: %+v, %v", name, k.what, image, err)
			}
			if k.pulls > 0 && !slices.Contains(notices, `Pulling image "`+k.ref+`" …`) {
				t.Errorf("%s, %s: notices %q", name, k.what, notices)
			}
		}
	}
}

// A policy that nobody gave does not make a broken registry stop an image that
// is here: in a crisis the registry is what is broken.
func TestImageOfABrokenRegistry(t *testing.T) {
	const latest = "localhost/tools:latest"
	for _, name := range recordings {
		s := serve(t, name, critest.WithRegistry(latest))
		c := dial(t, s)
		ignore := func(string) {}
		first, err := c.Image(t.Context(), runtime.ImageOrder{Ref: latest, Policy: "", Notice: ignore})
		if err != nil {
			t.Fatal(err)
		}
		if !first.Pulled {
			t.Errorf("%s: %+v was not here before", name, first)
		}
		first.Pulled = false
		s.On("PullImage").Fail(codes.Unknown, "no route to host")
		var notices []string
		got, err := c.Image(t.Context(), runtime.ImageOrder{Ref: latest, Policy: "", Notice: func(n string) { notices = append(notices, n) }})
		if err != nil || got != first {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, first)
		}
		if len(notices) != 1 || !strings.HasPrefix(notices[0], "Warning: ") || !strings.Contains(notices[0], "no route to host") {
			t.Errorf("%s: notices %q", name, notices)
		}
		if _, err := c.Image(t.Context(), runtime.ImageOrder{Ref: latest, Policy: corev1.PullAlways, Notice: ignore}); !errdefs.IsUnknown(err) {
			t.Errorf("%s: Always was asked for: %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Image(ctx, runtime.ImageOrder{Ref: latest, Policy: "", Notice: ignore}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled: %v", name, err)
		}
	}
}

func TestImageOfAHungRegistry(t *testing.T) {
	s := serve(t, "containerd-2.4.2")
	c := dial(t, s)
	c.limits.Pull = 100 * time.Millisecond
	s.On("PullImage").Hang()
	_, err := c.Image(t.Context(), runtime.ImageOrder{Ref: "localhost/none:1", Policy: "", Notice: func(string) {}})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 100ms") {
		t.Error(err)
	}
}

// The user of the image is what runAsNonRoot is judged by.
func TestImageUser(t *testing.T) {
	s := serve(t, "containerd-2.4.2")
	c := dial(t, s)
	change := func(edit func(*runtimeapi.Image)) {
		s.On("ImageStatus").Times(1).After(func(_, resp proto.Message, err error) error {
			if err == nil {
				edit(resp.(*runtimeapi.ImageStatusResponse).GetImage())
			}
			return err
		})
	}
	change(func(i *runtimeapi.Image) { i.Uid = &runtimeapi.Int64Value{Value: 1001} })
	if got, err := c.Image(t.Context(), runtime.ImageOrder{Ref: "localhost/app:1", Policy: corev1.PullNever, Notice: nil}); err != nil || got.UID == nil || *got.UID != 1001 {
		t.Errorf("%+v, %v", got, err)
	}
	change(func(i *runtimeapi.Image) { i.Uid, i.Username = nil, "web" })
	if got, err := c.Image(t.Context(), runtime.ImageOrder{Ref: "localhost/app:1", Policy: corev1.PullNever, Notice: nil}); err != nil || got.UID != nil || got.Username != "web" {
		t.Errorf("%+v, %v", got, err)
	}
	s.On("ImageStatus").Fail(codes.Internal, "disk").Times(1)
	if _, err := c.Image(t.Context(), runtime.ImageOrder{Ref: "localhost/app:1", Policy: corev1.PullNever, Notice: nil}); err == nil || !strings.Contains(err.Error(), `image "localhost/app:1": disk`) {
		t.Error(err)
	}
}
