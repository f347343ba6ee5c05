package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

const (
	nodeName = "node-0"
	// podAnnotation on a pod says what becomes of it, as words with commas between them:
	// image-pull-error, crash-loop, fail, never-ready, and after=2s (ready, or done, only then).
	podAnnotation = "local.lockstep.dev/pod"
)

// standIn registers a node and does what a kubelet, a storage driver, a load balancer and a metrics pipeline would.
func standIn(ctx context.Context, s *state, ca []byte) {
	config := &rest.Config{
		Host: s.server(), BearerToken: s.Tokens["admin"], TLSClientConfig: rest.TLSClientConfig{CAData: ca}, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf"},
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, "controlplane: stand-in for the node:", err)
		return
	}
	for registerNode(ctx, client) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(withoutManagedFields))
	pods := factory.Core().V1().Pods()
	p := &podRunner{client: client, get: pods.Lister()}
	serve(ctx, pods.Informer(), 4, p.sync)
	serveRest(ctx, client, factory)
	factory.Start(ctx.Done())
}

// withoutManagedFields keeps out of memory what nobody here reads. An update that does not send them leaves them as they are.
func withoutManagedFields(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}

func registerNode(ctx context.Context, client kubernetes.Interface) error {
	nodes := client.CoreV1().Nodes()
	labels := map[string]string{"kubernetes.io/hostname": nodeName, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
	_, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: labels}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	node, err := nodes.Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	// Admission taints a new node until a controller finds it ready; that controller does not run here.
	node.Spec.Taints = nil
	if node, err = nodes.Update(ctx, node, metav1.UpdateOptions{}); err != nil {
		return err
	}
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("100000"), corev1.ResourceMemory: resource.MustParse("1000Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1000Ti"), corev1.ResourcePods: resource.MustParse("1000000"),
	}
	node.Status.Capacity, node.Status.Allocatable = room, room
	node.Status.Conditions = []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
		LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
	}}
	_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
	return err
}

// serve calls sync with each object that changed, again after an error, and again after the time that sync asks for.
func serve(ctx context.Context, informer cache.SharedIndexInformer, workers int, sync func(ctx context.Context, namespace, name string) (time.Duration, error)) {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](20*time.Millisecond, 2*time.Second)
	queue := workqueue.NewTypedRateLimitingQueue(limiter)
	add := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			queue.Add(key)
		}
	}
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, now any) { add(now) }, DeleteFunc: add})
	for range workers {
		go func() {
			for {
				key, closing := queue.Get()
				if closing {
					return
				}
				namespace, name, _ := cache.SplitMetaNamespaceKey(key)
				again, err := sync(ctx, namespace, name)
				switch {
				case err != nil && !apierrors.IsNotFound(err):
					queue.AddRateLimited(key)
				case again > 0:
					queue.Forget(key)
					queue.AddAfter(key, again)
				default:
					queue.Forget(key)
				}
				queue.Done(key)
			}
		}()
	}
	go func() {
		<-ctx.Done()
		queue.ShutDown()
	}()
}

type podRunner struct {
	client    kubernetes.Interface
	get       corelisters.PodLister
	addresses atomic.Uint32
}

// behaviour is what podAnnotation asks for.
type behaviour struct {
	imagePullError, crashLoop, fail, neverReady bool
	after                                       time.Duration
}

func behaviourOf(pod *corev1.Pod) behaviour {
	var b behaviour
	for word := range strings.SplitSeq(pod.Annotations[podAnnotation], ",") {
		switch word = strings.TrimSpace(word); word {
		case "image-pull-error":
			b.imagePullError = true
		case "crash-loop":
			b.crashLoop = true
		case "fail":
			b.fail = true
		case "never-ready":
			b.neverReady = true
		default:
			if text, ok := strings.CutPrefix(word, "after="); ok {
				b.after, _ = time.ParseDuration(text)
			}
		}
	}
	return b
}

func (p *podRunner) sync(ctx context.Context, namespace, name string) (time.Duration, error) {
	pod, err := p.get.Pods(namespace).Get(name)
	if err != nil || pod.Spec.NodeName == "" {
		return 0, err
	}
	pods := p.client.CoreV1().Pods(namespace)
	if pod.DeletionTimestamp != nil {
		now := int64(0)
		return 0, pods.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &pod.UID}})
	}
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return 0, nil
	}
	next := pod.DeepCopy()
	again := advance(next, time.Now(), p.address)
	if equality.Semantic.DeepEqual(pod.Status, next.Status) {
		return again, nil
	}
	_, err = pods.UpdateStatus(ctx, next, metav1.UpdateOptions{})
	return again, err
}

func (p *podRunner) address() string {
	n := p.addresses.Add(1)
	return fmt.Sprintf("10.88.%d.%d", n/250%250, n%250+1)
}

// advance sets the status that a pod has at the given time, and returns after which time to look again.
func advance(pod *corev1.Pod, now time.Time, address func() string) time.Duration {
	b := behaviourOf(pod)
	status := &pod.Status
	if status.StartTime == nil {
		started := metav1.NewTime(now.Truncate(time.Second))
		status.StartTime = &started
		status.PodIP = address()
		status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
		status.HostIP = "10.88.255.1"
		status.HostIPs = []corev1.HostIP{{IP: status.HostIP}}
	}
	wait := status.StartTime.Add(b.after).Sub(now)
	waiting := b.after > 0 && wait > 0
	once := pod.Spec.RestartPolicy != corev1.RestartPolicyAlways

	state := containerState{ready: true, running: true}
	status.Phase = corev1.PodRunning
	switch {
	case b.imagePullError:
		status.Phase = corev1.PodPending
		state = containerState{waiting: "ImagePullBackOff", message: "Back-off pulling image: not found"}
	case waiting:
		state.ready = once
	case b.crashLoop, b.fail && !once:
		state = containerState{waiting: "CrashLoopBackOff", message: "back-off 5m0s restarting failed container", restarts: 5}
	case once && b.fail:
		status.Phase = corev1.PodFailed
		state = containerState{terminated: "Error", code: 1}
	case once && !b.neverReady:
		status.Phase = corev1.PodSucceeded
		state = containerState{terminated: "Completed"}
	case b.neverReady:
		state.ready = false
	}
	started := *status.StartTime
	status.ContainerStatuses = statuses(pod.Spec.Containers, state, started)
	status.InitContainerStatuses = initStatuses(pod.Spec.InitContainers, started)
	condition(pod, corev1.PodInitialized, true, "", now)
	condition(pod, corev1.ContainersReady, state.ready, state.reason(), now)
	condition(pod, corev1.PodReady, state.ready, state.reason(), now)
	if waiting {
		return wait + time.Millisecond
	}
	return 0
}

type containerState struct {
	ready, running               bool
	waiting, message, terminated string
	code, restarts               int32
}

func (s containerState) reason() string {
	switch {
	case s.ready:
		return ""
	case s.terminated == "Completed":
		return "PodCompleted"
	default:
		return "ContainersNotReady"
	}
}

func statuses(containers []corev1.Container, s containerState, started metav1.Time) []corev1.ContainerStatus {
	var all []corev1.ContainerStatus
	for _, container := range containers {
		isStarted := s.running
		one := corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, ImageID: container.Image, Ready: s.ready, Started: &isStarted,
			RestartCount: s.restarts, ContainerID: "local://" + container.Name,
		}
		switch {
		case s.running:
			one.State.Running = &corev1.ContainerStateRunning{StartedAt: started}
		case s.waiting != "":
			one.State.Waiting = &corev1.ContainerStateWaiting{Reason: s.waiting, Message: s.message}
		default:
			one.State.Terminated = &corev1.ContainerStateTerminated{ExitCode: s.code, Reason: s.terminated, StartedAt: started, FinishedAt: started}
		}
		if s.restarts > 0 {
			one.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", StartedAt: started, FinishedAt: started}
		}
		all = append(all, one)
	}
	return all
}

func initStatuses(containers []corev1.Container, started metav1.Time) []corev1.ContainerStatus {
	var all []corev1.ContainerStatus
	for _, container := range containers {
		done := containerState{ready: true, terminated: "Completed"}
		if container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			done = containerState{ready: true, running: true}
		}
		all = append(all, statuses([]corev1.Container{container}, done, started)...)
	}
	return all
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType, value bool, reason string, now time.Time) {
	wanted := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, Reason: reason, LastTransitionTime: metav1.NewTime(now.Truncate(time.Second))}
	if value {
		wanted.Status = corev1.ConditionTrue
	}
	if reason == "ContainersNotReady" {
		wanted.Message = "containers with unready status"
	}
	for i, known := range pod.Status.Conditions {
		if known.Type == kind {
			if known.Status == wanted.Status {
				wanted.LastTransitionTime = known.LastTransitionTime
			}
			pod.Status.Conditions[i] = wanted
			return
		}
	}
	pod.Status.Conditions = append(pod.Status.Conditions, wanted)
}
