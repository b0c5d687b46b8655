package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
)

// ipBin is iproute2's tool, where Debian installs it.
const ipBin = "/sbin/ip"

// cniCache is where libcni keeps the result of every ADD. containerd offers no
// setting for it, so entries that a killed node left are removed one by one.
const cniCache = "/var/lib/cni/results"

// network is the bridge of one node and the addresses its pods get.
type network struct {
	name   string       // of the CNI network
	bridge string       // interface name, at most 15 characters
	subnet netip.Prefix // of the pods; the bridge has its first address
}

// makeNetwork makes the bridge of node id with a subnet that no interface of
// the machine has. The caller holds the registry lock, so no other node of
// ours can choose the same subnet meanwhile.
func makeNetwork(ctx context.Context, id string) (network, error) {
	subnet, err := freeSubnet()
	if err != nil {
		return network{}, err
	}
	n := network{name: "porthole-" + id, bridge: bridgeName(id), subnet: subnet}
	gateway := netip.PrefixFrom(subnet.Addr().Next(), subnet.Bits())
	for _, args := range [][]string{
		{"link", "add", n.bridge, "type", "bridge"},
		{"addr", "add", gateway.String(), "dev", n.bridge},
		{"link", "set", n.bridge, "up"},
	} {
		if err := ip(ctx, args...); err != nil {
			return network{}, errors.Join(err, removeBridge(ctx, n.bridge))
		}
	}
	return n, nil
}

func bridgeName(id string) string { return "pth" + id }

// freeSubnet picks a random /24 of 10.0.0.0/8 that overlaps no address of the
// machine.
func freeSubnet() (netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("addresses of this machine: %w", err)
	}
	for range 100 {
		subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(128 + rand.IntN(127)), byte(rand.IntN(256)), 0}), 24)
		if !overlapsAny(subnet, addrs) {
			return subnet, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("subnet of the test node: 100 random /24 of 10.128.0.0/9 are all in use here: %w", errdefs.ErrResourceExhausted)
}

func overlapsAny(subnet netip.Prefix, addrs []net.Addr) bool {
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Overlaps(subnet) {
			return true
		}
	}
	return false
}

// removeBridge deletes the bridge if it exists.
func removeBridge(ctx context.Context, bridge string) error {
	if _, err := os.Stat("/sys/class/net/" + bridge); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return ip(ctx, "link", "del", bridge)
}

func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, ipBin, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %s: %w", strings.Join(args, " "), bytes.TrimSpace(out), err)
	}
	return nil
}

// removeCNICache removes the entries of libcni's cache that name dir: they
// hold the network namespace's path, which is under dir.
func removeCNICache(dir string) error {
	entries, err := os.ReadDir(cniCache)
	if err != nil {
		return nil // no cache, nothing of ours in it
	}
	var errs []error
	for _, e := range entries {
		p := filepath.Join(cniCache, e.Name())
		text, err := os.ReadFile(p)
		if err == nil && bytes.Contains(text, []byte(dir+"/")) {
			errs = append(errs, os.Remove(p))
		}
	}
	return errors.Join(errs...)
}
