package testenv

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The images that every node has. None comes from a registry.
const (
	// ImagePause is the sandbox image. It reaps orphans, as the real one does.
	ImagePause = "localhost/pause:1"
	// ImageApp is "distroless": the static binary /app and nothing else. It
	// prints a line, answers "hello" on TCP port 8080 and ends on SIGTERM.
	ImageApp = "localhost/app:1"
	// ImageBusybox has busybox with all its applets in /bin, the users root
	// and app (uid 1000), and a /tmp that everyone may write.
	ImageBusybox = "localhost/busybox:1"
	// ImageNonroot is ImageApp with the numeric user 1000:1000.
	ImageNonroot = "localhost/nonroot:1"
	// ImageNamedUser is ImageApp with the user "app" by name, which only an
	// /etc/passwd inside the image resolves.
	ImageNamedUser = "localhost/nameduser:1"
)

// ImageNames returns the names of the images that every node has.
func ImageNames() []string {
	return []string{ImagePause, ImageApp, ImageBusybox, ImageNonroot, ImageNamedUser}
}

const (
	imagePath   = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	snapshotter = "overlayfs"
	etcPasswd   = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/tmp:/bin/sh\n"
	etcGroup    = "root:x:0:\napp:x:1000:\n"
)

// imageArchive builds the archive of all images, once per process.
var imageArchive = sync.OnceValues(func() ([]byte, error) {
	images, err := makeImages(context.Background())
	if err != nil {
		return nil, err
	}
	return archiveImages(images)
})

// makeImages puts the images together from the app and Debian's busybox.
func makeImages(ctx context.Context) ([]image, error) {
	path, err := buildApp(ctx)
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("test image app: %w", err)
	}
	app, err := layer(file{name: "app", body: program})
	if err != nil {
		return nil, err
	}
	users, err := layer(userFiles()...)
	if err != nil {
		return nil, err
	}
	box, err := busyboxLayer(ctx)
	if err != nil {
		return nil, err
	}
	run := ocispec.ImageConfig{Env: []string{imagePath}, Entrypoint: []string{"/app"}}
	pause, numeric, named := run, run, run
	pause.Entrypoint = []string{"/app", "pause"}
	numeric.User, named.User = "1000:1000", "app"
	shell := ocispec.ImageConfig{Env: []string{imagePath}, Cmd: []string{"sh"}}
	return []image{
		{name: ImagePause, layers: [][]byte{app}, config: pause},
		{name: ImageApp, layers: [][]byte{app}, config: run},
		{name: ImageNonroot, layers: [][]byte{app}, config: numeric},
		{name: ImageNamedUser, layers: [][]byte{app, users}, config: named},
		{name: ImageBusybox, layers: [][]byte{box}, config: shell},
	}, nil
}

func userFiles() []file {
	return []file{
		{name: "etc/"},
		{name: "etc/passwd", mode: 0o644, body: []byte(etcPasswd)},
		{name: "etc/group", mode: 0o644, body: []byte(etcGroup)},
	}
}

// busyboxLayer makes the file system of the toolbox image.
func busyboxLayer(ctx context.Context) ([]byte, error) {
	program, err := os.ReadFile(busyboxBin)
	if err != nil {
		return nil, fmt.Errorf("test image busybox: run test/setup: %w", err)
	}
	binary, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("test image busybox: %s: %w", busyboxBin, err)
	}
	if libs, err := binary.ImportedLibraries(); err != nil || len(libs) > 0 {
		return nil, fmt.Errorf("test image busybox: %s is not static, install busybox-static: %w", busyboxBin, errdefs.ErrFailedPrecondition)
	}
	applets, err := exec.CommandContext(ctx, busyboxBin, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("test image busybox: list applets: %w", err)
	}
	files := append(userFiles(),
		file{name: "bin/"},
		file{name: "bin/busybox", body: program},
		file{name: "root/", mode: 0o700},
		file{name: "tmp/", mode: 0o1777},
	)
	for applet := range strings.FieldsSeq(string(applets)) {
		if applet != "busybox" {
			files = append(files, file{name: "bin/" + applet, link: "busybox"})
		}
	}
	return layer(files...)
}

// loadImages imports and unpacks the images and waits until CRI lists them.
func (n *Node) loadImages(ctx context.Context) error {
	archive, err := imageArchive()
	if err != nil {
		return err
	}
	imported, err := n.containerd.Import(ctx, bytes.NewReader(archive))
	if err != nil {
		return fmt.Errorf("import images: %w", err)
	}
	// Images that share their first layer are unpacked one after the other:
	// side by side they would unpack the same layer twice.
	var group errgroup.Group
	group.Go(func() error {
		for _, img := range imported {
			if img.Name != ImageBusybox {
				if err := client.NewImage(n.containerd, img).Unpack(ctx, snapshotter); err != nil {
					return fmt.Errorf("unpack %s: %w", img.Name, err)
				}
			}
		}
		return nil
	})
	group.Go(func() error {
		img, err := n.containerd.GetImage(ctx, ImageBusybox)
		if err == nil {
			err = img.Unpack(ctx, snapshotter)
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", ImageBusybox, err)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	for _, name := range ImageNames() {
		if err := n.waitImage(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// waitImage waits until CRI knows the image, which it learns by an event.
func (n *Node) waitImage(ctx context.Context, name string) error {
	for {
		_, err := n.image(ctx, name)
		if err == nil || !errdefs.IsNotFound(err) {
			return err
		}
		if err := pause(ctx, pollInterval); err != nil {
			return fmt.Errorf("image %s is imported but CRI does not list it: %w", name, err)
		}
	}
}

// image returns what CRI knows of an image, which is an error of class
// errdefs.ErrNotFound if it knows nothing.
func (n *Node) image(ctx context.Context, name string) (*runtimeapi.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	resp, err := n.images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: name}})
	if err != nil {
		return nil, fmt.Errorf("status of image %s: %w", name, err)
	}
	if resp.GetImage() == nil {
		return nil, fmt.Errorf("image %s: the node has %v: %w", name, ImageNames(), errdefs.ErrNotFound)
	}
	return resp.GetImage(), nil
}
