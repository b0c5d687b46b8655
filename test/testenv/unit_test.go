package testenv

import (
	"archive/tar"
	"bytes"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
)

func TestRequired(t *testing.T) {
	for list, want := range map[string]bool{
		"":                      false,
		"root":                  true,
		"containerd-2.4, root ": true,
		"containerd-2.4":        false,
		"all":                   true,
		"rooted":                false,
	} {
		if got := required(Root, list); got != want {
			t.Errorf("PORTHOLE_NEED=%q requires root: %t, want %t", list, got, want)
		}
	}
}

func TestUnknownRequirementIsUnmet(t *testing.T) {
	if Requirement("unicorn").unmet() == "" {
		t.Error("a requirement that nobody knows counts as met")
	}
	for _, v := range Versions() {
		if v.Requirement().unmet() == Requirement("unicorn").unmet() {
			t.Errorf("containerd %s is no known requirement", v)
		}
	}
}

func TestMissingTools(t *testing.T) {
	t.Setenv("PORTHOLE_CACHE", t.TempDir())
	if got := Containerd24.unmet(); got == "" {
		t.Error("containerd 2.4 is found in an empty cache")
	}
}

func TestLayerIsReproducible(t *testing.T) {
	files := []file{{name: "tmp/", mode: 0o1777}, {name: "app", body: []byte("program")}, {name: "bin/sh", link: "busybox"}}
	a, err := layer(files...)
	if err != nil {
		t.Fatal(err)
	}
	b, err := layer(files...)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("two layers of the same files differ: %v", err)
	}
	var modes []int64
	var kinds []byte
	r := tar.NewReader(bytes.NewReader(a))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		modes, kinds = append(modes, h.Mode), append(kinds, h.Typeflag)
	}
	if want := []int64{0o1777, 0o755, 0o755}; !slices.Equal(modes, want) {
		t.Errorf("modes %o, want %o", modes, want)
	}
	if want := []byte{tar.TypeDir, tar.TypeReg, tar.TypeSymlink}; !slices.Equal(kinds, want) {
		t.Errorf("types %q, want %q", kinds, want)
	}
}

func TestArchiveStoresSharedLayersOnce(t *testing.T) {
	l, err := layer(file{name: "app", body: bytes.Repeat([]byte("x"), 10000)})
	if err != nil {
		t.Fatal(err)
	}
	one, err := archiveImages([]image{{name: "localhost/a:1", layers: [][]byte{l}}})
	if err != nil {
		t.Fatal(err)
	}
	two, err := archiveImages([]image{{name: "localhost/a:1", layers: [][]byte{l}}, {name: "localhost/b:1", layers: [][]byte{l}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(two)-len(one) >= len(l) {
		t.Errorf("a second image of a %d byte layer adds %d bytes", len(l), len(two)-len(one))
	}
}

func TestResidueDiff(t *testing.T) {
	before := Residue{KindShim: {"a", "b"}, KindLease: {"l"}}
	now := Residue{KindShim: {"b", "c"}, KindLease: {"l"}, KindMount: {"m"}}
	want := "+ mount m\n+ shim c\n- shim a\n"
	if got := before.Diff(now); got != want {
		t.Errorf("diff %q, want %q", got, want)
	}
	if got := now.Diff(now); got != "" {
		t.Errorf("diff with itself %q", got)
	}
}

func TestOverlapsAny(t *testing.T) {
	used := []net.Addr{&net.IPNet{IP: net.IPv4(10, 200, 1, 1), Mask: net.CIDRMask(24, 32)}, &net.IPNet{IP: net.IPv4(172, 16, 0, 1), Mask: net.CIDRMask(12, 32)}}
	for subnet, want := range map[string]bool{"10.200.1.0/24": true, "10.200.2.0/24": false, "172.20.0.0/24": true} {
		if got := overlapsAny(netip.MustParsePrefix(subnet), used); got != want {
			t.Errorf("%s overlaps: %t, want %t", subnet, got, want)
		}
	}
}

func TestBridgeNameFits(t *testing.T) {
	if name := bridgeName(newID()); len(name) > 15 {
		t.Errorf("interface name %s has %d characters", name, len(name))
	}
}
