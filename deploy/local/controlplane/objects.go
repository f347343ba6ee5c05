package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
)

const (
	// volumeAnnotation: pending on a PersistentVolumeClaim leaves it unbound.
	volumeAnnotation = "local.lockstep.dev/volume"
	// addressAnnotation: none on a Service or an Ingress leaves it without an address.
	addressAnnotation = "local.lockstep.dev/address"
)

// serveRest looks after everything that is not a pod.
func serveRest(ctx context.Context, client kubernetes.Interface, factory informers.SharedInformerFactory) {
	claims := factory.Core().V1().PersistentVolumeClaims()
	serve(ctx, claims.Informer(), 1, func(ctx context.Context, namespace, name string) (time.Duration, error) {
		claim, err := claims.Lister().PersistentVolumeClaims(namespace).Get(name)
		if apierrors.IsNotFound(err) {
			return 0, removeVolumes(ctx, client, namespace, name)
		}
		if err != nil || claim.Status.Phase == corev1.ClaimBound || claim.Annotations[volumeAnnotation] == "pending" {
			return 0, err
		}
		return 0, bind(ctx, client, claim.DeepCopy())
	})
	services := factory.Core().V1().Services()
	serve(ctx, services.Informer(), 1, func(ctx context.Context, namespace, name string) (time.Duration, error) {
		service, err := services.Lister().Services(namespace).Get(name)
		if err != nil {
			return 0, err
		}
		balanced := service.Spec.Type == corev1.ServiceTypeLoadBalancer && service.Annotations[addressAnnotation] != "none"
		if balanced == (len(service.Status.LoadBalancer.Ingress) > 0) {
			return 0, nil
		}
		service = service.DeepCopy()
		service.Status.LoadBalancer.Ingress = nil
		if balanced {
			service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: publicAddress(namespace + "/" + name)}}
		}
		_, err = client.CoreV1().Services(namespace).UpdateStatus(ctx, service, metav1.UpdateOptions{})
		return 0, err
	})
	ingresses := factory.Networking().V1().Ingresses()
	serve(ctx, ingresses.Informer(), 1, func(ctx context.Context, namespace, name string) (time.Duration, error) {
		ingress, err := ingresses.Lister().Ingresses(namespace).Get(name)
		if err != nil || len(ingress.Status.LoadBalancer.Ingress) > 0 || ingress.Annotations[addressAnnotation] == "none" {
			return 0, err
		}
		ingress = ingress.DeepCopy()
		ingress.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: publicAddress("ingress")}}
		_, err = client.NetworkingV1().Ingresses(namespace).UpdateStatus(ctx, ingress, metav1.UpdateOptions{})
		return 0, err
	})
	scalers := factory.Autoscaling().V2().HorizontalPodAutoscalers()
	serve(ctx, scalers.Informer(), 1, func(ctx context.Context, namespace, name string) (time.Duration, error) {
		scaler, err := scalers.Lister().HorizontalPodAutoscalers(namespace).Get(name)
		if err != nil || len(scaler.Status.Conditions) > 0 {
			return 0, err
		}
		scaler = scaler.DeepCopy()
		measured(scaler)
		_, err = client.AutoscalingV2().HorizontalPodAutoscalers(namespace).UpdateStatus(ctx, scaler, metav1.UpdateOptions{})
		return 0, err
	})
}

// bind makes a volume for a claim and binds the two to each other.
func bind(ctx context.Context, client kubernetes.Interface, claim *corev1.PersistentVolumeClaim) error {
	volumes := client.CoreV1().PersistentVolumes()
	size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "local-" + string(claim.UID), Labels: volumeLabels(claim.Namespace, claim.Name)},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{corev1.ResourceStorage: size}, AccessModes: claim.Spec.AccessModes, VolumeMode: claim.Spec.VolumeMode,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/nonexistent"}},
			ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
		},
	}
	if claim.Spec.StorageClassName != nil {
		volume.Spec.StorageClassName = *claim.Spec.StorageClassName
	}
	made, err := volumes.Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		made, err = volumes.Get(ctx, volume.Name, metav1.GetOptions{})
	}
	if err != nil {
		return err
	}
	made.Status.Phase = corev1.VolumeBound
	if _, err := volumes.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if claim.Annotations == nil {
		claim.Annotations = map[string]string{}
	}
	// The scheduler takes a claim as bound only with this.
	claim.Annotations["pv.kubernetes.io/bind-completed"] = "yes"
	claim.Spec.VolumeName = made.Name
	claims := client.CoreV1().PersistentVolumeClaims(claim.Namespace)
	updated, err := claims.Update(ctx, claim, metav1.UpdateOptions{})
	if err != nil {
		return err
	}
	updated.Status = corev1.PersistentVolumeClaimStatus{
		Phase: corev1.ClaimBound, AccessModes: claim.Spec.AccessModes, Capacity: corev1.ResourceList{corev1.ResourceStorage: size},
	}
	_, err = claims.UpdateStatus(ctx, updated, metav1.UpdateOptions{})
	return err
}

func removeVolumes(ctx context.Context, client kubernetes.Interface, namespace, name string) error {
	selector := metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: volumeLabels(namespace, name)})
	return client.CoreV1().PersistentVolumes().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: selector})
}

// volumeLabels finds the volumes of a claim that is gone. A claim's name may be longer than a label's value may be.
func volumeLabels(namespace, name string) map[string]string {
	return map[string]string{"local.lockstep.dev/claim": fmt.Sprintf("%016x", hash(namespace+"/"+name))}
}

// publicAddress is always the same for the same name, from a network that is set aside for examples (RFC 5737).
func publicAddress(name string) string {
	return fmt.Sprintf("203.0.113.%d", hash(name)%254+1)
}

func hash(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return h.Sum64()
}

// measured sets the status of an autoscaler that has its metrics and sees no reason to scale.
func measured(scaler *autoscalingv2.HorizontalPodAutoscaler) {
	replicas := int32(1)
	if scaler.Spec.MinReplicas != nil {
		replicas = *scaler.Spec.MinReplicas
	}
	now := metav1.Now()
	condition := func(kind autoscalingv2.HorizontalPodAutoscalerConditionType, value corev1.ConditionStatus, reason string) autoscalingv2.HorizontalPodAutoscalerCondition {
		return autoscalingv2.HorizontalPodAutoscalerCondition{Type: kind, Status: value, Reason: reason, LastTransitionTime: now}
	}
	scaler.Status.CurrentReplicas, scaler.Status.DesiredReplicas = replicas, replicas
	scaler.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{
		condition(autoscalingv2.AbleToScale, corev1.ConditionTrue, "ReadyForNewScale"),
		condition(autoscalingv2.ScalingActive, corev1.ConditionTrue, "ValidMetricFound"),
		condition(autoscalingv2.ScalingLimited, corev1.ConditionFalse, "DesiredWithinRange"),
	}
}
