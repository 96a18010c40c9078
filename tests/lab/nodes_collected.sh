#!/usr/bin/env bash
# A node that crashed and stays away: the operator collects what it left, not before its time, and says so.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
[[ -x $(command -v etcd) ]] || { echo "skipped: etcd is not installed"; exit 77; }

for node in node1 node2; do
  printf -- '---\napiVersion: v1\nkind: Pod\nmetadata: {name: on-%s, namespace: default, labels: {app: %s}}\n' $node $node
  printf 'spec: {nodeName: %s, containers: [{name: c, image: none}]}\n' $node
done | lab_up "$lab" --nodes 2 --operators 1
at1() { "$weft" --lab "$lab" --node node1 "$@"; }
nodes() { at1 node list -o json | jq -r 'map(.name) | sort | join(",")'; }
gone() { [[ $(nodes) == node1 ]]; }
away() { [[ $(at1 node list -o json | jq -r '.[] | select(.name == "node2") | .state') == away ]]; }
acts() { at1 operator status -o json | jq -e '.acting.kind == "operator" and .items[0].rounds > 0'; }
blocks() { at1 node list -o json | jq '[.[].blocks[]] | length'; }
collected() {
  at1 operator status -o json | jq -e '.items[0].collected | .nodes == 1 and .blocks == 2 and .endpoints == 1 and .users == 1'
}

step "both have blocks"
eventually 20 "the operator has looked once" acts
is "nodes" "$(nodes)" node1,node2
is "blocks" "$(blocks)" 4

step "one crashes"
exits 0 "crash" "$weft" lab crash --name "$lab" node2
crashed=$EPOCHREALTIME
eventually 12 "it is away" away
is "it is known still" "$(nodes)" node1,node2
eventually 60 "it is collected" gone
took=$(seconds_since "$crashed")
say "         after $took s"
awk -v t="$took" 'BEGIN { exit !(t > 30) }' || fail "collected after $took s, before the 30 s it has"
eventually 10 "the operator tells" collected
is "its blocks are free" "$(blocks)" 2
"$weft" lab down --name "$lab" >/dev/null || fail "down"
finish
