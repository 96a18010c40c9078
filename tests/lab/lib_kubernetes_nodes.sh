# A cluster of Kubernetes out of network namespaces: nodes with weftd behind a bridge, and a machine beside them with the
# double of the API server. The test is the controllers and the kubelets. Sourced after lib.sh, with the nodes' store in
# $store; kubernetes_nodes.sh and kubernetes_nodes_etcd.sh run what is here.
# shellcheck shell=bash disable=SC2154

exec 2>"$work/stderr"  # where the shell tells of every process killed
[[ -x $bin/lab_api_server ]] || { echo "$bin/lab_api_server is not built"; exit 2; }
nodes=(node-1 node-2 node-3)
pods=(web-1 web-2 client-1 client-2 client-3 other-2)
control=wkn-$$-control
space_of() { echo "wkn-$$-$1"; }
pod_space() { echo "wkn-$$-pod-$1"; }
cgroups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
kubeconfig=$work/kubeconfig
server='' etcd_process=''
declare -A agent=() node_of=()

take_all_down() {
  kill -9 "${agent[@]}" "$server" "$etcd_process" "${pids[@]}"
  for pod in "${pods[@]}"; do ip netns delete "$(pod_space "$pod")"; done
  for node in "${nodes[@]}"; do
    ip netns delete "$(space_of "$node")"
    rm -rf "/sys/fs/bpf/weft-kn-$$-$node"
    rmdir "$cgroups/weft-kn-$$-$node"
  done
  ip netns delete "$control"
}
cleanup_hooks+=(take_all_down)

# --- The machines
make_space() { ip netns add "$1" && ip -n "$1" link set lo up || stop_test "no namespace $1"; }
make_space "$control"
for pod in "${pods[@]}"; do make_space "$(pod_space "$pod")"; done
ip -n "$control" link add br0 type bridge
ip -n "$control" address add 192.0.2.1/24 dev br0
ip -n "$control" link set br0 up
index=100
for node in "${nodes[@]}"; do
  index=$((index + 1))
  make_space "$(space_of "$node")"
  ip link add up0 netns "$(space_of "$node")" type veth peer name "$node" netns "$control"
  ip -n "$control" link set "$node" master br0 up
  ip -n "$(space_of "$node")" address add "192.0.2.$index/24" dev up0
  ip -n "$(space_of "$node")" link set up0 up
  ip -n "$(space_of "$node")" route add default via 192.0.2.1
  mkdir -p "$cgroups/weft-kn-$$-$node" "$work/$node"
  cat >"$work/$node.yaml" <<YAML
instance: $node
node: $node
state_dir: $work/$node/state
run_dir: $work/$node/run
bpffs: /sys/fs/bpf/weft-kn-$$-$node
cgroup_root: $cgroups/weft-kn-$$-$node
pod_cidrs: [10.221.0.0/16]
service_cidrs: [10.222.0.0/24]
objects: kubernetes
kubeconfig: $kubeconfig
tunnel: vxlan
lease_seconds: 5
reclaim_seconds: 600
flow_table_entries: 4096
log_file: $work/$node/weftd.log
YAML
  if [[ $store == etcd ]]; then
    printf 'store: etcd\netcd_endpoints: ["http://192.0.2.1:2379"]\nnode_cidrs: kubernetes\n' >>"$work/$node.yaml"
  else
    printf 'store: kubernetes\n' >>"$work/$node.yaml"
  fi
done

# --- The API server and its clients
kinds=(weftnodes=WeftNode weftblocks=WeftBlock weftidentities=WeftIdentity weftidentityusers=WeftIdentityUsers
  weftendpoints=WeftEndpoints weftenforcements=WeftEnforcement weftpools=WeftPools weftclaims=WeftClaim)
start_server() {
  local resources=()
  for kind in "${kinds[@]}"; do resources+=(--resource "/apis/weft.io/v1alpha1/$kind"); done
  ip netns exec "$control" "$bin/lab_api_server" --kubeconfig "$kubeconfig" --address 192.0.2.1 --port 6443 --tls --token secret \
    "${resources[@]}" >"$work/server.log" 2>&1 &
  server=$!
  until_true 10 test -s "$kubeconfig" && until_true 10 api GET /api/v1/namespaces || stop_test "no API server: $(cat "$work/server.log")"
}
start_etcd() {
  ip netns exec "$control" etcd --data-dir "$work/etcd" --listen-client-urls http://192.0.2.1:2379 --advertise-client-urls http://192.0.2.1:2379 \
    --listen-peer-urls http://192.0.2.1:2380 --initial-advertise-peer-urls http://192.0.2.1:2380 \
    --initial-cluster default=http://192.0.2.1:2380 >"$work/etcd.log" 2>&1 &
  etcd_process=$!
}
api() { # METHOD PATH [JSON [TYPE]]
  ip netns exec "$control" curl -sS --fail --max-time 5 --cacert "$kubeconfig.ca.pem" -X "$1" -H 'authorization: Bearer secret' \
    ${3:+-H "content-type: ${4:-application/json}" -d "$3"} "https://192.0.2.1:6443$2"
}
create() { api POST "$1" "$2" >/dev/null || depth=2 fail "create in $1"; }
patch() { api PATCH "$1" "$2" application/merge-patch+json >/dev/null || depth=2 fail "patch $1"; }
space=/api/v1/namespaces/shop
slices=/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices
policies=/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies
# shellcheck disable=SC2034
state=/apis/weft.io/v1alpha1
endpoints() { # POD...: what the controller makes of the Service's pods
  local list='' pod
  for pod in "$@"; do
    list+=$(jq -nc --arg a "$(address_of "$pod")" --arg n "${node_of[$pod]}" '{addresses: [$a], conditions: {ready: true}, nodeName: $n}')
  done
  patch $slices/web-1 "{\"endpoints\": $(jq -sc . <<<"$list")}"
}

# --- The kubelets
cni() { # COMMAND POD
  local uid
  uid=$(api GET "$space/pods/$2" | jq -r .metadata.uid)
  printf '{"cniVersion":"1.1.0","name":"weft","type":"weft-cni","socket":"%s"}' "$work/${node_of[$2]}/run/weft.sock" |
    CNI_COMMAND=$1 CNI_CONTAINERID=container-$2 CNI_NETNS=/run/netns/$(pod_space "$2") CNI_IFNAME=eth0 CNI_PATH=$bin \
      CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=$2;K8S_POD_INFRA_CONTAINER_ID=container-$2;K8S_POD_UID=$uid" "$bin/weft-cni"
}
run_pod() { # NAME NODE
  node_of[$1]=$2
  create $space/pods "{\"metadata\": {\"name\": \"$1\", \"labels\": {\"app\": \"${1%-*}\"}},
    \"spec\": {\"nodeName\": \"$2\", \"containers\": [{\"name\": \"c\", \"image\": \"none\"}]}}"
  succeeds "attach $1" cni ADD "$1" || return
  ip netns exec "$(pod_space "$1")" "$traffic" serve 7000 --name "$1" >"$work/serve.$1" 2>&1 &
  pids+=($!)
}
address_of() { ip -n "$(pod_space "$1")" -4 -o address show dev eth0 | awk '{ sub("/.*", "", $4); print $4 }'; }
ask_from() { ip netns exec "$(pod_space "$1")" "$traffic" ask tcp "$2" "$3" --timeout 500; } # POD ADDRESS PORT
gets() { [[ $(ask_from "$1" "$2" "$3") == "ok $4"* ]]; }
gets_nothing() { ! gets "$1" "$2" "$3" ""; }

start_agent() { # NODE
  nsenter --net="/run/netns/$(space_of "$1")" "$bin/weftd" --config "$work/$1.yaml" 2>"$work/$1/err" &
  agent[$1]=$!
  until_true 10 weft_at "$1" status || stop_test "weftd of $1 does not serve: $(cat "$work/$1/err"; tail -n 3 "$work/$1/weftd.log")"
}
weft_at() { "$weft" --socket "$work/$1/run/weft.sock" "${@:2}"; } # NODE COMMAND...
is_joined() { [[ $(weft_at "$1" status -o json | jq .cluster.joined) == "$2" ]]; }
all_alive() { [[ $(weft_at "$1" status -o json | jq .cluster.alive) == "${#nodes[@]}" ]]; }
policy_status() { weft_at "$1" policy status -n shop -o json | jq -c '.[] | select(.name == "web") | [.version, .state, .enforcing, .selected]'; }
policy_is() { [[ $(policy_status "$1") == "$2" ]]; } # NODE STATUS
health() { weft_at "$1" status -o json | jq -r .health; }
is_well() { [[ $(health "$1") == ok ]]; }

run_cluster() {
  step "three nodes join by the API server ($store keeps what they share)"
  start_server
  [[ $store != etcd ]] || start_etcd
  for name in kube-system weft-system shop; do create /api/v1/namespaces "{\"metadata\": {\"name\": \"$name\"}}"; done
  for name in "${nodes[@]}"; do create /api/v1/nodes "{\"metadata\": {\"name\": \"$name\"}}"; done
  create $space/services '{"metadata": {"name": "web"}, "spec": {"type": "ClusterIP", "clusterIP": "10.222.0.80", "clusterIPs": ["10.222.0.80"],
    "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "selector": {"app": "web"}, "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
    "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 7000}]}}'
  create $slices '{"metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4", "endpoints": null,
    "ports": [{"name": "http", "port": 7000, "protocol": "TCP"}]}'
  for node in "${nodes[@]}"; do start_agent "$node"; done
  for node in "${nodes[@]}"; do eventually 15 "$node knows all" all_alive "$node"; done
  run_cluster_hook after_join

  step "pods of different nodes reach each other"
  run_pod web-1 node-1
  run_pod web-2 node-2
  run_pod client-1 node-1
  run_pod client-2 node-2
  run_pod client-3 node-3
  run_pod other-2 node-2
  for client in client-1 client-2 client-3; do
    for web in web-1 web-2; do eventually 10 "$client reaches $web" gets $client "$(address_of $web)" 7000 $web; done
  done

  step "a Service with endpoints on two nodes"
  endpoints web-1 web-2
  for client in client-1 client-2 client-3; do
    for web in web-1 web-2; do eventually 10 "$client gets $web by the Service" gets $client 10.222.0.80 80 $web; done
  done

  step "a policy by labels, across nodes"
  create $policies '{"metadata": {"name": "web", "generation": 1}, "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"],
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]}}'
  eventually 10 "another app is denied from another node" gets_nothing other-2 "$(address_of web-1)" 7000
  eventually 10 "and by the Service" gets_nothing other-2 10.222.0.80 80
  for client in client-1 client-2 client-3; do eventually 10 "$client is allowed" gets $client "$(address_of web-1)" 7000 web-1; done

  step "any node says who enforces it, and in which generation"
  for node in node-1 node-3; do eventually 10 "asked on $node" policy_is $node '["1","enforced",2,2]'; done
  kill -STOP "${agent[node-2]}"
  patch $policies/web '{"metadata": {"generation": 2}, "spec": {"policyTypes": ["Ingress"]}}'
  eventually 10 "node-1 knows the next generation" policy_is node-1 '["2","waiting",1,2]'
  like "the one that stands still is named" "$(weft_at node-3 policy status shop/web)" 'node-2@1'
  kill -CONT "${agent[node-2]}"
  eventually 15 "once it goes on all enforce it" policy_is node-3 '["2","enforced",2,2]'

  step "an agent is killed, with traffic going on"
  ip netns exec "$(pod_space client-3)" "$traffic" load tcp 10.222.0.80 80 --seconds 30 --threads 1 --pause 4 >"$work/load" 2>&1 &
  load=$!
  kill -9 "${agent[node-2]}"
  sleep 1
  gets client-2 "$(address_of web-1)" 7000 web-1 || fail "a pod of the node without an agent"
  start_agent node-2
  eventually 15 "it joins again" is_joined node-2 true
  run_cluster_hook after_restart
  eventually 10 "its pods are reached" gets client-1 "$(address_of web-2)" 7000 web-2

  step "the API server is away for longer than a lease lasts"
  ip -n "$control" address delete 192.0.2.1/24 dev br0
  eventually 20 "node-1 says so" is_joined node-1 false
  gets client-1 "$(address_of web-2)" 7000 web-2 || fail "another node's pod while the API server is away"
  gets client-3 10.222.0.80 80 web || fail "the Service while the API server is away"
  sleep 3
  ip -n "$control" address add 192.0.2.1/24 dev br0
  for node in "${nodes[@]}"; do eventually 30 "$node joins again" is_joined "$node" true; done
  wait "$load"
  is "no connection failed all the while" "$(jq -c '[.failed, .good > 500]' "$work/load")" '[0,true]'
  # Only now: a question that is on its way to an endpoint is cut off with it.
  endpoints web-2
  only_web_2() { for _ in 1 2 3 4 5 6; do gets "$1" 10.222.0.80 80 web-2 || return; done; }
  for client in client-1 client-2 client-3; do eventually 30 "what has changed meanwhile is heard by $client's node" only_web_2 $client; done
  for node in "${nodes[@]}"; do eventually 30 "$node is well" is_well "$node"; done

  step "a pod goes, and with it what others know of it"
  exits 0 "detach web-1" cni DEL web-1
  eventually 10 "it is not reached" gets_nothing client-2 "$(address_of web-1)" 7000
  run_cluster_hook at_the_end
  finish
}
run_cluster_hook() { declare -F "$1" >/dev/null && "$1"; }
