# Benchmarks of a node of Kubernetes; sourced by tools/bench inside its own namespaces, after nodes.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# A large cluster's API server, and one agent that follows it.
bench_k8s() {
  local nodes=5000 pods=100000 services=10000 own=150 answer start pid crowd_pid at count
  [[ $peers_only -eq 0 ]] || return 0
  if [[ $quick -eq 1 ]]; then nodes=1000 pods=50000 services=2000; fi
  say "an API server with $nodes nodes, $pods pods, $services services"
  make_nodes k8s
  configure_node k8s1 bench "" "objects: kubernetes" "kubeconfig: $scratch/k8s.kubeconfig" "quarantine_seconds: 0" \
    "service_table_entries: 131072" "backend_table_entries: 262144"
  sed -i '/^store: /d; /^etcd_endpoints: /d; s/^pod_cidrs: .*/pod_cidrs: [10.70.0.0\/16]/; s/^service_cidrs: .*/service_cidrs: [10.96.0.0\/12]/' \
    "$scratch/k8s1/weftd.yaml"
  mkfifo "$scratch/to_k8s" "$scratch/from_k8s"
  nsenter --net=/run/netns/k8s2-h "$bin/kubernetes_crowd" --kubeconfig "$scratch/k8s.kubeconfig" --address 192.0.2.2 --node bench \
    --pins "/sys/fs/bpf/weft/$instance-k8s1" --nodes "$nodes" --pods "$pods" --services "$services" --own-pods "$own" \
    --changes "$((quick == 1 ? 3000 : 20000))" --rate 1000 \
    <"$scratch/to_k8s" >"$scratch/from_k8s" 2>"$scratch/k8s.log" &
  crowd_pid=$!
  exec {to_k8s}>"$scratch/to_k8s" {from_k8s}<"$scratch/from_k8s"
  k8s_answer() {
    until read -r -t 2 answer <&"$from_k8s"; do
      kill -0 "$crowd_pid" 2>/dev/null || die "the API server ended: $(cat "$scratch/k8s.log")"
    done
    printf '%s\t%s\n' "$1" "$answer" >>"$scratch/k8s.tsv"
  }
  ask_k8s() {
    echo "$1" >&"$to_k8s"
    k8s_answer "$1"
  }
  k8s_answer filled
  for at in first again; do
    # `first`: with nothing but the server; `again`: with all of it in its store, as after a crash.
    start=$EPOCHREALTIME
    run_agent k8s1
    ask_k8s wait
    sample k8s_sync "${at}_seconds" weft "$(elapsed "$start")"
    # Lists are long, and what they took is given back soon after.
    sleep 3
    pid=$(cat "$scratch/k8s1/pid")
    sample k8s_sync "${at}_rss" weft "$(awk '/^VmRSS/ {print $2 / 1000}' "/proc/$pid/status")"
    sample k8s_sync "${at}_rss_peak" weft "$(awk '/^VmHWM/ {print $2 / 1000}' "/proc/$pid/status")"
    [[ $at == again ]] || stop_agent k8s1
  done
  sample k8s_sync own_rss weft "$(awk '/^RssAnon/ {print $2 / 1000}' "/proc/$pid/status")"
  ask_k8s services
  sample_json k8s_change weft "$answer" service_p50=p50_ms service_p99=p99_ms
  k8s_pods 40 0 1
  k8s_pods 10 40 10
  k8s_pods 100 50 100
  ask_k8s policies
  sample_json k8s_change weft "$answer" policy_p50=p50_ms policy_p99=p99_ms
  exec {to_k8s}>&- {from_k8s}<&-
  stop_agent k8s1
  wait "$crowd_pid" 2>/dev/null || true
}

# The nodes of a large cluster as they tell of themselves in the API server, and one agent that keeps its state there too.
bench_k8s_state() {
  local nodes=1000 pods=50 answer start pid crowd_pid at map
  [[ $peers_only -eq 0 ]] || return 0
  say "one agent among $nodes nodes with $((nodes * pods)) pods, told in the API server"
  make_nodes state
  configure_node state1 bench "" "objects: kubernetes" "kubeconfig: $scratch/state.kubeconfig" "tunnel: vxlan" "kubernetes_namespace: weft-system" "pod_block_length_v4: 24"
  sed -i '/^etcd_endpoints: /d; s/^store: .*/store: kubernetes/; s/^pod_cidrs: .*/pod_cidrs: [100.64.0.0\/10]/' "$scratch/state1/weftd.yaml"
  map=/sys/fs/bpf/weft/$instance-state1/maps/weft_remote_v1
  mkfifo "$scratch/to_state" "$scratch/from_state"
  nsenter --net=/run/netns/state2-h "$bin/state_crowd" --kubeconfig "$scratch/state.kubeconfig" --address 192.0.2.2 --map "$map" \
    --nodes "$nodes" --pods "$pods" <"$scratch/to_state" >"$scratch/from_state" 2>"$scratch/state.log" &
  crowd_pid=$!
  exec {to_state}>"$scratch/to_state" {from_state}<"$scratch/from_state"
  state_answer() {
    until read -r -t 2 answer <&"$from_state"; do
      kill -0 "$crowd_pid" 2>/dev/null || die "the API server ended: $(cat "$scratch/state.log")"
    done
  }
  state_answer
  for at in first again; do
    start=$EPOCHREALTIME
    run_agent state1
    echo wait >&"$to_state"
    state_answer
    sample k8s_state "${at}_seconds" weft "$(elapsed "$start")"
    pid=$(cat "$scratch/state1/pid")
    sample k8s_state "${at}_cpu" weft "$(awk -v hz="$(getconf CLK_TCK)" '{print ($14 + $15) / hz}' "/proc/$pid/stat")"
    sample k8s_state "${at}_server_cpu" weft "$(awk -v hz="$(getconf CLK_TCK)" '{print ($14 + $15) / hz}' "/proc/$crowd_pid/stat")"
    sleep 3
    sample k8s_state "${at}_rss" weft "$(awk '/^VmRSS/ {print $2 / 1000}' "/proc/$pid/status")"
    sample k8s_state "${at}_rss_peak" weft "$(awk '/^VmHWM/ {print $2 / 1000}' "/proc/$pid/status")"
    sample k8s_state "${at}_rss_own" weft "$(awk '/^RssAnon/ {print $2 / 1000}' "/proc/$pid/status")"
    stop_agent state1
  done
  exec {to_state}>&- {from_state}<&-
  wait "$crowd_pid" 2>/dev/null || true
}

# COUNT pods, the pod FIRST and those after it, AT_ONCE at once.
k8s_pods() {
  local times
  times=$("$bin/netbench" cni-burst --plugin "$bin/weft-cni" --config "$scratch/k8s1/cni.json" --cni-path "$bin" --host-netns /run/netns/k8s1-h \
    --namespace own --first "$2" --count "$1" --at-once "$3") || die "pods were not attached: $(tail -n 3 "$scratch/k8s1/weftd.log")"
  sample_json k8s_add weft "$times" "p50_$3=add_p50_ms" "p99_$3=add_p99_ms"
}

rows_of_k8s() {
  local metric at
  for metric in "first_seconds|s" "first_rss|MB" "first_rss_peak|MB" "again_seconds|s" "again_rss|MB" "again_rss_peak|MB" "own_rss|MB"; do
    echo "k8s_sync|$metric|weft||"
  done
  for at in first again; do
    for metric in "seconds|s" "cpu|s" "server_cpu|s" "rss|MB" "rss_peak|MB" "rss_own|MB"; do echo "k8s_state|${at}_$metric|weft||"; done
  done
  for metric in "service_p50|ms" "service_p99|ms" "policy_p50|ms" "policy_p99|ms"; do echo "k8s_change|$metric|weft||"; done
  for metric in p50_1 p99_1 p50_10 p99_10 p50_100 p99_100; do echo "k8s_add|$metric|ms|weft||"; done
}
