#!/usr/bin/env bash
# Pods that are not as others: static ones, whose uid the kubelet and the API server call differently, and those in the
# node's own network; as backends, as clients, and under policies. A tenant whose Services fill the tables keeps out
# nobody else's, also after the agent was killed.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_kubernetes.sh
. "$(dirname "$0")/lib_kubernetes.sh"

exec 2>"$work/stderr"  # where the shell tells of every process killed
make_node_and_control
for pod in proxy-node-a client-1 other-1; do make_namespace "$(name_of $pod)"; done
write_config <<YAML
node: node-a
pod_cidrs: [10.221.0.0/24]
service_cidrs: [10.222.0.0/23]
kubeconfig: $kubeconfig
service_table_entries: 64
YAML
make_pod() { # NAME [ANNOTATIONS [SPEC]]
  create $space/pods "{\"metadata\": {\"name\": \"$1\", \"labels\": {\"app\": \"${1%%-*}\"}, \"annotations\": ${2:-{\}}},
    \"spec\": {\"nodeName\": \"node-a\", ${3:-} \"containers\": [{\"name\": \"c\", \"image\": \"none\"}]}}"
}
serve() { # POD|node PORT: it answers by that name
  local where=$node
  [[ $1 == node ]] || where=$(name_of "$1")
  ip netns exec "$where" "$traffic" serve "$2" --name "$1" >"$work/serve.$1" 2>&1 &
  pids+=($!)
}
address_of() { ip -n "$(name_of "$1")" -4 -o address show dev eth0 | awk '{ sub("/.*", "", $4); print $4 }'; }
service() { # NAMESPACE NAME CLUSTERIP TARGET ADDRESS
  create "/api/v1/namespaces/$1/services" "{\"metadata\": {\"name\": \"$2\"}, \"spec\": {\"type\": \"ClusterIP\", \"clusterIP\": \"$3\", \"clusterIPs\": [\"$3\"],
    \"ipFamilies\": [\"IPv4\"], \"ipFamilyPolicy\": \"SingleStack\", \"internalTrafficPolicy\": \"Cluster\", \"sessionAffinity\": \"None\",
    \"ports\": [{\"port\": 80, \"protocol\": \"TCP\", \"targetPort\": $4}]}}"
  create "/apis/discovery.k8s.io/v1/namespaces/$1/endpointslices" "{\"metadata\": {\"name\": \"$2-1\", \"labels\": {\"kubernetes.io/service-name\": \"$2\"}},
    \"addressType\": \"IPv4\", \"endpoints\": [{\"addresses\": [\"$5\"], \"conditions\": {\"ready\": true}, \"nodeName\": \"node-a\"}],
    \"ports\": [{\"port\": $4, \"protocol\": \"TCP\"}]}"
}
ask_from() { # POD|node ADDRESS PORT; the node's programs are in its cgroup
  local where=$node
  [[ $1 == node ]] || where=$(name_of "$1")
  # shellcheck disable=SC2016
  bash -c 'echo $$ >"$1"; exec ip netns exec "${@:2}"' ask "$([[ $1 == node ]] && echo "$cgroup/cgroup.procs" || echo /dev/null)" \
    "$where" "$traffic" ask tcp "$2" "$3" --timeout 500
}
gets() { [[ $(ask_from "$1" "$2" "$3") == "ok $4"* ]]; }
gets_nothing() { ! gets "$1" "$2" "$3" ""; }
policies=/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies

step "a static pod: the kubelet asks by a uid that the API server does not know"
start_server
create /api/v1/nodes '{"metadata": {"name": "node-a"}}'
for name in shop evil late; do create /api/v1/namespaces "{\"metadata\": {\"name\": \"$name\"}}"; done
start_agent
eventually 20 "it has taken what the server has" status_of .kubernetes.taken
eventually 5 "the plugin is installed" test -s "$work/net.d/05-weft.conflist"
static_uid=0123456789abcdef0123456789abcdef
add_static() {
  jq -c '{cniVersion, name} + .plugins[0]' "$work/net.d/05-weft.conflist" |
    CNI_COMMAND=ADD CNI_CONTAINERID=container-proxy CNI_NETNS=/run/netns/$(name_of proxy-node-a) CNI_IFNAME=eth0 CNI_PATH=$work/cni-bin \
      CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=proxy-node-a;K8S_POD_INFRA_CONTAINER_ID=container-proxy;K8S_POD_UID=$static_uid" \
      "$work/cni-bin/weft-cni"
}
# The object that stands for it comes after the kubelet has asked.
add_static >"$work/static" 2>&1 &
asked=$!
make_pod proxy-node-a "{\"kubernetes.io/config.hash\": \"$static_uid\", \"kubernetes.io/config.mirror\": \"$static_uid\", \"kubernetes.io/config.source\": \"file\"}"
wait "$asked" || fail "it was not attached: $(cat "$work/static")"
like "its labels are those of the object" "$(weft_here endpoint list -o json | jq -c '.[] | select(.pod == "proxy-node-a") | .labels')" 'k8s:app=proxy'
serve proxy-node-a 7000
for pod in client-1 other-1; do make_pod $pod; succeeds "attach $pod" cni ADD $pod; done
eventually 5 "it answers" gets client-1 "$(address_of proxy-node-a)" 7000 proxy-node-a
create $policies '{"metadata": {"name": "proxy"}, "spec": {"podSelector": {"matchLabels": {"app": "proxy"}}, "policyTypes": ["Ingress"],
  "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]}}'
eventually 5 "policies select it" gets_nothing other-1 "$(address_of proxy-node-a)" 7000
eventually 5 "and let in whom they name" gets client-1 "$(address_of proxy-node-a)" 7000 proxy-node-a

step "a pod in the node's network"
make_pod agentlike-1 '{}' '"hostNetwork": true,'
patch $space/pods/agentlike-1/status '{"status": {"phase": "Running", "hostIP": "192.0.2.2", "podIP": "192.0.2.2", "podIPs": [{"ip": "192.0.2.2"}],
  "conditions": [{"type": "Ready", "status": "True"}]}}'
serve node 9100
service shop metrics 10.222.0.91 9100 192.0.2.2
eventually 5 "it serves a Service, to pods" gets client-1 10.222.0.91 80 node
eventually 5 "and to the node" gets node 10.222.0.91 80 node
eventually 5 "as the node it reaches pods, whatever policies say, for the kubelet's probes must" gets node "$(address_of proxy-node-a)" 7000 proxy-node-a
is "it takes no address of pods" "$(weft_here endpoint list -o json | jq '[.[] | select(.pod == "agentlike-1")] | length')" 0
create $policies '{"metadata": {"name": "nothing-in"}, "spec": {"podSelector": {"matchLabels": {"app": "agentlike"}}, "policyTypes": ["Ingress"]}}'
create $policies '{"metadata": {"name": "marker"}, "spec": {"podSelector": {"matchLabels": {"app": "other"}}, "policyTypes": ["Egress"]}}'
eventually 5 "a policy after it is in force" gets_nothing other-1 10.222.0.91 80
gets client-1 10.222.0.91 80 node || fail "a policy that selects a pod in the node's network closed the node"

step "a tenant fills the tables of Services"
served() { weft_here service list -o json | jq -e --arg n "$1" '.[] | select(.namespace + "/" + .name == $n) | .id'; }
left_out() { [[ $(weft_here service list -o json | jq '[.[] | select(.namespace == "evil" and .id == null)] | length') -ge 20 ]]; }
proxy=$(address_of proxy-node-a)
for i in $(seq 1 90); do service evil "a$i" "10.222.1.$i" 7000 "$proxy"; done
eventually 20 "many find no room" left_out
gets client-1 10.222.0.91 80 node || fail "who was served before is not any more"
service late web 10.222.0.80 7000 "$proxy"
eventually 10 "who comes later is served all the same" gets client-1 10.222.0.80 80 proxy-node-a
like "who is left out is told" "$(weft_here status -o json | jq -r '.problems[]')" 'not served.*evil/a[0-9]+'

step "the agent is killed"
for n in 1 2; do
  kill -9 "$agent"
  wait "$agent"
  gets client-1 10.222.0.80 80 proxy-node-a || fail "nothing is carried without the agent"
  start_agent
  for service in shop/metrics late/web; do eventually 5 "start $n: $service is served" served $service; done
  gets client-1 10.222.0.91 80 node || fail "start $n: shop/metrics does not answer"
  gets client-1 10.222.0.80 80 proxy-node-a || fail "start $n: late/web does not answer"
done

step "and everything is lost, as with a machine that starts again"
kill -9 "$agent"
wait "$agent"
rm -rf "$pins"
start_agent
for service in shop/metrics late/web; do eventually 20 "$service is served" served $service; done
eventually 5 "late/web answers" gets client-1 10.222.0.80 80 proxy-node-a
finish
