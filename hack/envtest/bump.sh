#!/usr/bin/env bash
# Writes go.mod and go.sum of the module that builds kube-apiserver, kubectl and etcd from their Go modules.
# Usage: hack/envtest/bump.sh KUBERNETES_VERSION ETCD_VERSION, for example 1.37.1 3.7.0. Commit what it writes.
set -euo pipefail
cd "$(dirname "$0")"
k8s=$1 etcd=$2
rm -f go.mod go.sum
export GOFLAGS=-mod=mod GOWORK=off
go mod init github.com/utexo/utexo-operator/hack/envtest
go mod edit -go=1.26.0 -require="k8s.io/kubernetes@v$k8s" -require="go.etcd.io/etcd/server/v3@v$etcd"
for p in kube-apiserver kube-controller-manager kubectl; do go mod edit -tool="k8s.io/kubernetes/cmd/$p"; done
# k8s.io/kubernetes asks for its staging modules at v0.0.0, which nobody publishes: ask for the real ones.
for m in api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap component-base component-helpers \
  controller-manager cri-api cri-client csi-translation-lib dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator \
  kube-controller-manager kube-proxy kube-scheduler kubectl kubelet metrics mount-utils pod-security-admission streaming; do
  go mod edit -require="k8s.io/$m@v0.${k8s#1.}"
done
for m in code-generator cri-streaming sample-apiserver; do go mod edit -exclude="k8s.io/$m@v0.0.0"; done
go mod tidy
go list -m all >/dev/null
