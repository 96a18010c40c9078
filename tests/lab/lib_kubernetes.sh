# What tests of a node of Kubernetes share; sourced after lib.sh. An API server (a double of it, by TLS and token) in a
# network namespace $control at 192.0.2.1, a node in $node at 192.0.2.2, and a kubelet's calls of the plugin.
# shellcheck shell=bash disable=SC2034,SC2154

[[ -x $bin/lab_api_server ]] || { echo "$bin/lab_api_server is not built"; exit 2; }
node=wk8s-$$ control=wk8s-$$-control
pins=/sys/fs/bpf/weft-k8s-$$
cgroup=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)/weft-k8s-$$
socket=$work/run/weft.sock
kubeconfig=$work/kubeconfig
agent='' server=''
namespaces_made=()
name_of() { echo "$node-pod-$1"; }

kubernetes_down() {
  kill -9 "$agent" "$server" "${pids[@]}"
  for space in "${namespaces_made[@]}"; do ip netns delete "$space"; done
  rm -rf "$pins"
  rmdir "$cgroup"
}
cleanup_hooks+=(kubernetes_down)
make_namespace() { # NAME
  ip netns add "$1" && ip -n "$1" link set lo up || stop_test "no namespace $1"
  namespaces_made+=("$1")
}
make_node_and_control() {
  make_namespace "$node"
  make_namespace "$control"
  ip link add up0 netns "$node" type veth peer name up0 netns "$control"
  local at space address
  for at in "$node 192.0.2.2" "$control 192.0.2.1"; do
    read -r space address <<<"$at"
    ip -n "$space" address add "$address/24" dev up0
    ip -n "$space" link set up0 up
  done
  ip -n "$node" route add default via 192.0.2.1
  mkdir -p "$cgroup"
}

# weftd's configuration: what all of them have, and the lines of standard input.
write_config() {
  cat - >"$work/weftd.yaml" <(cat <<YAML
instance: node
state_dir: $work/state
run_dir: $work/run
bpffs: $pins
cgroup_root: $cgroup
objects: kubernetes
cni_bin_dir: $work/cni-bin
cni_conf_dir: $work/net.d
flow_table_entries: 4096
log_file: $work/weftd.log
YAML
  )
}

# --- The API server and its clients
start_server() { # [ADDRESS]
  ip netns exec "$control" "$bin/lab_api_server" --kubeconfig "$kubeconfig" --address "${1:-192.0.2.1}" --port 6443 --tls --token secret \
    >"$work/server.log" 2>&1 &
  server=$!
  server_at=${1:-192.0.2.1}
  until_true 10 test -s "$kubeconfig" && until_true 10 api GET /api/v1/namespaces || stop_test "no API server: $(cat "$work/server.log")"
}
api() { # METHOD PATH [JSON [TYPE]]
  ip netns exec "$control" curl -sS --fail --max-time 5 --cacert "$kubeconfig.ca.pem" -X "$1" -H 'authorization: Bearer secret' \
    ${3:+-H "content-type: ${4:-application/json}" -d "$3"} "https://$server_at:6443$2"
}
create() { api POST "$1" "$2" >/dev/null || depth=2 fail "create in $1"; }
patch() { api PATCH "$1" "$2" application/merge-patch+json >/dev/null || depth=2 fail "patch $1"; }
trouble() { api POST /weft-test/faults "$1" >/dev/null || depth=2 fail "trouble $1"; }

# --- The kubelet
space=/api/v1/namespaces/shop
cni() { # COMMAND POD
  local uid
  uid=$(api GET "$space/pods/$2" | jq -r .metadata.uid)
  jq -c '{cniVersion, name} + .plugins[0]' "$work/net.d/05-weft.conflist" |
    CNI_COMMAND=$1 CNI_CONTAINERID=container-$2 CNI_NETNS=/run/netns/$(name_of "$2") CNI_IFNAME=eth0 CNI_PATH=$work/cni-bin \
      CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=$2;K8S_POD_INFRA_CONTAINER_ID=container-$2;K8S_POD_UID=$uid" "$work/cni-bin/weft-cni"
}

start_agent() {
  nsenter --net="/run/netns/$node" "$bin/weftd" --config "$work/weftd.yaml" 2>"$work/err" &
  agent=$!
  until_true 10 weft_here status || stop_test "weftd does not serve: $(cat "$work/err"; tail -n 3 "$work/weftd.log")"
}
weft_here() { "$weft" --socket "$socket" "$@"; }
status_of() { weft_here status -o json | jq -e "$@"; }
