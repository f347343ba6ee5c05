package main

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAdvance(t *testing.T) {
	start := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	cases := []struct {
		annotation string
		restart    corev1.RestartPolicy
		later      time.Duration
		want       string // phase, ready, what the container does
		again      bool
	}{
		{"", corev1.RestartPolicyAlways, 0, "Running true running", false},
		{"", corev1.RestartPolicyNever, 0, "Succeeded false Completed 0", false},
		{"image-pull-error", corev1.RestartPolicyAlways, 0, "Pending false ImagePullBackOff", false},
		{"crash-loop", corev1.RestartPolicyAlways, 0, "Running false CrashLoopBackOff", false},
		{"fail", corev1.RestartPolicyAlways, 0, "Running false CrashLoopBackOff", false},
		{"fail", corev1.RestartPolicyNever, 0, "Failed false Error 1", false},
		{"never-ready", corev1.RestartPolicyAlways, 0, "Running false running", false},
		{"never-ready", corev1.RestartPolicyNever, 0, "Running false running", false},
		{"after=2s", corev1.RestartPolicyAlways, time.Second, "Running false running", true},
		{"after=2s", corev1.RestartPolicyAlways, 3 * time.Second, "Running true running", false},
		{"after=2s", corev1.RestartPolicyNever, time.Second, "Running true running", true},
		{"after=2s, fail", corev1.RestartPolicyNever, 3 * time.Second, "Failed false Error 1", false},
	}
	for _, c := range cases {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{podAnnotation: c.annotation}},
			Spec:       corev1.PodSpec{RestartPolicy: c.restart, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		}
		address := func() string { return "10.88.0.1" }
		again := advance(pod, start, address)
		if c.later > 0 {
			again = advance(pod, start.Add(c.later), address)
		}
		state := pod.Status.ContainerStatuses[0].State
		does := "running"
		if state.Waiting != nil {
			does = state.Waiting.Reason
		} else if state.Terminated != nil {
			does = fmt.Sprint(state.Terminated.Reason, " ", state.Terminated.ExitCode)
		}
		ready := false
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady {
				ready = condition.Status == corev1.ConditionTrue
			}
		}
		if got := fmt.Sprint(pod.Status.Phase, " ", ready, " ", does); got != c.want || (again > 0) != c.again {
			t.Errorf("%q, %s, after %s: %s, again after %s; want %s", c.annotation, c.restart, c.later, got, again, c.want)
		}
	}
}

func TestUsers(t *testing.T) {
	u := users{}
	for text, ok := range map[string]bool{"a": true, "b=x,y": true, "": false, "admin": false, "a/b": false} {
		if err := u.Set(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
	if fmt.Sprint(u["b"]) != "[x y]" {
		t.Errorf("groups: %v", u["b"])
	}
}
