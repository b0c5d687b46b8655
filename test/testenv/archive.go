package testenv

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// file is one entry of an image layer. The zero mode means 0755 for a program
// or a directory (a name that ends in "/"); link makes it a symbolic link.
type file struct {
	name string
	mode fs.FileMode
	body []byte
	link string
}

// image is what an image is made of. Layers shared between images are stored
// once.
type image struct {
	name   string
	layers [][]byte // uncompressed tars
	config ocispec.ImageConfig
}

// layer packs files into a tar that is the same for the same files, so that
// image IDs do not change from run to run.
func layer(files ...file) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.body)), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
		if f.mode != 0 {
			h.Mode = int64(f.mode)
		}
		switch {
		case f.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("layer file %s: %w", f.name, err)
		}
		if _, err := w.Write(f.body); err != nil {
			return nil, fmt.Errorf("layer file %s: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("layer: %w", err)
	}
	return buf.Bytes(), nil
}

// ociArchive writes an OCI image layout as a tar.
type ociArchive struct {
	buf  bytes.Buffer
	tar  *tar.Writer
	seen map[string]bool
}

// archiveImages packs images into one OCI layout that a single import reads.
func archiveImages(images []image) ([]byte, error) {
	a := &ociArchive{seen: map[string]bool{}}
	a.tar = tar.NewWriter(&a.buf)
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, img := range images {
		desc, err := a.image(img)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", img.name, err)
		}
		index.Manifests = append(index.Manifests, desc)
	}
	if err := a.json(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}); err != nil {
		return nil, err
	}
	if err := a.json(ocispec.ImageIndexFile, index); err != nil {
		return nil, err
	}
	if err := a.tar.Close(); err != nil {
		return nil, err
	}
	return a.buf.Bytes(), nil
}

// image adds the blobs of img and returns its manifest's descriptor, named
// the way containerd's importer reads names.
func (a *ociArchive) image(img image) (ocispec.Descriptor, error) {
	platform := ocispec.Platform{OS: "linux", Architecture: goruntime.GOARCH}
	config := ocispec.Image{Platform: platform, Config: img.config, RootFS: ocispec.RootFS{Type: "layers"}}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range img.layers {
		desc, err := a.blob(ocispec.MediaTypeImageLayer, l)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		manifest.Layers = append(manifest.Layers, desc)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, desc.Digest)
	}
	text, err := json.Marshal(config)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if manifest.Config, err = a.blob(ocispec.MediaTypeImageConfig, text); err != nil {
		return ocispec.Descriptor{}, err
	}
	if text, err = json.Marshal(manifest); err != nil {
		return ocispec.Descriptor{}, err
	}
	desc, err := a.blob(ocispec.MediaTypeImageManifest, text)
	desc.Platform = &platform
	desc.Annotations = map[string]string{"io.containerd.image.name": img.name}
	return desc, err
}

// blob adds content under its digest, once.
func (a *ociArchive) blob(mediaType string, content []byte) (ocispec.Descriptor, error) {
	sum := sha256.Sum256(content)
	encoded := hex.EncodeToString(sum[:])
	desc := ocispec.Descriptor{
		MediaType: mediaType,
		Digest:    digest.NewDigestFromEncoded(digest.SHA256, encoded),
		Size:      int64(len(content)),
	}
	if a.seen[encoded] {
		return desc, nil
	}
	a.seen[encoded] = true
	return desc, a.file(path.Join(ocispec.ImageBlobsDir, "sha256", encoded), content)
}

func (a *ociArchive) json(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.file(name, text)
}

func (a *ociArchive) file(name string, content []byte) error {
	if err := a.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := a.tar.Write(content)
	return err
}
