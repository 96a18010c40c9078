#!/usr/bin/env bash
# The container image: made by tools/image, loaded by podman, its programs run; and an agent that serves in a container
# with no more rights than the DaemonSet gives it, on the network of a node.
#
#   tests/e2e/image.sh BIN_DIR        the directory of weftd, weft, weft-operator and weft-cni
set -euo pipefail

bin=$(realpath "${1:?usage: image.sh BIN_DIR}")
here=$(realpath "$(dirname "$0")")
root=$(realpath "$here/../..")
if [[ $(id -u) -ne 0 ]]; then echo "image.sh: needs root"; exit 77; fi

if [[ ${2:-} != inside ]]; then
  scratch=$(mktemp -d "${TMPDIR:-/tmp}/weft-image.XXXXXX")
  instance=e2e-image-$$
  cleanup() {
    rm -rf "/sys/fs/bpf/weft/$instance"
    find /sys/fs/cgroup -depth -type d -path "*/$instance*" -exec rmdir {} + 2>/dev/null || true
    rm -rf "$scratch"
  }
  trap cleanup EXIT
  status=0
  unshare --net --mount --pid --fork --kill-child --mount-proc \
    env SCRATCH="$scratch" INSTANCE="$instance" "$0" "$bin" inside || status=$?
  exit "$status"
fi

# shellcheck source=tests/e2e/inside.sh
. "$here/inside.sh"
start_world
version=$("$bin/weft" --version | cut -d' ' -f2)
image=localhost/weft:$version
# A store of images of its own.
unset -f podman
mkdir "$SCRATCH/bin"
cat >"$SCRATCH/bin/podman" <<P
#!/bin/bash
exec timeout 120 /usr/bin/podman --root "$SCRATCH/images" --runroot "$SCRATCH/containers" --runtime runc --cgroup-manager cgroupfs "\$@"
P
chmod +x "$SCRATCH/bin/podman"
PATH=$SCRATCH/bin:$PATH

section "the image"
check "it is made" "$root/tools/image" --build "$(dirname "$bin")" --output "$SCRATCH/image.tar"
check "it is made of the same bytes again" bash -c "'$root/tools/image' --build '$(dirname "$bin")' --output '$SCRATCH/again.tar' && cmp '$SCRATCH/image.tar' '$SCRATCH/again.tar'"
check "podman loads it" podman load --input "$SCRATCH/image.tar"
run() { podman run --rm --network none --read-only "$image" "$@"; }
for program in weftd weft weft-operator; do
  check "$program runs" bash -c "[[ \$(podman run --rm --network none --read-only $image $program --version) == '$program $version' ]]"
done
check "the plugin lies beside the agent" run sh -c "test -x /usr/bin/weft-cni"
check "so do the CRDs and the speaker of BGP" run sh -c "test -s /usr/share/weft/crds/podaddresspools.weft.io.yaml && test -x /usr/sbin/bird"
check "the operator needs no root" podman run --rm --network none --read-only --user 65532:65532 --cap-drop ALL "$image" weft-operator --version
check "a package is known to scanners" run busybox grep -q '^Package: libcurl4' /var/lib/dpkg/status.d/libcurl4

section "an agent in a container, with the rights of the DaemonSet"
"$bin/weft" install --print >"$SCRATCH/weft.yaml"
capabilities=$(awk '/^kind: /{ agent = $2 == "DaemonSet" } agent && /^ *add:$/{ list = 1; next }
  list && $1 == "-" { printf "--cap-add %s ", $2; next } { list = 0 }' "$SCRATCH/weft.yaml")
mkdir -p "$SCRATCH"/{etc,run,state,cni}
cat >"$SCRATCH/etc/weftd.yaml" <<Y
instance: $INSTANCE
node: e2e
pod_cidrs: [10.77.0.0/24, "fd00:77::/64"]
service_cidrs: [10.78.0.0/24, "fd00:78::/112"]
cgroup_root: /host/cgroup/$INSTANCE
Y
cgroup=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
mkdir -p "$cgroup/$INSTANCE"
# shellcheck disable=SC2086  # words are what is wanted
podman run --detach --name agent --network host --pid host --cap-drop ALL $capabilities \
  --security-opt seccomp=unconfined --security-opt no-new-privileges \
  --volume "$SCRATCH/etc:/etc/weft:ro" --volume "$SCRATCH/run:/run/weft" --volume "$SCRATCH/state:/var/lib/weft" \
  --volume /sys/fs/bpf:/sys/fs/bpf:rslave --volume "$cgroup:/host/cgroup" --volume /run/netns:/run/netns:rslave \
  "$image" weftd --config /etc/weft/weftd.yaml >"$SCRATCH/id" 2>"$SCRATCH/err" || cat "$SCRATCH/err"
serves() {
  for _ in $(seq 100); do
    if podman exec agent weft status >/dev/null 2>&1; then return 0; fi
    sleep 0.1 # polls a program that has no other sign of being ready, at most some 10 s
  done
  podman logs agent
  return 1
}
check "it serves" serves
check "the probe that a kubelet runs says so" podman exec agent weft version
check "its health is good" bash -o pipefail -c "'$bin/weft' --socket '$SCRATCH/run/weft.sock' status -o json | jq -e '.health == \"ok\" or error(tostring)'"
ip netns add pod1
attach() {
  printf '{"cniVersion":"1.1.0","name":"weft","type":"weft-cni","socket":"%s"}' "$SCRATCH/run/weft.sock" |
    CNI_COMMAND=ADD CNI_CONTAINERID=pod1 CNI_NETNS=/run/netns/pod1 CNI_IFNAME=eth0 CNI_PATH=$bin "$bin/weft-cni"
}
check "it attaches a pod of the node" attach
check "the pod has an address" bash -c "ip -n pod1 -4 address show dev eth0 | grep -q 10.77.0"
check "what it left is cleaned in a container, too" bash -c "podman stop --time 5 agent && podman run --rm --network host --pid host --cap-drop ALL $capabilities --security-opt seccomp=unconfined \
    --security-opt no-new-privileges --volume '$SCRATCH/etc:/etc/weft:ro' --volume '$SCRATCH/run:/run/weft' --volume '$SCRATCH/state:/var/lib/weft' \
    --volume /sys/fs/bpf:/sys/fs/bpf:rslave --volume '$cgroup:/host/cgroup' --volume /run/netns:/run/netns:rslave $image weftd --cleanup --config /etc/weft/weftd.yaml"
check "nothing of it is pinned" bash -c "[[ ! -e /sys/fs/bpf/weft/$INSTANCE ]]"
summary
