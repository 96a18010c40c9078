# Shared parts of the end-to-end scripts; sourced inside their namespaces with SCRATCH, INSTANCE and
# bin set. A check is one line of output; `summary` prints the count and exits.
# shellcheck shell=bash disable=SC2154
passed=0
failed=0
agent_pid=""

section() { printf '\n# %s\n' "$*"; }
check() {
  local what=$1 output
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1))
    echo "ok      $what"
  else
    failed=$((failed + 1))
    echo "FAILED  $what: $*"
    tail -n 20 <<<"$output" | sed 's/^/          /'
  fi
}
refuse() { if "$@"; then return 1; fi; }
summary() {
  stop_agent
  if [[ $failed -gt 0 ]]; then
    echo "# the agent's log"
    tail -n 60 "$SCRATCH/weftd.log" || true
  fi
  printf '\n%d passed, %d failed\n' "$passed" "$failed"
  if [[ $failed -eq 0 ]]; then exit 0; else exit 1; fi
}

weft() { timeout 20 "$bin/weft" --socket "$SCRATCH/run/weft.sock" "$@"; }
podman() { timeout 60 podman --cgroup-manager cgroupfs "$@"; }

# A node with one device that leads out; nothing answers behind it.
start_world() {
  mount --make-rprivate /
  # Caches of the CNI library and named namespaces: ours alone.
  mkdir -p /var/lib/cni /run/netns
  mount -t tmpfs none /var/lib/cni
  mount -t tmpfs none /run/netns
  mount --make-shared /run/netns
  ip link set lo up
  ip link add uplink0 type veth peer name world0
  ip link set world0 up
  ip address add 192.0.2.2/24 dev uplink0
  ip address add 2001:db8::2/64 dev uplink0 nodad
  ip link set uplink0 up
  ip route add default via 192.0.2.1
  ip -6 route add default via 2001:db8::1
  sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
}

start_agent() {
  local tries
  cat >"$SCRATCH/weftd.yaml" <<Y
instance: $INSTANCE
node: e2e
state_dir: $SCRATCH/state
run_dir: $SCRATCH/run
pod_cidrs: [10.77.0.0/24, "fd00:77::/64"]
service_cidrs: [10.78.0.0/24, "fd00:78::/112"]
quarantine_seconds: 1
Y
  mkdir -p "$SCRATCH/state" "$SCRATCH/run"
  rm -f "$SCRATCH/run/weft.sock"
  "$bin/weftd" --config "$SCRATCH/weftd.yaml" >>"$SCRATCH/weftd.log" 2>&1 &
  agent_pid=$!
  for tries in $(seq 100); do
    if weft status >/dev/null 2>&1; then return 0; fi
    if ! kill -0 "$agent_pid" 2>/dev/null; then break; fi
    sleep 0.1 # polls a program that has no other sign of being ready, at most 10 s
  done
  echo "weftd does not serve after $tries tries:"
  tail -n 30 "$SCRATCH/weftd.log"
  failed=$((failed + 1))
  summary
}
stop_agent() {
  if [[ -n $agent_pid ]]; then
    kill "$agent_pid" 2>/dev/null || true
    wait "$agent_pid" 2>/dev/null || true
    agent_pid=""
  fi
}

configure_podman() {
  mkdir -p "$SCRATCH"/{cni,tmp,rootfs/bin,rootfs/etc,rootfs/tmp}
  cat >"$SCRATCH/containers.conf" <<C
[network]
network_backend = "cni"
cni_plugin_dirs = ["$bin"]
network_config_dir = "$SCRATCH/cni"
default_network = "weft"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "$SCRATCH/tmp"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
C
  cat >"$SCRATCH/storage.conf" <<C
[storage]
driver = "vfs"
graphroot = "$SCRATCH/graph"
runroot = "$SCRATCH/runroot"
C
  cat >"$SCRATCH/cni/weft.conflist" <<C
{
  "cniVersion": "1.0.0",
  "name": "weft",
  "plugins": [{"type": "weft-cni", "socket": "$SCRATCH/run/weft.sock"}]
}
C
  echo 'unqualified-search-registries = []' >"$SCRATCH/registries.conf"
  export CONTAINERS_CONF=$SCRATCH/containers.conf CONTAINERS_STORAGE_CONF=$SCRATCH/storage.conf
  export CONTAINERS_REGISTRIES_CONF=$SCRATCH/registries.conf TMPDIR=$SCRATCH/tmp
  cp /bin/busybox "$SCRATCH/rootfs/bin/"
  local applet
  for applet in sh ls cat echo mkdir ping wget nc httpd ip sleep; do
    ln -sf busybox "$SCRATCH/rootfs/bin/$applet"
  done
  echo 'root:x:0:0:root:/:/bin/sh' >"$SCRATCH/rootfs/etc/passwd"
  tar -C "$SCRATCH/rootfs" -cf "$SCRATCH/rootfs.tar" .
  podman import -q "$SCRATCH/rootfs.tar" localhost/test:1 >/dev/null
}

# run_container NAME COMMAND [NETWORK]
run_container() {
  podman run -d --name "$1" --cgroup-parent "$INSTANCE" --network "${3:-weft}" localhost/test:1 /bin/sh -c "$2"
}
restart_container() {
  podman stop -t 0 "$1" && podman start "$1"
}
inside() {
  local name=$1
  shift
  podman exec "$name" "$@"
}
fetch() {
  local page
  page=$(inside "$1" busybox timeout 3 busybox wget -O - "$2" 2>&1) || { echo "$page"; return 1; }
  echo "$page"
  [[ $page == *"$3"* ]]
}
ping_host() { busybox ping -c 1 -W 2 "$1"; }
address_of() { podman inspect "$1" | jq -r '.[0].NetworkSettings.Networks.weft.IPAddress'; }
address6_of() { podman inspect "$1" | jq -r '.[0].NetworkSettings.Networks.weft.GlobalIPv6Address'; }

endpoints_are() {
  local names
  names=$(weft endpoint list -o json | jq -r '[(if type == "object" then .items else . end)[] | select(.state == "ready") | .pod] | sort | join(" ")')
  echo "endpoints: $names"
  [[ $names == "$1" ]]
}
names_container() {
  local id
  id=$(podman inspect -f '{{.Id}}' "$1")
  weft endpoint list -o json | jq -e --arg id "$id" '[(if type == "object" then .items else . end)[] | select(.container_id == $id)] | length == 1'
}
coverage_known() {
  weft endpoint list -o json | tee /dev/stderr |
    jq -e '[(if type == "object" then .items else . end)[] | .socket_lb.covered] | length > 0 and all(. != null)'
}
observed_denial() {
  local flows
  flows=$(weft observe --verdict dropped --from-pod "default/$1" --to-pod "default/$2" -o json --last 5)
  echo "$flows"
  grep -q "$3" <<<"$flows"
}
away_is_reported() {
  local output
  if output=$(run_container away "exec sleep 1000" 2>&1); then return 1; fi
  echo "$output"
  podman rm -f -t 0 away >/dev/null 2>&1 || true
  grep -qi weft <<<"$output"
}
no_allocation() {
  # A released address rests in quarantine; that is no leak. Devices and their addresses go up to a
  # second after DEL has answered.
  local pools
  for _ in {1..30}; do
    pools=$(weft ipam list -o json)
    if jq -e '(.allocations // []) | map(select((.pod // "") != "")) | length == 0' <<<"$pools" >/dev/null; then return 0; fi
    sleep 0.1
  done
  echo "$pools"
  return 1
}
no_device() {
  local left
  left=$(ip -o link show type veth | grep -cv -e uplink0 -e world0 || true)
  ip -o link show type veth
  [[ $left -eq 0 ]]
}
