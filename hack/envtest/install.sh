#!/usr/bin/env bash
# Puts the control plane of the tests (etcd, kube-apiserver, kubectl) behind the link bin/k8s: from disk, else downloaded,
# else built from Go modules, which takes minutes, once. It lives in setup-envtest's own store, outside the checkout,
# so that another clone finds it.
# Usage: hack/envtest/install.sh. The version is that of go.mod, which bump.sh writes; ENVTEST_STORE moves the store.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's|^.*k8s.io/kubernetes v\([0-9.]*\).*$|\1|p' hack/envtest/go.mod)
minor=$(cut -d. -f2 <<<"$version")
store=${ENVTEST_STORE:-${XDG_DATA_HOME:-$HOME/.local/share}/kubebuilder-envtest}
platform=$(go env GOOS)-$(go env GOARCH)
built=$store/k8s/$version-$platform

complete() { [[ -x $1/etcd && -x $1/kube-apiserver && -x $1/kubectl ]]; }

# limit SECONDS COMMAND... ends a command that a filtered network would hang. Where there is no timeout(1) it just runs it.
limit() {
  local seconds=$1
  shift
  if command -v timeout >/dev/null; then timeout "$seconds" "$@"; else "$@"; fi
}

# download prints the directory of a downloaded control plane of the same minor version. It fails where there is none to get.
download() {
  local tool
  tool=$(go tool -modfile=hack/tools/setup-envtest/go.mod -n setup-envtest) || return
  # The index is small: if that does not arrive, the programs will not either.
  limit 20 "$tool" list --bin-dir "$store" "1.$minor.x" >/dev/null || return
  limit 600 "$tool" use --bin-dir "$store" -p path "1.$minor.x"
}

# build compiles the programs into a directory of its own and renames that, so that nobody ever sees half a control plane.
build() {
  local tmp v=k8s.io/component-base/version
  tmp=$(mktemp -d "$built.XXXXXX")
  # shellcheck disable=SC2064 # the name is wanted as it is now
  trap "rm -rf '$tmp'" EXIT
  # An apiserver that does not know its version refuses to start.
  CGO_ENABLED=0 GOWORK=off GOFLAGS=-mod=readonly go -C hack/envtest build -trimpath -buildvcs=false -o "$tmp/" \
    -ldflags "-s -w -X $v.gitVersion=v$version -X $v.gitMajor=1 -X $v.gitMinor=$minor -X $v.gitTreeState=clean" \
    ./etcd k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl
  chmod 755 "$tmp"
  rm -rf "$built"
  mv "$tmp" "$built"
}

# installed prints the newest complete control plane of the minor version in the store. It fails where there is none.
installed() {
  local dir newest=
  for dir in "$store/k8s/1.$minor".*"-$platform"; do
    if complete "$dir"; then newest=$dir; fi
  done
  [[ $newest ]] && echo "$newest"
}

link() {
  mkdir -p bin
  ln -sfn "$1" bin/k8s
}

if found=$(installed); then
  link "$found"
  exit
fi
mkdir -p "$store/k8s"
# Two builds side by side take longer than one after the other, and the second finds the work done.
if command -v flock >/dev/null; then
  exec 9>"$store/.lock"
  flock -n 9 || { echo "waiting for another build of the control plane" >&2 && flock 9; }
fi
if ! found=$(installed) && ! found=$(download 2>/dev/null); then
  echo "building the control plane $version from its Go modules: some 10 minutes on two cores, once" >&2
  build
  found=$built
fi
link "$found"
