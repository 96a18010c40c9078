#!/usr/bin/env bash
# A node of Kubernetes from its first start on: its taint and condition, the plugin's installation, another network's
# leftovers, pods that were there before, Events, the addresses by which the server is found again, and the way out.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_kubernetes.sh
. "$(dirname "$0")/lib_kubernetes.sh"

exec 2>"$work/stderr"  # where the shell tells of every process killed
make_node_and_control
for pod in web-1 web-2; do make_namespace "$(name_of $pod)"; done
list=$work/net.d/05-weft.conflist
write_config <<YAML
pod_cidrs: [10.221.0.0/24]
service_cidrs: [10.222.0.0/24]
kubeconfig: $work/agent.kubeconfig
YAML
export NODE_NAME=node-a  # as the downward API gives it
make_objects() {
  create /api/v1/nodes '{"metadata": {"name": "node-a", "labels": {"topology.kubernetes.io/zone": "west", "disk": "ssd"}},
    "spec": {"taints": [{"key": "node.weft.io/agent-not-ready", "effect": "NoSchedule"}, {"key": "example.com/own", "effect": "NoSchedule"}]}}'
  create /api/v1/namespaces '{"metadata": {"name": "shop"}}'
}
make_pod() { # NAME [ANNOTATIONS]
  create $space/pods "{\"metadata\": {\"name\": \"$1\", \"labels\": {\"app\": \"web\"}, \"annotations\": ${2:-{\}}},
    \"spec\": {\"nodeName\": \"node-a\", \"containers\": [{\"name\": \"c\", \"image\": \"none\"}]}}"
}
node_object() { api GET /api/v1/nodes/node-a | jq -c "$1"; }
taints() { node_object '[.spec.taints[]?.key]'; }
condition() { node_object '.status.conditions[]? | select(.type == "NetworkUnavailable") | [.status, .reason]'; }
events_of() { # NAME REASON
  api GET "/apis/events.k8s.io/v1/namespaces/${3:-shop}/events" |
    jq -c "[.items[] | select(.regarding.name == \"$1\" and .reason == \"$2\")]"
}
plugin_status() {
  printf '{"cniVersion":"1.1.0","name":"weft","type":"weft-cni","socket":"%s"}' "$socket" | CNI_COMMAND=STATUS CNI_PATH=$bin "$bin/weft-cni"
}
says() { weft_here status | grep -q -- "$1"; }

step "a node that joins, where another network has been"
start_server
cp "$kubeconfig" "$work/agent.kubeconfig"
make_objects
create $space/pods '{"metadata": {"name": "old-1"}, "spec": {"nodeName": "node-a", "containers": [{"name": "c", "image": "none"}]}}'
patch $space/pods/old-1/status '{"status": {"phase": "Running", "podIP": "10.9.9.9", "podIPs": [{"ip": "10.9.9.9"}]}}'
mkdir -p "$work/net.d"
echo '{"cniVersion": "0.3.1", "name": "theirs", "plugins": [{"type": "cilium-cni"}]}' >"$work/net.d/00-theirs.conflist"
ip -n "$node" link add flannel.1 type bridge  # a dummy is not to be had everywhere
trouble '{"fail": {"method": "GET", "path": "endpointslices", "status": 503, "times": 4}}'
start_agent
exits 1 "STATUS while the objects are not there" plugin_status
like "what it says" "$output" '"code": *50'
[[ -e $list ]] && fail "the list is there before pods can be attached"
[[ -x $work/cni-bin/weft-cni ]] || fail "the plugin is not installed at once"
is "the taint" "$(taints)" '["node.weft.io/agent-not-ready","example.com/own"]'

step "it is ready"
taint_gone() { [[ $(taints) == '["example.com/own"]' ]]; }
eventually 40 "the taint goes" taint_gone
eventually 3 "the list is there" test -s "$list"
is "the condition" "$(condition)" '["False","WeftIsUp"]'
succeeds "STATUS" plugin_status
is "what the list names" "$(jq -c '[.name, .plugins[0].type, .plugins[0].socket, .plugins[0].capabilities.portMappings]' "$list")" \
  "[\"weft\",\"weft-cni\",\"$socket\",true]"
told_ready() { [[ $(events_of node-a WeftIsReady default) != '[]' ]]; }
eventually 5 "an Event of the Node" told_ready
is "the node by its object" "$(weft_here status -o json | jq -c '.node, .kubernetes.node.tainted, .kubernetes.node.network' | paste -sd' ')" \
  '"node-a" false "available"'

step "what another network left is named"
says "00-theirs.conflist (network \"theirs\", by cilium-cni) comes before 05-weft.conflist" || fail "the list before ours: $(weft_here status)"
says "devices of Flannel on this node: flannel.1" || fail "the device: $(weft_here status)"
exits 1 "doctor" weft_here doctor
like "the doctor's words" "$output" "flannel.1"

step "what somebody takes away comes back"
rm "$list"
eventually 3 "the list" test -s "$list"
echo "{" >"$list"
list_is_whole() { jq -e '.plugins' "$list"; }
eventually 3 "the list, damaged" list_is_whole
rm "$work/cni-bin/weft-cni"
eventually 3 "the plugin" test -x "$work/cni-bin/weft-cni"
says "05-weft.conflist was gone or changed and is there again" || fail "the repair is not told"

step "pods: one is attached, one is refused, and people are told"
make_pod web-1
succeeds "attach web-1" cni ADD web-1
make_pod web-2 '{"weft.io/address-pool": "nowhere"}'
exits 1 "attach web-2" cni ADD web-2
exits 1 "attach web-2 again" cni ADD web-2
refused() { [[ $(events_of web-2 NetworkRefused) == *nowhere* ]]; }
eventually 5 "an Event of the pod" refused
is "one Event for both" "$(events_of web-2 NetworkRefused | jq -c '[length, .[0].regarding.kind, .[0].type]')" '[1,"Pod","Warning"]'
old_named() { says "that another network attached, not Weft (1): shop/old-1"; }
eventually 40 "the pod that was there before" old_named
old_told() { [[ $(events_of old-1 NotManaged) != '[]' ]]; }
eventually 5 "an Event of it" old_told

step "a policy that this version does not understand closes"
create /apis/networking.k8s.io/v1/namespaces/shop/networkpolicies '{"metadata": {"name": "strange"},
  "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 70000}]}]}}'
closed() { [[ $(weft_here endpoint list -o json | jq -c '.[] | select(.pod == "web-1") | [.policy.ingress, .policy.egress]') == '[true,false]' ]]; }
eventually 5 "its pods are isolated" closed
says "NetworkPolicy shop/strange .* is not understood" || fail "the policy is not named"
policy_told() { [[ $(events_of strange NotUnderstood | jq -r '.[0].regarding.uid') != null ]]; }
eventually 5 "an Event of the policy" policy_told

step "a misspelt annotation is told, and does nothing"
patch $space/pods/web-1 '{"metadata": {"annotations": {"weft.io/wieght": "3"}}}'
misspelt_told() { [[ $(events_of web-1 UnknownAnnotation | jq -r '.[0].note') == *'did you mean "weft.io/weight"'* ]]; }
eventually 5 "an Event of the pod" misspelt_told
patch $space/pods/web-1 '{"metadata": {"annotations": {"weft.io/wieght": null}}}'

step "the configured server goes for good: one that was heard of is found"
ip -n "$control" address add 192.0.2.7/24 dev up0
create /apis/discovery.k8s.io/v1/namespaces/default/endpointslices '{"metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
  "addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.7"], "conditions": {"ready": true}}], "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]}'
remembered() { weft_here get endpointslice -n default kubernetes; }
eventually 5 "its addresses are heard of" remembered
kill -9 "$server" "$agent"
[[ -s $list ]] || fail "the list is gone with the agent"
exits 1 "the plugin without the agent" cni ADD web-1
rm -f "$kubeconfig"
start_server 192.0.2.7
make_objects
sed 's/192.0.2.7/192.0.2.1/' "$kubeconfig" >"$work/agent.kubeconfig"
rm "$work/net.d/00-theirs.conflist"
ip -n "$node" link delete flannel.1
start_agent
heard() { status_of '.kubernetes.taken and .kubernetes.problem == ""'; }
eventually 20 "it has taken what the other server has" heard
eventually 5 "the taint goes there, too" taint_gone
says "Flannel" && fail "what is gone is still named"

step "the way out"
echo '{"cniVersion": "0.3.1", "name": "later", "plugins": [{"type": "bridge"}]}' >"$work/net.d/90-later.conflist"
kill "$agent"
wait "$agent"
succeeds "cleanup" nsenter --net="/run/netns/$node" "$bin/weftd" --config "$work/weftd.yaml" --cleanup
like "what it says" "$output" "removed $list"
is "what is left of lists" "$(ls "$work/net.d")" 90-later.conflist
is "what is left of plugins" "$(ls "$work/cni-bin")" ""
finish
