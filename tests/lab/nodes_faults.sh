#!/usr/bin/env bash
# Trouble between nodes, under traffic: etcd hangs and dies, agents die without it, nodes are cut off, crash and come
# back elsewhere, a firewall eats the tunnel. What runs goes on, what is wrong is named.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_nodes.sh
source "$(dirname "$0")/lib_nodes.sh"

{
  pod client-1 node1; pod server-2 node2; pod server-3 node3; pod other-1 node1
  cat <<'YAML'
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: server, namespace: default}
spec: {podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}
---
{apiVersion: v1, kind: Service, metadata: {name: both}, spec: {clusterIP: 10.96.0.60, selector: {app: server}, ports: [{port: 80, targetPort: 7000}]}}
YAML
} | lab_up "$lab" --nodes 3 --tunnel vxlan
state_of() { at "$1" node list -o json | jq -r --arg n "$2" '.[] | select(.name == $n) | .state'; }
is_state() { [[ $(state_of "$1" "$2") == "$3" ]]; }
holds() { # WHEN: what policies allow is reached, and nothing else
  answers default/client-1 tcp "$server2" 7000 || fail "$1: a permitted connection to another node failed"
  answers default/client-1 tcp "$server2_v6" 7000 || fail "$1: a permitted connection to another node failed by IPv6"
  denied default/other-1 tcp "$server2" 7000 || fail "$1: a forbidden connection was made"
}
server2=$(pod_address server-2 node2 v4) server2_v6=$(pod_address server-2 node2 v6) server3=$(pod_address server-3 node3 v4)
eventually 10 "pods across nodes" answers default/client-1 tcp "$server2" 7000
eventually 10 "all of them" answers default/client-1 tcp "$server3" 7000
holds "at first"

begin to2 default/client-1 "$server2" 7000 --rate 1000000
begin to2_v6 default/client-1 "$server2_v6" 7000 --rate 1000000
for path in to2 to2_v6; do eventually 3 "$path flows" moving "$path"; done

step "etcd hangs for longer than a lease"
etcd=$(process_of etcd)
cleanup_hooks+=("kill -CONT $etcd")
kill -STOP "$etcd"
eventually 25 "node1 knows that it is away" joined node1 false
holds "etcd hangs"
said() { at node1 status -o json | jq -r '.problems[]' | grep 'etcd .* is away since'; }
eventually 10 "it is said" said

step "an agent dies meanwhile"
agent=$(process_of node1/weftd)
kill -9 "$agent"
holds "the agent is away"
serves_again() { [[ $(process_of node1/weftd) != "$agent" ]] && at node1 status; }
eventually 15 "it serves again" serves_again
holds "the agent started without etcd"
is "it has not joined" "$(at node1 status -o json | jq .cluster.joined)" false
exits 3 "health knows of no node" at node1 health
like "status neither" "$(at node1 status)" "the nodes are not known yet"
like "nor who does the duties" "$(at node1 status)" "Operator +not known yet"
exits 3 "the list of nodes" at node1 node list -o json
exits 1 "a node is to be deleted" at node1 node delete node2
like "it is not said to be none" "$output" "which nodes cluster .* has is not known yet"
exits 3 "the operators" at node1 operator status
like "it says so" "$output" "who does the cluster's duties is not known yet"
like "the blocks" "$(at node1 ipam list 2>&1)" "which blocks this node has is not known yet"
is "how many are taken" "$(at node1 ipam list -o json | jq -c '[.cidrs[].taken] | unique')" "[null]"
explained() { at node1 policy explain --from "$1" --to "$2" --port 7000 2>&1; }
like "a pod of another node" "$(explained default/client-1 default/server-2)" "of other nodes' pods etcd has told this node nothing"
like "its address" "$(explained default/client-1 "$server2")" "ALLOWED .*is another node's, as this one heard"
kill -CONT "$etcd"
for node in node1 node2 node3; do eventually 30 "$node joins again" joined $node true; done
holds "etcd is back"

step "etcd is killed"
kill -9 "$etcd"
holds "etcd is killed"
another() { [[ -n $(process_of etcd) && $(process_of etcd) != "$etcd" ]]; }
eventually 15 "the lab starts it again" another
for node in node1 node2 node3; do eventually 30 "$node joins again" joined $node true; done
holds "etcd was restarted"

for path in to2 to2_v6; do
  whole_stream "$path"
done

step "a node is cut off from etcd only: its pods are still reached"
exits 0 "partition" net partition node2 --from etcd
eventually 25 "others see it as away" is_state node1 node2 away
holds "node2 is away"
says_away() { grep 'node node2 is away.* Its machine answers at 192.0.2.102, and its datapath carries' <<<"$(at node1 "$1")"; }
for how in health status doctor; do eventually 20 "$how says that it is away, and that its datapath is not" says_away $how; done
exits 1 "health" at node1 health
exits 1 "doctor" at node1 doctor
like "what to do" "$(at node1 doctor)" "weft node delete node2"
like "what it knows is as of then" "$(at node2 node list 2>&1)" "as of 20[^ ]*Z: etcd has not answered this node since"
exits 0 "heal" net heal node2
eventually 30 "it is back" is_state node1 node2 alive
is "nothing is old any more" "$(at node1 node list 2>&1 >/dev/null)" ""

step "a node crashes and comes back elsewhere"
exits 0 "crash" lab_cmd crash node3
ready() { at node1 service get both -o json | jq -r '.ports[0].backends[] | select(.internal) | .address'; }
is_ready() { [[ $(ready | sort) == "$(printf '%s\n' "$@" | sort)" ]]; }
eventually 30 "a Service sends to the node that is left" is_ready "$server2"
for _ in {1..12}; do answers default/client-1 tcp 10.96.0.60 80 || fail "a connection went to the machine that is gone"; done
like "the list says why" "$(at node1 service list)" "a backend at node node3 gets no new flows: its agent is away"
like "and the Service" "$(at node1 service get both)" "not-ready,node-gone"
exits 0 "start" lab_cmd start node3 --new-address
serves3() { at node3 status -o json | jq -e '.cluster.joined and .pods.attached == 1'; }
eventually 30 "it serves" serves3
reached3() { server3=$(pod_address server-3 node3 v4) && answers default/client-1 tcp "$server3" 7000; }
eventually 15 "its pod is reached" reached3
eventually 10 "its address is known" is_state node1 node3 alive
eventually 10 "the Service has it again" is_ready "$server2" "$server3"
is "the new one" "$(at node1 node list -o json | jq -r '.[] | select(.name == "node3") | .addresses[0]')" 192.0.2.203

step "what is wrong between two nodes is named"
well() { at node1 health; }
eventually 30 "all answer" well
ip netns exec "weft-$lab-node2" nft -f - <<'RULES'
table inet weft_test {
  chain input { type filter hook input priority 0; udp dport 8472 drop; }
}
RULES
named() {
  grep -A 1 'node node2 answers by itself, but not at its pods.* (vxlan)' <<<"$(at node1 health)" |
    grep 'let UDP port 8472 (VXLAN, tunnel_port) pass'
}
eventually 40 "the firewall is found" named
exits 1 "health says so" at node1 health
in_status() { grep 'node2 answers by itself' <<<"$(at node1 status)"; }
eventually 5 "status, too" in_status
exits 1 "and the doctor" at node1 doctor
grep -q "node2 answers by itself" <<<"$(at node1 doctor)" || fail "the doctor does not name it: $(at node1 doctor)"
ip netns exec "weft-$lab-node2" nft delete table inet weft_test
eventually 30 "all answer again" well
eventually 5 "the doctor finds nothing wrong" at node1 doctor

repairs() { at "$1" status -o json | jq -r '.problems[] | select(contains(" repaired: "))'; }
for node in node1 node2 node3; do is "what $node changes by itself is no repair" "$(repairs $node)" ""; done

step "somebody takes a route to another node away"
route=$(ip -n "weft-$lab-node1" -4 route show proto 87 | head -n 1)
like "there is one" "$route" "^10\.244\."
# shellcheck disable=SC2086  # destination and way
ip -n "weft-$lab-node1" route del ${route%% *} || fail "deleting $route"
has_route() { [[ -n $(ip -n "weft-$lab-node1" -4 route show "${route%% *}" proto 87) ]]; }
eventually 15 "it is back" has_route
is_told() { [[ $(at node1 status -o json | jq -r '.problems[]') == *"route to other nodes' pods ${route%% *} was gone"* ]]; }
eventually 15 "it is told" is_told
step "a lab that is up is brought up again"
exits 0 "up" lab_cmd up --nodes 3 -f - <<<'{apiVersion: v1, kind: Namespace, metadata: {name: again}}'
holds "after another up"
"$weft" lab down --name "$lab" >/dev/null || fail "down"
finish
