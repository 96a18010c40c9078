#!/usr/bin/env bash
# Objects of a cluster: applied at any node they are every node's, at once, with addresses that nobody has twice; without
# etcd changes are refused and nothing else happens.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
[[ -x $(command -v etcd) ]] || { echo "skipped: etcd is not installed"; exit 77; }

at() { "$weft" --lab "$lab" --node "$1" "${@:2}"; }
service() { # NAME
  printf 'apiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: shop}\nspec: {type: NodePort, ports: [{port: 80}]}\n---\n' "$1"
}
manifest() {
  cat <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: none, ports: [{containerPort: 80}]}]}
YAML
}
services_of() { at "$1" service list -o json | jq -c '[.[] | [.name, .kind, .address, .port]] | sort'; }
# A node port is at each node's own addresses.
shared_of() { services_of "$1" | jq -c '.[] | if .[1] == "NodePort" then [.[0], .[1], .[3]] else . end'; }
same_everywhere() { diff <(shared_of node1) <(shared_of node2) && diff <(shared_of node1) <(shared_of node3); }
store_of() { at "$1" status -o json | jq -r ".cluster.store.$2"; }
store_is() { [[ $(store_of "$1" "$2") == "$3" ]]; }
running() { [[ $(at "$1" get pods -n shop -o json | jq '[.items[] | select(.status.phase == "Running")] | length') == 4 ]]; }

step "a lab of three nodes"
manifest | lab_up "$lab" --nodes 3
for node in node1 node2 node3; do
  eventually 10 "$node knows where all pods run" running "$node"
  is "$node follows" "$(store_of "$node" state)" following
done

step "services applied at all nodes at once"
for i in 1 2 3 4 5; do
  for node in node1 node2 node3; do service "$node-$i" | at "$node" apply -f - >"$work/$node-$i" 2>&1 & done
done
wait
is "all were created" "$(cat "$work"/node?-? | grep -c created)" 15
eventually 5 "all nodes have the same" same_everywhere
is "each has an address" "$(services_of node1 | jq '[.[] | select(.[1] == "ClusterIP" and (.[2] | contains(":") | not)) | .[2]] | length')" 15
is "of its own" "$(services_of node1 | jq '[.[] | select(.[1] == "ClusterIP") | .[2]] | group_by(.) | map(select(length > 1)) | length')" 0
is "and a node port" "$(services_of node1 | jq '[.[] | select(.[1] == "NodePort") | [.[0], .[3]]] | unique | group_by(.[1]) | map(select(length > 1)) | length')" 0

step "what one node deletes is gone everywhere"
exits 0 "delete" at node2 delete service node1-1 -n shop
eventually 5 "node3 has it no more" same_everywhere
is "fourteen are left" "$(services_of node3 | jq '[.[] | select(.[1] == "ClusterIP") | .[0]] | unique | length')" 14

step "an agent is killed in a change that takes several transactions of etcd"
for i in $(seq 400); do
  printf -- '---\napiVersion: v1\nkind: Service\nmetadata: {name: large-%s, namespace: shop}\nspec: {ports: [{port: 80}]}\n' "$i"
done >"$work/large.yaml"
large() { at node2 get services -n shop -o name | grep -c /large-; }
begun() { (( $(large) > 0 )); }
agent=$(at node1 status -o json | jq .pid)
at node1 apply -f "$work/large.yaml" -o name >"$work/applied" 2>"$work/told" &
applying=$!
until_true 10 begun
kill -9 "$agent"
wait "$applying"
code=$?
is "what it says is there, is there" "$(grep -c /large- "$work/applied")" "$(large)"
# It may have been done before it was killed.
(( $(large) == 400 )) && expected=0 || expected=3
is "the exit code" "$code" "$expected"
(( expected == 0 )) || like "how to go on" "$(cat "$work/told")" "of 400 objects are applied.*run the same command again"
eventually 15 "the agent serves again" at node1 status
exits 0 "the same command again" at node1 apply -f "$work/large.yaml"
is "does the rest" "$(large)" 400
exits 0 "and goes" at node2 delete -f "$work/large.yaml"
eventually 5 "all nodes have the same" same_everywhere

step "a node without etcd"
before=$(services_of node1)
exits 0 "cut" "$weft" lab net partition --name "$lab" node1 --from etcd
exits 1 "a change is refused" at node1 delete service node2-1 -n shop
like "and says why" "$output" "unavailable|etcd"
exits 0 "others go on" at node2 delete service node2-2 -n shop
is "node1 has what it had" "$(services_of node1)" "$before"
exits 0 "heal" "$weft" lab net heal --name "$lab"
eventually 30 "it is connected again" store_is node1 connected true
eventually 10 "and has what the others have" same_everywhere

finish
