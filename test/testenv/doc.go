// Package testenv starts a real node for tests, the demo and benchmarks: a
// private containerd with its own directories, socket, bridge and cgroup, a
// few images built in process, and pods made the way kubelet makes them.
//
// Nothing here stands in for the runtime: what a test sees is what containerd
// and runc do. No kubelet runs, so nothing restarts and nothing is collected.
//
// A package's tests share one node of each containerd version:
//
//	func TestMain(m *testing.M) { os.Exit(testenv.Run(m)) }
//
//	func TestSomething(t *testing.T) {
//		testenv.Each(t, func(t *testing.T, n *testenv.Node) {
//			pod, err := n.RunPod(t.Context(), testenv.PodSpec{Name: "web"})
//			…
//		})
//	}
//
// What does not belong here: code that ships in the binary, fakes of the
// runtime (see cri/critest), and knowledge of what is under test. The package
// may import cri-api, grpc, the containerd client and x/sys/unix because it is
// test code only.
package testenv
