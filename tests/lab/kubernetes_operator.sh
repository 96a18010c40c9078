#!/usr/bin/env bash
# Operators of a Kubernetes cluster: an API server (a double of it), etcd for what nodes share, a node that serves what
# the operator gives out, a client on its link. Addresses of Services, pools that shrink, an operator that is killed;
# pools of pods' addresses that go when nobody has any of them; the definitions of Weft's resources.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"

[[ -x $(command -v etcd) ]] || { echo "skipped: etcd is not installed"; exit 77; }
exec 2>"$work/stderr"  # where the shell tells of every process killed
for program in lab_api_server weft-operator; do
  [[ -x $bin/$program ]] || { echo "$bin/$program is not built"; exit 2; }
done
node=wkop-$$ control=wkop-$$-control
pods=(web-1 blue-1)
pins=/sys/fs/bpf/weft-kop-$$
cgroup=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)/weft-kop-$$
socket=$work/run/weft.sock
kubeconfig=$work/kubeconfig
agent='' server='' store=''
declare -A operators=()
name_of() { echo "$node-pod-$1"; }

take_all_down() {
  kill -9 "$agent" "$server" "$store" "${operators[@]}" "${pids[@]}"
  for pod in "${pods[@]}"; do ip netns delete "$(name_of "$pod")"; done
  ip netns delete "$node"
  ip netns delete "$control"
  rm -rf "$pins"
  rmdir "$cgroup"
}
cleanup_hooks+=(take_all_down)
for space in "$node" "$control"; do
  ip netns add "$space" && ip -n "$space" link set lo up || stop_test "no namespace $space"
done
for pod in "${pods[@]}"; do ip netns add "$(name_of "$pod")" && ip -n "$(name_of "$pod")" link set lo up; done
ip link add up0 netns "$node" type veth peer name up0 netns "$control"
for at in "$node 192.0.2.2" "$control 192.0.2.1"; do
  read -r space address <<<"$at"
  ip -n "$space" address add "$address/24" dev up0
  ip -n "$space" link set up0 up
done
ip -n "$node" route add default via 192.0.2.1
mkdir -p "$cgroup" "$work/crds"
cat >"$work/weftd.yaml" <<YAML
instance: node
node: node-a
state_dir: $work/state
run_dir: $work/run
bpffs: $pins
cgroup_root: $cgroup
pod_cidrs: [10.221.0.0/16]
service_cidrs: [10.222.0.0/24]
quarantine_seconds: 1
store: etcd
etcd_endpoints: ["http://192.0.2.1:2379"]
objects: kubernetes
kubeconfig: $kubeconfig
flow_table_entries: 4096
log_file: $work/weftd.log
YAML
cat >"$work/crds/podaddresspools.weft.io.yaml" <<YAML
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: podaddresspools.weft.io
spec: {group: weft.io, scope: Cluster}
YAML

# --- The control plane
own=/apis/weft.io/v1alpha1
start_server() {
  ip netns exec "$control" "$bin/lab_api_server" --kubeconfig "$kubeconfig" --address 192.0.2.1 --port 6443 --tls --token secret \
    --resource $own/loadbalancerpools=LoadBalancerPool --resource $own/l2announcements=L2Announcement \
    --resource $own/podaddresspools=PodAddressPool --resource $own/weftpolicystatuses=WeftPolicyStatus:whole >"$work/server.log" 2>&1 &
  server=$!
  until_true 10 test -s "$kubeconfig" && until_true 10 api GET /api/v1/namespaces || stop_test "no API server: $(cat "$work/server.log")"
}
start_etcd() {
  ip netns exec "$control" etcd --data-dir "$work/etcd" --listen-client-urls http://192.0.2.1:2379 \
    --advertise-client-urls http://192.0.2.1:2379 --listen-peer-urls http://127.0.0.1:2380 --log-level error >"$work/etcd.log" 2>&1 &
  store=$!
}
start_operator() { # NAME
  cat >"$work/$1.yaml" <<YAML
name: $1
store: etcd
etcd_endpoints: ["http://192.0.2.1:2379"]
objects: kubernetes
kubeconfig: $kubeconfig
kubernetes_namespace: weft-system
crds: $work/crds
health_address: 127.0.0.1:944${1: -1}
log_file: $work/$1.log
YAML
  ip netns exec "$control" "$bin/weft-operator" --config "$work/$1.yaml" 2>"$work/$1.err" &
  operators[$1]=$!
}
ready() { # NAME
  ip netns exec "$control" curl -sS --fail --max-time 2 "http://127.0.0.1:944${1: -1}/readyz"
}
api() { # METHOD PATH [JSON [TYPE]]
  ip netns exec "$control" curl -sS --fail --max-time 5 --cacert "$kubeconfig.ca.pem" -X "$1" -H 'authorization: Bearer secret' \
    ${3:+-H "content-type: ${4:-application/json}" -d "$3"} "https://192.0.2.1:6443$2"
}
create() { api POST "$1" "$2" >/dev/null || depth=2 fail "create in $1"; }
patch() { api PATCH "$1" "$2" application/merge-patch+json >/dev/null || depth=2 fail "patch $1"; }
erase() { api DELETE "$1" >/dev/null || depth=2 fail "delete $1"; }
space=/api/v1/namespaces/shop
leads() { [[ $(api GET /apis/coordination.k8s.io/v1/namespaces/weft-system/leases/weft-operator | jq -r .spec.holderIdentity) == "$1"_* ]]; }
address_of_service() { api GET "$space/services/$1" | jq -r '.status.loadBalancer.ingress // [] | map(.ip) | join(" ")'; }
has() { [[ $(address_of_service "$1") == "$2" ]]; }
condition() { # PATH TYPE
  api GET "$1" | jq -r --arg type "$2" '.status.conditions // [] | .[] | select(.type == $type) | "\(.status) \(.reason) \(.message)"'
}
says() { [[ $(condition "$1" "$2") =~ $3 ]]; }
balanced() { # NAME CLUSTERIP
  create $space/services "{\"metadata\": {\"name\": \"$1\"}, \"spec\": {\"type\": \"LoadBalancer\", \"clusterIP\": \"$2\", \"clusterIPs\": [\"$2\"],
    \"ipFamilies\": [\"IPv4\"], \"ipFamilyPolicy\": \"SingleStack\", \"allocateLoadBalancerNodePorts\": false,
    \"ports\": [{\"name\": \"http\", \"port\": 80, \"protocol\": \"TCP\", \"targetPort\": 7000}]}}"
  create /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices "{\"metadata\": {\"name\": \"$1-1\", \"labels\": {\"kubernetes.io/service-name\": \"$1\"}},
    \"addressType\": \"IPv4\", \"ports\": [{\"name\": \"http\", \"port\": 7000, \"protocol\": \"TCP\"}],
    \"endpoints\": [{\"addresses\": [\"$(address_of web-1)\"], \"conditions\": {\"ready\": true}, \"nodeName\": \"node-a\"}]}"
}

# --- The kubelet
make_pod() { # NAME [ANNOTATIONS]
  create $space/pods "{\"metadata\": {\"name\": \"$1\", \"labels\": {\"app\": \"${1%-*}\"}, \"annotations\": ${2:-{\}}},
    \"spec\": {\"nodeName\": \"node-a\", \"containers\": [{\"name\": \"c\", \"image\": \"none\"}]}}"
}
cni() { # COMMAND POD
  local uid
  uid=$(api GET "$space/pods/$2" | jq -r .metadata.uid)
  printf '{"cniVersion":"1.1.0","name":"weft","type":"weft-cni","socket":"%s"}' "$socket" |
    CNI_COMMAND=$1 CNI_CONTAINERID=container-$2 CNI_NETNS=/run/netns/$(name_of "$2") CNI_IFNAME=eth0 CNI_PATH=$bin \
      CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=$2;K8S_POD_INFRA_CONTAINER_ID=container-$2;K8S_POD_UID=$uid" "$bin/weft-cni"
}
address_of() { ip -n "$(name_of "$1")" -4 -o address show dev eth0 | awk '{ sub("/.*", "", $4); print $4 }'; }
gets() { [[ $(ip netns exec "$control" "$traffic" ask tcp "$1" "$2" --timeout 1000) == "ok $3"* ]]; }
gets_nothing() { ! gets "$1" "$2" ""; }
weft_here() { "$weft" --socket "$socket" "$@"; }
start_agent() {
  nsenter --net="/run/netns/$node" "$bin/weftd" --config "$work/weftd.yaml" 2>"$work/err" &
  agent=$!
  until_true 10 weft_here status || stop_test "weftd does not serve: $(cat "$work/err"; tail -n 3 "$work/weftd.log")"
}
taken() { weft_here status -o json | jq -e '.kubernetes.taken'; }

step "a control plane, an operator, a node"
start_server
start_etcd
create /api/v1/namespaces '{"metadata": {"name": "shop"}}'
create /api/v1/nodes '{"metadata": {"name": "node-a"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.2"}]}}'
start_operator operator1
eventually 15 "operator1 acts" leads operator1
eventually 10 "it is ready" ready operator1
start_agent
eventually 10 "the node has taken what the server has" taken
crd_version() { api GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions/podaddresspools.weft.io | jq -r '.metadata.annotations["weft.io/version"]'; }
eventually 5 "the definition is installed" crd_version
is "of this version" "$(crd_version)" "$("$bin/weft-operator" --version | awk '{print $2}')"
make_pod web-1
eventually 20 "attach web-1" cni ADD web-1
ip netns exec "$(name_of web-1)" "$traffic" serve 7000 --name web-1 >"$work/serve.web-1" 2>&1 &
pids+=($!)

step "which nodes enforce a policy"
policy=/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies
status=$own/namespaces/shop/weftpolicystatuses
create $policy '{"metadata": {"name": "web", "generation": 1}, "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{}]}}'
create $policy '{"metadata": {"name": "idle", "generation": 1}, "spec": {"podSelector": {"matchLabels": {"app": "nobody"}}}}'
eventually 10 "the node does, and it is told" says $status/web Enforced '^True Enforced'
is "of how many nodes" "$(api GET $status/web | jq -c '[.status.observedGeneration, .status.summary]')" '[1,"1/1"]'
eventually 10 "nobody has pods of the other" says $status/idle Enforced '^True NoPods'
kill -STOP "$agent"
patch $policy/web '{"metadata": {"generation": 2}, "spec": {"policyTypes": ["Ingress"]}}'
eventually 5 "an agent that stands still is behind" says $status/web Enforced '^Unknown NodesBehind node-a: '
is "it is named" "$(api GET $status/web | jq -c '.status.nodesBehind | map([.node, .generation])')" '[["node-a",1]]'
kill -CONT "$agent"
eventually 10 "it goes on, and the new generation is in force" says $status/web Enforced '^True Enforced'
is "that one" "$(api GET $status/web | jq -c .status.observedGeneration)" 2
erase $policy/web
erase $policy/idle
none_left() { [[ $(api GET $own/weftpolicystatuses | jq '.items | length') == 0 ]]; }
eventually 5 "statuses go with their policies" none_left

step "a LoadBalancer Service gets its address, and a client outside is served there"
create $own/l2announcements '{"metadata": {"name": "all"}, "spec": {}}'
balanced web 10.222.0.80
sleep 1
is "without a pool" "$(address_of_service web)" ""
create $own/loadbalancerpools '{"metadata": {"name": "public"}, "spec": {"addresses": ["192.0.2.50-192.0.2.51"]}}'
eventually 5 "it has an address" has web 192.0.2.50
eventually 20 "it is served to a client on the link" gets 192.0.2.50 80 web-1
eventually 5 "the pool says how many are given" says $own/loadbalancerpools/public Accepted True
given() { [[ $(api GET $own/loadbalancerpools/public | jq -c .status.addresses) == '{"given":1,"total":2}' ]]; }
eventually 5 "one is given" given
events() { api GET "/apis/events.k8s.io/v1/namespaces/shop/events" | jq -e --arg r "$1" '.items | any(.reason == $r and .regarding.name == "web")'; }
eventually 5 "an Event says so" events AddressGiven

step "the pool shrinks: the address goes, and another one comes"
patch $own/loadbalancerpools/public '{"spec": {"addresses": ["192.0.2.51"]}}'
eventually 5 "it has the one that is left" has web 192.0.2.51
eventually 20 "that one is served" gets 192.0.2.51 80 web-1
eventually 5 "the other one is not" gets_nothing 192.0.2.50 80
balanced second 10.222.0.81
eventually 5 "the second waits" says $space/services/second weft.io/AddressGiven 'False NoAddress every IPv4 address of LoadBalancerPool public is taken'

step "the operator is killed: another one takes over, nothing moves"
start_operator operator2
eventually 10 "operator2 is ready" ready operator2
leads operator1 || fail "operator1 acts still"
before=$(api GET $space/services/web | jq -r .metadata.resourceVersion)
kill -9 "${operators[operator1]}"
gets 192.0.2.51 80 web-1 || fail "the Service without an operator"
began=$EPOCHREALTIME
eventually 40 "operator2 acts" leads operator2
say "         after $(seconds_since "$began") s"
patch $own/loadbalancerpools/public '{"spec": {"addresses": ["192.0.2.51-192.0.2.53"]}}'
eventually 5 "the second one has an address" has second 192.0.2.52
is "the first one is as it was" "$(api GET $space/services/web | jq -r .metadata.resourceVersion)" "$before"
eventually 20 "both are served" gets 192.0.2.52 80 web-1

step "asked to end, it leaves at once"
start_operator operator1
eventually 10 "operator1 is ready" ready operator1
kill -TERM "${operators[operator2]}"
eventually 5 "operator1 acts" leads operator1

step "a pool of pods' addresses: in use it stays, whoever deletes it"
create $own/podaddresspools '{"metadata": {"name": "blue"}, "spec": {"cidrs": [{"cidr": "10.230.0.0/24", "blockLength": 28}]}}'
eventually 10 "it is accepted" says $own/podaddresspools/blue Accepted '^True'
pool_here() { weft_here ipam list -o json | grep -q 10.230.0.0; }
eventually 5 "the node knows it" pool_here
make_pod blue-1 '{"weft.io/address-pool": "blue"}'
eventually 20 "attach blue-1" cni ADD blue-1
like "its address" "$(address_of blue-1)" '^10\.230\.0\.'
erase $own/podaddresspools/blue
eventually 10 "it is in use" says $own/podaddresspools/blue Accepted '^False InUse .*of node node-a'
is "it is there" "$(api GET $own/podaddresspools/blue | jq -r '.metadata.finalizers[0]')" weft.io/pool
exits 0 "detach" cni DEL blue-1
pool_gone() { ! api GET $own/podaddresspools/blue; }
eventually 40 "it is gone when nobody has any of it" pool_gone

step "the API server is away for a while"
kill -9 $server
away() { ! ready operator1; }
eventually 30 "the operator is not ready" away
gets 192.0.2.51 80 web-1 || fail "the Service while the server is away"
finish
