// Command oracle answers, with Kubernetes' own code, what an API server and
// kubectl make of an ephemeral container. It reads JSON lines (a [question]
// each) and writes a JSON line (an [answer]) for every one, so that the tests of
// runtime/ephemeral can be held against the real thing.
//
// It lives in a module of its own, which also pins the kubelet that is built for
// tests, so that Porthole's module does not require k8s.io/kubernetes. What does
// not belong here: anything of Porthole's, since an oracle that shared code with
// what it judges would share its mistakes.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
)

// question is an ephemeral container that is to be added to a pod. With a
// profile it is first changed as kubectl debug would.
type question struct {
	Pod     corev1.Pod                `json:"pod"`
	Spec    corev1.EphemeralContainer `json:"spec"`
	Profile string                    `json:"profile,omitempty"`
	Custom  string                    `json:"custom,omitempty"` // the text of kubectl's --custom file
}

// answer is what comes of it, up to the first program that refuses.
type answer struct {
	// Kubectl is the container as kubectl would send it, with what it prints.
	Kubectl *corev1.EphemeralContainer `json:"kubectl,omitempty"`
	Warning string                     `json:"warning,omitempty"`
	Refused string                     `json:"refused,omitempty"`
	// Defaulted is the container after the API server's defaulting, Errors what
	// its validation has against it.
	Defaulted *corev1.EphemeralContainer `json:"defaulted,omitempty"`
	Errors    []fieldError               `json:"errors,omitempty"`
}

// fieldError is one error of the API server's. Its field is that of the only
// ephemeral container, wherever in the pod's list that is. In the text a bad
// value that is a whole struct is {}: how internal types render is no promise.
type fieldError struct {
	Type   string `json:"type"`
	Field  string `json:"field"`
	Detail string `json:"detail,omitempty"`
	Text   string `json:"text"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func run() error {
	server, err := newServer()
	if err != nil {
		return err
	}
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), bufio.NewWriter(os.Stdout)
	for in.More() {
		var q question
		if err := in.Decode(&q); err != nil {
			return err
		}
		var a answer
		if q.Profile != "" {
			a.askKubectl(&q)
		}
		if a.Refused == "" {
			if err := a.askServer(server, &q); err != nil {
				return err
			}
		}
		if err := json.NewEncoder(out).Encode(a); err != nil {
			return err
		}
	}
	return out.Flush()
}
