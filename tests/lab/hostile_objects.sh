#!/usr/bin/env bash
# What a tenant's objects do to others: policies that no table holds allow nothing to his own pods, and nobody else's
# changes wait for them; what nobody understands in etcd is said, and put right by applying it again.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_nodes.sh
source "$(dirname "$0")/lib_nodes.sh"
[[ -x $(command -v etcdctl) ]] || { echo "skipped: etcdctl is not installed"; exit 77; }

{
  pod client-1 node1; pod server-2 node2; pod open-2 node2
  pod evil-1 node1 | sed 's/namespace: default/namespace: evil/'
} | lab_up "$lab" --nodes 2
server2=$(pod_address server-2 node2 v4) open2=$(pod_address open-2 node2 v4)
eventually 10 "pods across nodes" answers default/client-1 tcp "$server2" 7000
eventually 10 "and of another tenant" answers evil/evil-1 tcp "$open2" 7000
problems() { at "$1" status -o json | jq -r '.problems[]'; }
is_denied() { denied "$@"; }

step "a policy of 140,000 rows"
jq -n '{apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: {name: "big", namespace: "evil"},
  spec: {podSelector: {}, policyTypes: ["Egress"], egress: [{
    to: [range(200) | {ipBlock: {cidr: "198.51.\(100 + (. / 250 | floor)).\(. % 250)/32"}}],
    ports: [range(700) | {port: (1 + . * 3)}]}]}}' >"$work/big.json"
exits 0 "it is taken" at node1 apply -f "$work/big.json"
named() { grep "NetworkPolicy evil/big needs more rows than there is room for" <<<"$(problems node1)"; }
eventually 10 "it is named" named
eventually 10 "its own pods are allowed nothing" is_denied evil/evil-1 tcp "$open2" 7000
answers default/client-1 tcp "$server2" 7000 || fail "another tenant's connection was not made"
exits 0 "another tenant's policy" at node1 apply -f - <<'YAML'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: server, namespace: default}
spec: {podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}
YAML
eventually 10 "counts at once" is_denied default/client-1 tcp "$server2" 7000
exits 0 "a new pod" lab_cmd apply -f - <<<"$(pod late-1 node1)"
eventually 10 "has a network" answers default/late-1 tcp "$open2" 7000
exits 0 "it goes" at node2 delete -f "$work/big.json"
not_named() { ! named; }
eventually 10 "nothing is said any more" not_named
eventually 10 "what it closed is open" answers evil/evil-1 tcp "$open2" 7000

step "a policy of 9,000 blocks"
jq -n '{apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: {name: "wide", namespace: "evil"},
  spec: {podSelector: {}, policyTypes: ["Egress"], egress: [{
    to: [range(9000) | {ipBlock: {cidr: "203.\(. / 250 | floor).\(. % 250).0/24"}}]}]}}' >"$work/wide.json"
exits 0 "it is taken" at node1 apply -f "$work/wide.json"
wide_named() { grep "NetworkPolicy evil/wide needs more rows" <<<"$(problems node1)"; }
eventually 15 "it is named" wide_named
answers default/late-1 tcp "$open2" 7000 || fail "another tenant's connection was not made"
exits 0 "it goes" at node2 delete -f "$work/wide.json"
well() { [[ $(at "$1" status -o json | jq -r .health) == ok ]]; }
for node in node1 node2; do eventually 15 "$node is well" well $node; done

step "what nobody understands in etcd"
etcd() { ip netns exec "weft-$lab-world" etcdctl --endpoints http://192.0.2.1:2379 "$@" >/dev/null; }
etcd put "/weft/v1/$lab/state/objects/NetworkPolicy/default/server" x
understood() { ! grep "is not understood" <<<"$(problems "$1")"; }
not_understood() { ! understood "$1"; }
for node in node1 node2; do eventually 5 "$node says so" not_understood $node; done
denied default/client-1 tcp "$server2" 7000 || fail "what was there before does not count"
like "applied again" "$(at node1 apply -f - <<'YAML'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: server, namespace: default}
spec: {podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}
YAML
)" "server configured"
for node in node1 node2; do eventually 5 "$node understands" understood $node; done

step "a pod that asks for host ports of others, and Services for what another has"
thief() { # NAME ADDRESS PORT
  pod "$1" node1 | sed "s/namespace: default/namespace: evil/; s|command: \[|ports: [{containerPort: 7000, hostPort: $3, hostIP: $2}], command: [|"
}
exits 0 "pods" lab_cmd apply -f - < <(thief etcd-1 192.0.2.1 2379; thief pod-1 "$open2" 7000; thief own-1 192.0.2.2 17000)
withheld() { grep -E '2 host ports are not served: 2379/TCP of pod evil/etcd-1 is asked for at 192.0.2.1, which is no address of this node' <<<"$(problems node1)"; }
eventually 10 "status says so" withheld
is "node1 has etcd still" "$(at node1 status -o json | jq .cluster.joined)" true
like "another's pod answers itself" "$(ask default/client-1 tcp "$open2" 7000)" open-2
eventually 5 "one of the node's own address is served" answers default/client-1 tcp 192.0.2.2 17000
external() { printf -- '---\napiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: %s}\nspec: {ports: [{port: 80}], externalIPs: [198.51.100.77]}\n' "$2" "$1"; }
exits 0 "an external IP" at node1 apply -f - < <(external default mine)
exits 1 "is nobody else's" at node2 apply -f - < <(external evil a)
like "and whose it is is said" "$output" "198.51.100.77 port 80/TCP is Service default/mine's"

step "a node's record that somebody wrote over, or erased"
for what in "put /weft/v1/$lab/nodes/node2 garbage" "del /weft/v1/$lab/nodes/node2"; do
  # shellcheck disable=SC2086  # words
  etcd $what
  answers default/late-1 tcp "$open2" 7000 || fail "$what: its pods are not reached"
  eventually 5 "$what: both are well" well node1
done
is "its address is known" "$(at node1 node list -o json | jq -r '.[] | select(.name == "node2") | .addresses[0]')" 192.0.2.102
"$weft" lab down --name "$lab" >/dev/null || fail "down"
finish
