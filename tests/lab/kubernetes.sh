#!/usr/bin/env bash
# A node of Kubernetes: weftd follows an API server (a double of it, by TLS and token), the test is its controllers and
# its kubelet, which calls the plugin as one does. Services, NodePorts and policies with real traffic; then trouble.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"

exec 2>"$work/stderr"  # where the shell tells of every process killed
[[ -x $bin/lab_api_server ]] || { echo "$bin/lab_api_server is not built"; exit 2; }
node=wk8s-$$ control=wk8s-$$-control
pods=(web-1 web-2 client-1 other-1 late-1)
pins=/sys/fs/bpf/weft-k8s-$$
cgroup=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)/weft-k8s-$$
socket=$work/run/weft.sock
kubeconfig=$work/kubeconfig
agent='' server=''
name_of() { echo "$node-pod-$1"; }

take_all_down() {
  kill -9 "$agent" "$server" "${pids[@]}"
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
mkdir -p "$cgroup"
cat >"$work/weftd.yaml" <<YAML
instance: node
node: node-a
state_dir: $work/state
run_dir: $work/run
bpffs: $pins
cgroup_root: $cgroup
pod_cidrs: [10.221.0.0/24]
service_cidrs: [10.222.0.0/24]
objects: kubernetes
kubeconfig: $kubeconfig
flow_table_entries: 4096
log_file: $work/weftd.log
YAML

# --- The API server and its clients
start_server() {
  ip netns exec "$control" "$bin/lab_api_server" --kubeconfig "$kubeconfig" --address 192.0.2.1 --port 6443 --tls --token secret \
    >"$work/server.log" 2>&1 &
  server=$!
  until_true 10 test -s "$kubeconfig" && until_true 10 api GET /api/v1/namespaces || stop_test "no API server: $(cat "$work/server.log")"
}
api() { # METHOD PATH [JSON [TYPE]]
  ip netns exec "$control" curl -sS --fail --max-time 5 --cacert "$kubeconfig.ca.pem" -X "$1" -H 'authorization: Bearer secret' \
    ${3:+-H "content-type: ${4:-application/json}" -d "$3"} "https://192.0.2.1:6443$2"
}
create() { api POST "$1" "$2" >/dev/null || depth=2 fail "create in $1"; }
patch() { api PATCH "$1" "$2" application/merge-patch+json >/dev/null || depth=2 fail "patch $1"; }
trouble() { api POST /weft-test/faults "$1" >/dev/null || depth=2 fail "trouble $1"; }
space=/api/v1/namespaces/shop
slices=/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices
policies=/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies
make_pod() { # NAME: as the scheduler leaves it
  create $space/pods "{\"metadata\": {\"name\": \"$1\", \"labels\": {\"app\": \"${1%-*}\"}},
    \"spec\": {\"nodeName\": \"node-a\", \"containers\": [{\"name\": \"c\", \"image\": \"none\"}]}}"
}
endpoints() { # ADDRESS...: what the controller makes of the Service's pods
  local list
  list=$(printf '%s\n' "$@" | jq -R . | jq -sc 'map(select(. != "") | {addresses: [.], conditions: {ready: true}, nodeName: "node-a"})')
  patch $slices/web-1 "{\"endpoints\": $list}"
}

# --- The kubelet
cni() { # COMMAND POD
  local uid
  uid=$(api GET "$space/pods/$2" | jq -r .metadata.uid)
  printf '{"cniVersion":"1.1.0","name":"weft","type":"weft-cni","socket":"%s"}' "$socket" |
    CNI_COMMAND=$1 CNI_CONTAINERID=container-$2 CNI_NETNS=/run/netns/$(name_of "$2") CNI_IFNAME=eth0 CNI_PATH=$bin \
      CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=$2;K8S_POD_INFRA_CONTAINER_ID=container-$2;K8S_POD_UID=$uid" "$bin/weft-cni"
}
run_pod() { # NAME: its address is in $output's result
  succeeds "attach $1" cni ADD "$1" || return
  ip netns exec "$(name_of "$1")" "$traffic" serve 7000 --name "$1" >"$work/serve.$1" 2>&1 &
  pids+=($!)
}
address_of() { ip -n "$(name_of "$1")" -4 -o address show dev eth0 | awk '{ sub("/.*", "", $4); print $4 }'; }
ask_from() { # POD|control ADDRESS PORT
  local from=$1
  [[ $from == control ]] && from=$control || from=$(name_of "$from")
  ip netns exec "$from" "$traffic" ask tcp "$2" "$3" --timeout 500
}
gets() { [[ $(ask_from "$1" "$2" "$3") == "ok $4"* ]]; }
gets_nothing() { ! gets "$1" "$2" "$3" ""; }

start_agent() {
  nsenter --net="/run/netns/$node" "$bin/weftd" --config "$work/weftd.yaml" 2>"$work/err" &
  agent=$!
  until_true 10 weft_here status || stop_test "weftd does not serve: $(cat "$work/err"; tail -n 3 "$work/weftd.log")"
}
weft_here() { "$weft" --socket "$socket" "$@"; }
taken() { weft_here status -o json | jq -e '.kubernetes.taken'; }
health() { weft_here status -o json | jq -r .health; }

step "a node starts with an API server that has a Service"
start_server
create /api/v1/namespaces '{"metadata": {"name": "shop", "labels": {"team": "blue"}}}'
for pod in web-1 client-1 other-1; do make_pod $pod; done
create $space/services '{"metadata": {"name": "web"}, "spec": {"type": "NodePort", "clusterIP": "10.222.0.80", "clusterIPs": ["10.222.0.80"],
  "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "selector": {"app": "web"}, "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
  "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 7000, "nodePort": 30080}]}}'
create $slices '{"metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4", "endpoints": null,
  "ports": [{"name": "http", "port": 7000, "protocol": "TCP"}]}'
start_agent
eventually 10 "it has taken what the server has" taken
for pod in web-1 client-1 other-1; do run_pod $pod; done
endpoints "$(address_of web-1)"
eventually 5 "the ClusterIP" gets client-1 10.222.0.80 80 web-1
eventually 5 "the NodePort" gets control 192.0.2.2 30080 web-1
is "health" "$(health)" ok
like "the pod's labels" "$(weft_here endpoint list -o json | jq -c '.[] | select(.pod == "web-1") | .labels')" 'k8s:app=web'

step "a policy, a second endpoint, a namespace's labels"
create $policies '{"metadata": {"name": "web"}, "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"],
  "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}, {"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]}}'
eventually 5 "it denies" gets_nothing other-1 10.222.0.80 80
eventually 5 "it allows" gets client-1 10.222.0.80 80 web-1
make_pod web-2
run_pod web-2
endpoints "$(address_of web-1)" "$(address_of web-2)"
eventually 5 "the second one answers, too" gets client-1 10.222.0.80 80 web-2
endpoints "$(address_of web-2)"
patch $policies/web '{"spec": {"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}}]}]}}'
eventually 5 "another team's" gets_nothing client-1 10.222.0.80 80
patch /api/v1/namespaces/shop '{"metadata": {"labels": {"team": "red"}}}'
eventually 5 "the namespace is that team's now" gets client-1 10.222.0.80 80 web-2

step "a pod is attached before the watch tells of it"
trouble '{"hush": true}'
make_pod late-1
(sleep 1; trouble '{"hush": false, "watches": "break"}') &
speaks_again=$!
run_pod late-1
wait $speaks_again
like "it has its labels" "$(weft_here endpoint list -o json | jq -c '.[] | select(.pod == "late-1") | .labels')" 'k8s:app=late'

step "watches that break, versions that are forgotten, a server that is throttled"
ip netns exec "$(name_of client-1)" "$traffic" load tcp 10.222.0.80 80 --seconds 30 --threads 1 --pause 4 >"$work/load" 2>&1 &
load=$!
for round in 1 2 3; do
  trouble '{"watches": "break", "compact": true}'
  trouble '{"fail": {"method": "GET", "path": "endpointslices", "status": 429, "retry_after": 1, "times": 1}}'
  create /api/v1/namespaces "{\"metadata\": {\"name\": \"round-$round\"}}"
  # None goes: a question that is on its way to one would be cut off with it.
  endpoints "$([[ $round -gt 1 ]] && address_of web-1)" "$(address_of web-2)"
  known() { weft_here get namespace "round-$round"; }
  eventually 45 "round $round is heard of" known
done

step "nothing comes back from the server, and then the machine itself is why"
problem() { weft_here status | grep "the Kubernetes API server (https://192.0.2.1:6443) has not been heard of since" >"$work/problem"; }
says() { problem && grep -qF "$1" "$work/problem"; }
hears_again() { ! problem; }
# The machine of the server is there, and drops what comes.
ip netns exec "$control" nft add table inet cut
ip netns exec "$control" nft 'add chain inet cut in { type filter hook input priority 0; policy drop; }'
eventually 10 "it says so" problem
is "what it says of the machine itself" "$(grep -c 'this machine' "$work/problem")" 0
ip netns exec "$control" nft delete table inet cut
eventually 30 "it is heard again" hears_again
ip -n "$node" address add 192.0.2.1/32 dev lo
eventually 15 "an address of the node's own is named" says "192.0.2.1 is an address of this machine itself, on lo"
ip -n "$node" address del 192.0.2.1/32 dev lo
eventually 30 "it is heard again" hears_again
ip -n "$control" link set up0 down
eventually 15 "a device without a carrier is named" says "192.0.2.1 is sent to by up0, which has no carrier"
ip -n "$control" link set up0 up
eventually 30 "it is heard again" hears_again

step "the server is away: traffic goes on, also through a restart of weftd"
kill -9 $server
says_away() { weft_here status | grep -q "the Kubernetes API server (https://192.0.2.1:6443) has not been heard of since"; }
eventually 15 "it says so" says_away
is "health" "$(health)" degraded
gets client-1 10.222.0.80 80 web || fail "the Service while the server is away"
kill -9 $agent
start_agent
gets client-1 10.222.0.80 80 web || fail "the Service after a start without the server"
exits 1 "apply" weft_here apply -f - <<<'{apiVersion: v1, kind: Namespace, metadata: {name: here}}'
like "where objects come from" "$output" 'those of the Kubernetes API server https://192.0.2.1:6443; nothing was changed'
wait $load
is "nothing was lost all the while" "$(jq -c '[.failed, .good > 500]' "$work/load")" '[0,true]'

step "the server is back, without what was deleted meanwhile"
rm -f "$kubeconfig"  # the new one's certificate is another
start_server
create /api/v1/namespaces '{"metadata": {"name": "shop"}}'
kill -9 $agent
start_agent
eventually 10 "it has taken what the server has" taken
eventually 5 "the Service is gone" gets_nothing client-1 10.222.0.80 80
for pod in web-1 web-2 client-1 other-1 late-1; do
  exits 0 "detach $pod" cni DEL $pod
done
none_is_left() { [[ $(weft_here endpoint list -o json | jq length) == 0 ]]; }
eventually 5 "no endpoint is left" none_is_left
finish
