# Benchmarks of many nodes; sourced by tools/bench inside its own namespaces, after topology.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# The ways that are measured, each against the peer that carries packets alike; a word more here is one more way.
node_modes=(none vxlan geneve ipip)
declare -A node_peer=([none]=routed [vxlan]=kvxlan [geneve]=kvxlan [ipip]=kvxlan)

# Two nodes on one wire, V1-h and V2-h.
make_nodes() {
  local side
  for side in 1 2; do
    ip netns add "${1}$side-h"
    ip -n "${1}$side-h" link set lo up
    ip netns exec "${1}$side-h" sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.all.accept_dad=0
  done
  ip -n "${1}1-h" link add uplink0 type veth peer name uplink0 netns "${1}2-h"
  for side in 1 2; do
    ip -n "${1}$side-h" address add "192.0.2.$side/24" dev uplink0
    ip -n "${1}$side-h" link set uplink0 up
    ip -n "${1}$side-h" route add default via "192.0.2.$((3 - side))"
  done
}

# A pod behind each node and the kernel's own way between: routes, by a VXLAN device if MODE says so.
build_kernel_nodes() {
  local variant=$1 mode=$2 side node other pod
  make_pair "$variant"
  make_nodes "$variant"
  for side in c s; do
    [[ $side == c ]] && node=1 || node=2
    other=$((3 - node)) pod=$variant-$side
    ip -n "$pod" link add eth0 type veth peer name pod0 netns "$variant$node-h"
    ip -n "$pod" address add "10.71.$node.2/24" dev eth0
    ip -n "$pod" link set eth0 up
    ip -n "$variant$node-h" address add "10.71.$node.1/24" dev pod0
    ip -n "$variant$node-h" link set pod0 up
    ip -n "$pod" route add default via "10.71.$node.1"
    if [[ $mode == kvxlan ]]; then
      ip -n "$variant$node-h" link add vx0 type vxlan id 7 remote "192.0.2.$other" local "192.0.2.$node" dstport 8472
      ip -n "$variant$node-h" address add "10.71.9.$node/24" dev vx0
      ip -n "$variant$node-h" link set vx0 up
      ip -n "$variant$node-h" route add "10.71.$other.0/24" via "10.71.9.$other"
      ip -n "$pod" link set eth0 mtu 1450
    else
      ip -n "$variant$node-h" route add "10.71.$other.0/24" via "192.0.2.$other"
    fi
  done
  ADDRESS[$variant]=10.71.2.2
}

# configure_node VARIANT NODE ENDPOINT LINE...: the agent NODE of a cluster of its own, in VARIANT-h.
configure_node() {
  local variant=$1 node=$2 endpoint=$3 line
  shift 3
  CGROUP[$variant]=$cgroup2/$instance-$variant
  mkdir -p "${CGROUP[$variant]}" "$scratch/$variant/state" "$scratch/$variant/run"
  {
    echo "instance: $instance-$variant"
    echo "node: $node"
    echo "state_dir: $scratch/$variant/state"
    echo "run_dir: $scratch/$variant/run"
    echo "cgroup_root: ${CGROUP[$variant]}"
    echo "devices: [uplink0]"
    echo "store: etcd"
    echo "etcd_endpoints: [\"$endpoint\"]"
    echo 'pod_cidrs: [10.70.0.0/16]'
    echo 'service_cidrs: [10.96.0.0/16]'
    for line in "$@"; do echo "$line"; done
  } >"$scratch/$variant/weftd.yaml"
  echo "{\"cniVersion\": \"1.0.0\", \"name\": \"weft\", \"type\": \"weft-cni\", \"socket\": \"$scratch/$variant/run/weft.sock\"}" \
    >"$scratch/$variant/cni.json"
}

# start_etcd NAMESPACE ADDRESS: etcd_pid. An attempt that gets no answer costs a second, and one that has ended ends the wait.
start_etcd() {
  local end=$((SECONDS + 30))
  nsenter --net="/run/netns/$1" etcd --name bench --data-dir "$scratch/etcd-$1" --listen-client-urls "http://$2:2379" \
    --advertise-client-urls "http://$2:2379" --listen-peer-urls "http://127.0.0.1:2380" \
    --initial-advertise-peer-urls "http://127.0.0.1:2380" --initial-cluster "bench=http://127.0.0.1:2380" \
    --logger zap --log-outputs stderr >>"$scratch/etcd-$1.log" 2>&1 &
  etcd_pid=$!
  while kill -0 "$etcd_pid" 2>/dev/null && [[ $SECONDS -lt $end ]]; do
    if nsenter --net="/run/netns/$1" env ETCDCTL_API=3 timeout 2 etcdctl --endpoints "http://$2:2379" --dial-timeout 1s \
      --command-timeout 1s endpoint health >/dev/null 2>&1; then return 0; fi
    sleep 0.05
  done
  die "etcd in $1 does not answer: $(tail -n 3 "$scratch/etcd-$1.log")"
}

build_weft_nodes() {
  local variant=$1 mode=$2 side tries
  make_pair "$variant"
  make_nodes "$variant"
  start_etcd "${variant}1-h" 192.0.2.1
  for side in 1 2; do
    configure_node "$variant$side" "node$side" http://192.0.2.1:2379 "tunnel: $mode"
    run_agent "$variant$side"
  done
  CGROUP[$variant]=${CGROUP[${variant}1]}
  weft_add "${variant}1" "$variant-c" client >/dev/null
  ADDRESS[$variant]=$(weft_add "${variant}2" "$variant-s" server | jq -r '[.ips[].address | select(contains("."))][0]' | cut -d/ -f1)
  for tries in $(seq 200); do
    if [[ $(weft "${variant}1" node list -o json | jq '[.[] | select(.name == "node2") | .pods] | add') == 1 ]]; then return 0; fi
    sleep 0.05
  done
  die "node1 of $variant does not hear of node2's pod after $tries tries: $(weft "${variant}1" status | tail -n 5)"
}

bench_nodes_traffic() {
  local variants=() mode round variant
  say "pod to pod over two nodes: ${node_modes[*]} against the kernel's routes and VXLAN"
  for mode in routed kvxlan; do
    build_kernel_nodes "n-$mode" "$mode"
    variants+=("n-$mode")
  done
  if [[ $peers_only -eq 0 ]]; then
    for mode in "${node_modes[@]}"; do
      build_weft_nodes "n-$mode" "$mode"
      variants+=("n-$mode")
    done
  fi
  for variant in "${variants[@]}"; do start_server "$variant"; done
  for round in $(seq "$rounds"); do
    say "nodes: round $round of $rounds"
    for variant in "${variants[@]}"; do
      traffic "$variant" nodes "${ADDRESS[$variant]}" "${PORT[$variant]}" rr crr stream
    done
  done
}

# A thousand nodes in etcd, one of them an agent.
bench_nodes_scale() {
  local nodes=1000 pods=50 answer start pid crowd_pid tries map
  [[ $peers_only -eq 0 ]] || return 0
  if [[ $quick -eq 1 ]]; then nodes=200; fi
  say "one agent among $nodes nodes with $((nodes * pods)) pods"
  make_nodes scale
  start_etcd scale1-h 127.0.0.1
  configure_node scale1 bench http://127.0.0.1:2379 "tunnel: vxlan" "lease_seconds: 30" "reclaim_seconds: 600"
  run_agent scale1
  printf '%s\n' 'apiVersion: weft.io/v1alpha1' 'kind: PodAddressPool' 'metadata: {name: crowd}' \
    'spec: {cidrs: [{cidr: 100.64.0.0/10, blockLength: 24}]}' | weft scale1 apply -f - >/dev/null || die "no pool for the crowd"
  pid=$(cat "$scratch/scale1/pid")
  map=$(awk '/^bpffs:/ {b = $2} /^instance:/ {i = $2} END {print (b ? b : "/sys/fs/bpf/weft") "/" i "/maps/weft_remote_v1"}' "$scratch/scale1/weftd.yaml")
  sample nodes_scale rss_alone weft "$(weft scale1 status -o json | jq '.rss_bytes / 1000000')"
  # Its commands go in by one pipe, its answers come by the other.
  mkfifo "$scratch/to_crowd" "$scratch/from_crowd"
  nsenter --net=/run/netns/scale1-h "$bin/node_crowd" --etcd http://127.0.0.1:2379 --cluster default --map "$map" --nodes "$nodes" \
    --pods "$pods" --changes 2000 --rate 100 --agent "$pid" <"$scratch/to_crowd" >"$scratch/from_crowd" 2>"$scratch/crowd.log" &
  crowd_pid=$!
  exec {to_crowd}>"$scratch/to_crowd" {from_crowd}<"$scratch/from_crowd"
  # Its answer, for as long as the crowd and the agent are there.
  ask_crowd() {
    local end=$((SECONDS + 300)) status
    echo "$1" >&"$to_crowd"
    until read -r -t 2 answer <&"$from_crowd"; do
      status=$?
      [[ $status -gt 128 && $SECONDS -lt $end ]] || die "the crowd did not $1: $(cat "$scratch/crowd.log")"
      kill -0 "$crowd_pid" 2>/dev/null || die "the crowd ended: $(cat "$scratch/crowd.log")"
      kill -0 "$pid" 2>/dev/null || die "the agent ended: $(tail -n 5 "$scratch/scale1/weftd.log")"
    done
    printf '%s\t%s\n' "$1" "$answer" >>"$scratch/crowd.tsv"
  }
  ask_crowd fill
  sample nodes_scale etcd_bytes_per_pod weft "$(jq ".etcd_bytes / $((nodes * pods))" <<<"$answer")"
  sample nodes_scale join_write weft "$(jq .seconds <<<"$answer")"
  ask_crowd wait
  sample nodes_scale join_rest weft "$(jq .seconds <<<"$answer")"
  sample_json nodes_scale weft "$answer" rss_join=VmRSS
  ask_crowd churn
  sample_json nodes_scale weft "$answer" change_p50=from_written_p50_ms change_p99=from_written_p99_ms \
    change_sent_p99=from_sent_p99_ms cpu=cpu_percent rss_churn=VmRSS
  ask_crowd check
  [[ $(jq .right <<<"$answer") == true ]] || die "the table is not what was written: $answer"
  stop_agent scale1
  start=$EPOCHREALTIME
  run_agent scale1
  for tries in $(seq 600); do
    if [[ $(weft scale1 node list -o json | jq "[.[].pods] | add") == "$((nodes * pods))" ]]; then break; fi
    sleep 0.05
  done
  sample nodes_scale cold_start weft "$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')"
  pid=$(cat "$scratch/scale1/pid")
  ask_crowd check
  [[ $(jq .right <<<"$answer") == true ]] || die "after a start the table is not what was written: $answer"
  # The memory of the whole list's texts is given back soon after.
  sleep 3
  sample nodes_scale rss_cold weft "$(awk '/^VmRSS/ {print $2 / 1000}' "/proc/$pid/status")"
  sample nodes_scale rss_cold_own weft "$(awk '/^RssAnon/ {print $2 / 1000}' "/proc/$pid/status")"
  local -a adds=()
  for tries in $(seq 20); do
    ip netns add "scale-pod-$tries"
    start=$EPOCHREALTIME
    weft_add scale1 "scale-pod-$tries" "own-$tries" >/dev/null
    sample nodes_scale cni_add weft "$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { print (b - a) * 1000 }')"
  done
  exec {to_crowd}>&- {from_crowd}<&-
  stop_agent scale1
  kill "$crowd_pid" "$etcd_pid" 2>/dev/null || true
}

# A change at one of N nodes, until the tables of all have it.
bench_nodes_converge() {
  local count lab node round output rows enforced watch address
  [[ $peers_only -eq 0 ]] || return 0
  watch=$bin/map_watch
  for count in 3 20; do
    lab=$instance-$count
    say "changes over $count nodes"
    {
      cat <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: $count
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: none}]}
Y
    } | "$bin/weft" lab up --name "$lab" --nodes "$count" --tunnel vxlan -f - >"$scratch/lab-$count.log" 2>&1 ||
      die "a lab of $count nodes: $(tail -n 5 "$scratch/lab-$count.log")"
    rows=() enforced=()
    for node in $(seq "$count"); do
      local yaml=/run/weft/lab/$lab/node$node/weftd.yaml pins
      pins=$(awk '/^bpffs:/ {b = $2} /^instance:/ {i = $2} END {print b "/" i}' "$yaml")
      [[ $node -eq 1 ]] || rows+=(--row "$pins/maps/weft_remote_v1=-")
      address=$("$bin/weft" --lab "$lab" --node "node$node" endpoint list -o json |
        jq -r '[.[] | select(.pod | startswith("web")) | .addresses[] | select(contains("."))][0] // empty')
      [[ -z $address ]] || enforced+=(--row "$pins/maps/weft_ep_v1=$address")
    done
    [[ ${#enforced[@]} -eq $((2 * count)) ]] || die "not every node of $count has a pod"
    echo "{\"cniVersion\": \"1.0.0\", \"name\": \"weft\", \"type\": \"weft-cni\", \"socket\": \"/run/weft/lab/$lab/node1/weft.sock\"}" >"$scratch/cni-$count.json"
    cat >"$scratch/policy.yaml" <<'Y'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]}
Y
    for round in $(seq $((quick == 1 ? 20 : 100))); do
      ip netns add "conv-$count-$round"
      output=$("$watch" --expect present "${rows[@]}" -- \
        bash -c 'call_cni "$@"' _ ADD "$bin/weft-cni" "$scratch/cni-$count.json" "weft-$lab-node1" "conv-$count-$round") ||
        die "a pod over $count nodes"
      jq .all_ms <<<"$output" >>"$scratch/endpoint-$count"
      jq '.all_ms - .command_ms' <<<"$output" >>"$scratch/endpoint_answered-$count"
      call_cni DEL "$bin/weft-cni" "$scratch/cni-$count.json" "weft-$lab-node1" "conv-$count-$round" >/dev/null
      ip netns del "conv-$count-$round"
      output=$("$watch" --expect enforced "${enforced[@]}" -- "$bin/weft" --lab "$lab" --node node1 apply -f "$scratch/policy.yaml") ||
        die "a policy over $count nodes"
      jq .all_ms <<<"$output" >>"$scratch/policy-$count"
      "$watch" --expect open "${enforced[@]}" -- "$bin/weft" --lab "$lab" --node node1 delete networkpolicy default/web >/dev/null ||
        die "a policy over $count nodes"
    done
    for output in endpoint endpoint_answered policy; do
      sample "nodes_converge_$count" "${output}_p50" weft "$(quantile 0.5 "$scratch/$output-$count")"
      sample "nodes_converge_$count" "${output}_p99" weft "$(quantile 0.99 "$scratch/$output-$count")"
    done
    "$bin/weft" lab down --name "$lab" >/dev/null 2>&1 || true
  done
}

quantile() { sort -g "$2" | awk -v q="$1" '{ v[NR] = $1 } END { i = int(q * NR) + 1; if (i > NR) i = NR; print v[i] }'; }

rows_of_nodes() {
  local mode metric count
  for mode in "${node_modes[@]}"; do
    for metric in "stream|throughput|Gbit/s" "rr|p50|us" "rr|p99|us" "crr|rate|1/s"; do
      echo "nodes_$metric|n-$mode|n-${node_peer[$mode]}|$mode against the kernel's $([[ ${node_peer[$mode]} == routed ]] && echo routes || echo VXLAN)"
    done
  done
  for count in 3 20; do
    for metric in endpoint endpoint_answered policy; do
      echo "nodes_converge_$count|${metric}_p50|ms|weft||"
      echo "nodes_converge_$count|${metric}_p99|ms|weft||"
    done
  done
  for metric in "rss_alone|MB" "rss_join|MB" "rss_churn|MB" "rss_cold|MB" "rss_cold_own|MB" "etcd_bytes_per_pod|B" "join_write|s" \
    "join_rest|s" "cold_start|s" "change_p50|ms" "change_p99|ms" "change_sent_p99|ms" "cpu|%" "cni_add|ms"; do
    echo "nodes_scale|$metric|weft||"
  done
}
