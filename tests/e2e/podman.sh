#!/usr/bin/env bash
# Real containers under podman (CNI backend, runc) on a Weft network: addresses, traffic, policy,
# a service, a static address, and an agent that is away.
#
#   tests/e2e/podman.sh BIN_DIR        the directory of weftd, weft and weft-cni
set -euo pipefail

bin=$(realpath "${1:?usage: podman.sh BIN_DIR}")
here=$(realpath "$(dirname "$0")")
if [[ $(id -u) -ne 0 ]]; then echo "podman.sh: needs root"; exit 77; fi

if [[ ${2:-} != inside ]]; then
  # Own network, mounts and processes: when the script ends, however it ends, so does all it made.
  scratch=$(mktemp -d "${TMPDIR:-/tmp}/weft-podman.XXXXXX")
  instance=e2e-podman-$$
  cleanup() {
    rm -rf "/sys/fs/bpf/weft/$instance"
    # Deepest first; the kernel refuses one that is still in use.
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
pods=10.77.0
start_world
configure_podman
start_agent

cat >"$SCRATCH/pods.yaml" <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}}
spec:
  containers: [{name: server, image: test, ports: [{name: http, containerPort: 80}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: friend, labels: {app: friend}}
spec:
  containers: [{name: friend, image: test}]
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, labels: {app: stranger}}
spec:
  containers: [{name: stranger, image: test}]
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec:
  clusterIP: 10.78.0.10
  selector: {app: server}
  ports: [{name: http, port: 8000, targetPort: http}]
Y
cat >"$SCRATCH/policy.yaml" <<'Y'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-friends}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: friend}}}]
      ports: [{port: 80}]
Y

section "two containers on a Weft network"
check "manifests are applied" weft apply -f "$SCRATCH/pods.yaml"
check "server starts" run_container server "mkdir -p /www; echo hello from server >/www/index.html; exec httpd -f -p 80 -h /www"
check "friend starts" run_container friend "exec sleep 1000"
check "stranger starts" run_container stranger "exec sleep 1000"
server=$(address_of server)
server6=$(address6_of server)
check "the server's address is from the pod range: $server" test "${server%.*}" = "$pods"
check "it has an IPv6 address: $server6" test -n "$server6"
check "friend pings server" inside friend ping -c 1 -W 2 "$server"
check "friend pings server over IPv6" inside friend ping -6 -c 1 -W 2 "$server6"
check "the host pings server" ping_host "$server"
check "server pings its gateway's node" inside server ping -c 1 -W 2 192.0.2.2
check "stranger reads the page" fetch stranger "http://$server/" "hello from server"
check "friend reads it through the ClusterIP" fetch friend http://10.78.0.10:8000/ "hello from server"
check "endpoint list shows the three as ready" endpoints_are "friend server stranger"
check "endpoint list names the containers" names_container server
check "every endpoint's socket hook coverage is known" coverage_known

section "a NetworkPolicy stops one of them"
check "the policy is applied" weft apply -f "$SCRATCH/policy.yaml"
check "friend still reads the page" fetch friend "http://$server/" "hello from server"
check "stranger does not" refuse fetch stranger "http://$server/" hello
check "stranger does not through the ClusterIP either" refuse fetch stranger http://10.78.0.10:8000/ hello
check "friend's ping is not in the rule" refuse inside friend ping -c 1 -W 1 "$server"
check "the host still reaches its pod" ping_host "$server"
check "observe names the rule that stopped stranger" observed_denial stranger server only-friends
check "the policy is taken away" weft delete -f "$SCRATCH/policy.yaml"
check "stranger reads the page again" fetch stranger "http://$server/" "hello from server"

section "static address, restart, removal"
check "a requested address is given" run_container fixed "exec sleep 1000" "weft:ip=$pods.77"
check "it is the one" test "$(address_of fixed)" = "$pods.77"
check "asking for it again is refused" refuse run_container second "exec sleep 1000" "weft:ip=$pods.77"
check "containers stop and start again" restart_container friend
check "the restarted one reads the page" fetch friend "http://$server/" "hello from server"
check "containers are removed" podman rm -f -t 0 friend stranger fixed
check "only server is left in the list" endpoints_are "server"

section "an agent that is away"
stop_agent
check "traffic goes on without it" ping_host "$server"
check "a container cannot start, and podman says why" away_is_reported
start_agent
check "back again, containers start" run_container friend "exec sleep 1000"
check "and talk" fetch friend "http://$server/" "hello from server"
check "everything is removed" podman rm -f -t 0 -a
check "no endpoint is left" endpoints_are ""
check "no address is left" no_allocation
check "no device is left" no_device

summary
