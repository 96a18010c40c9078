#!/usr/bin/env bash
# Two nodes are cut off from etcd for longer than reclaim_seconds, under traffic: one at the edge, which keeps all it has
# and returns as if nothing had been, and one that is none, whose addresses the cluster takes back: nobody else takes them, so
# it has them again.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_nodes.sh
source "$(dirname "$0")/lib_nodes.sh"

{
  pod client-1 node1; pod server-2 node2; pod server-3 node3; pod client-3 node3; pod other-3 node3
  cat <<'YAML'
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: default}
spec: {clusterIP: 10.96.0.50, selector: {app: server}, ports: [{port: 80, targetPort: 7000}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: server, namespace: default}
spec: {podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}
YAML
} | lab_up "$lab" --nodes 3 --edge node3 --tunnel vxlan
addresses() { server2=$(pod_address server-2 node2 v4) && server3=$(pod_address server-3 node3 v4) && [[ -n $server2 && -n $server3 ]]; }
node_says() { [[ $(at node1 node list -o json | jq -r --arg n "$1" ".[] | select(.name == \$n) | $2") == "$3" ]]; }
works_at_the_edge() { # WHEN
  answers default/client-3 tcp "$server3" 7000 || fail "$1: pod to pod"
  answers default/client-3 tcp 10.96.0.50 80 || fail "$1: the Service"
  denied default/other-3 tcp "$server3" 7000 || fail "$1: a forbidden connection was made"
}
eventually 10 "the servers are known" addresses
eventually 10 "pods across nodes" answers default/client-1 tcp "$server3" 7000
eventually 10 "all of them" answers default/client-1 tcp "$server2" 7000
eventually 5 "node3 is said to be at the edge" node_says node3 .edge true
is "node2 is not" "$(node_says node2 .edge false && echo yes)" yes
exits 1 "node3 is alive, so it is not deleted" at node1 node delete node3
begin to3 default/client-1 "$server3" 7000 --rate 500000
eventually 3 "the stream flows" moving to3

step "both are cut off, and the edge's agent dies"
exits 0 "cut" net partition node2,node3 --from etcd
agent=$(process_of node3/weftd)
kill -9 "$agent"
again() { [[ $(process_of node3/weftd) != "$agent" ]] && at node3 status; }
eventually 15 "it serves again" again
works_at_the_edge "without etcd"
eventually 30 "they are away" node_says node3 .state away
reclaimed() { [[ -z $(at node1 node list -o json | jq -r '.[] | select(.name == "node2") | .blocks[]') ]]; }
eventually 75 "node2's blocks are the cluster's again" reclaimed
is "those of the edge are its own" "$(at node1 node list -o json | jq '.[] | select(.name == "node3") | .blocks | length')" 2
works_at_the_edge "after reclaim_seconds"
answers default/client-1 tcp "$server3" 7000 || fail "others do not reach the edge"

step "both are back"
exits 0 "heal" net heal
for node in node2 node3; do eventually 30 "$node joins" joined $node true; done
eventually 10 "the edge is alive" node_says node3 .state alive
has_again() { [[ -n $(at node1 node list -o json | jq -r '.[] | select(.name == "node2") | .blocks[]') ]]; }
eventually 15 "node2 has its blocks again" has_again
eventually 10 "its pod is reached at the same address" answers default/client-1 tcp "$server2" 7000
nothing_wrong() { [[ $(at node2 status -o json | jq -c '.problems') == "[]" ]]; }
eventually 20 "node2 has nothing to say" nothing_wrong
is "the edge has nothing to say" "$(at node3 status -o json | jq -c '.problems')" "[]"
works_at_the_edge "back"
is "with the same address" "$(pod_address server-3 node3 v4)" "$server3"
whole_stream to3

step "the edge is cut off from everybody: its Services lead to the pods that it can reach"
exits 0 "cut" net partition node3
all_own() { for _ in 1 2 3 4 5 6; do [[ $(ask default/client-3 tcp 10.96.0.50 80 --timeout 1000) == "ok server-3"* ]] || return 1; done; }
eventually 60 "new connections go to its own pod" all_own
like "node2's backend is said to be out" "$(at node3 service get server -o json 2>/dev/null)" '"node":"node2","node_gone":true'
exits 0 "heal" net heal
both() { [[ $(for _ in {1..12}; do ask default/client-3 tcp 10.96.0.50 80 --timeout 1000; done | awk '{print $2}' | sort -u | xargs) == "server-2 server-3" ]]; }
eventually 60 "and to both again" both
"$weft" lab down --name "$lab" >/dev/null || fail "down"
finish
