// Package ephemeral is the ephemeral container as the Kubernetes API has it: how
// it is written down ([Decode], [Encode]), what kubectl's profiles make of it
// ([ApplyProfile], [ApplyCustom]), what the API server fills in ([Default]) and
// what it refuses ([Validate]). All of it is that of Kubernetes 1.37; the tests
// hold it against Kubernetes' own code (testdata, and test/kubelet/kubernetes).
//
// What does not belong here: nodes, runtimes, files, and what only they can say,
// such as whether a volume is there. That is package runtime's plan.
package ephemeral
