#!/usr/bin/env bash
# etcd loses all its data under traffic: nothing pauses, within nodes and between them; every node says what is lost and
# nothing that is wrong; push brings the objects back. A node that does not come back is gone as otherwise:
#   nodes_wipe.sh BIN_DIR [TUNNEL]
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_services.sh
source "$(dirname "$0")/lib_services.sh"
# shellcheck source=tests/lab/lib_nodes.sh
source "$(dirname "$0")/lib_nodes.sh"

{
  pod client-1 node1; pod server-2 node2; pod server-3 node3; pod other-1 node1; pod pooled-2 node2
  cat <<'YAML'
---
apiVersion: weft.io/v1alpha1
kind: PodAddressPool
metadata: {name: blue}
spec: {cidrs: [{cidr: 10.245.0.0/16, blockLength: 26}, {cidr: "fd00:10:245::/112", blockLength: 122}], podSelector: {matchLabels: {app: pooled}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: server, namespace: default}
spec: {podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: default}
spec: {clusterIP: 10.96.0.50, selector: {app: server}, ports: [{port: 80, targetPort: 7000}]}
YAML
} | lab_up "$lab" --nodes 3 --tunnel "${2:-vxlan}"
nodes=(node1 node2 node3)
server2=$(pod_address server-2 node2 v4) server2_v6=$(pod_address server-2 node2 v6)
eventually 10 "pods across nodes" answers default/client-1 tcp "$server2" 7000
pooled2=$(pod_address pooled-2 node2 v4)
[[ $pooled2 == 10.245.* ]] || fail "pooled-2 has no address of its pool: $pooled2"
eventually 10 "a pod of a further pool" answers default/client-1 tcp "$pooled2" 7000
eventually 10 "the Service" answers default/client-1 tcp 10.96.0.50 80
denied default/other-1 tcp "$server2" 7000 || fail "a forbidden connection was made"

# Each node explains what another one enforces.
verdict() { at node3 policy explain --from "default/$1" --to default/server-2 --port 7000 -o json | jq -r '[.. | objects | .verdict? // empty][0]'; }
is "who is denied there" "$(verdict other-1)" deny
is "who is allowed there" "$(verdict client-1)" allow
like "who enforces it" "$(at node3 policy explain --from default/other-1 --to default/server-2 --port 7000)" 'server-2 is on node node2, which enforces its ingress'

process_ended() { ! kill -0 "$1" 2>/dev/null; }
wipe() {
  local etcd data
  etcd=$(process_of etcd)
  data=$(tr '\0' '\n' <"/proc/$etcd/cmdline" | sed -n '/^--data-dir$/{n;p}')
  [[ -d $data ]] || stop_test "etcd's directory: '$data'"
  exits 0 "kill etcd" lab_cmd kill etcd1
  eventually 5 "it is gone" process_ended "$etcd"
  rm -rf "$data"
  exits 0 "start etcd" lab_cmd start etcd1
}
# What the nodes say all the while, each of a kind once.
listen() {
  while :; do
    for node in "${nodes[@]}"; do at $node status -o json 2>/dev/null | jq -r --arg n $node '.problems[] | $n + ": " + .'; done
  done
}
is_lost() { grep -q "no longer knows the cluster's objects" <<<"$(at "$1" status)"; }
settled() { [[ $(at "$1" node list -o json | jq -r '[.[] | select(.state == "alive")] | length') == "$2" ]] && joined "$1" true; }

step "etcd loses its data"
identities=$(at node1 identity list -o json | jq -c '[.[] | {number, labels}] | sort')
blocks=$(at node1 node list -o json | jq -c '[.[] | {name, blocks}]')
begin to2 default/client-1 "$server2" 7000 --rate 1000000
begin pooled2 default/client-1 "$pooled2" 7000 --rate 1000000
begin to2_v6 default/client-1 "$server2_v6" 7000 --rate 1000000
begin_load service default/client-1 tcp 10.96.0.50 80 --seconds 90 --threads 2 --pause 2
for path in to2 to2_v6 pooled2; do eventually 3 "$path flows" moving "$path"; done
listen >"$work/said" &
listener=$!; pids+=("$listener")
wipe
for node in "${nodes[@]}"; do
  eventually 40 "$node knows all again" settled "$node" 3
  eventually 20 "$node says what is lost" is_lost "$node"
  is "$node is not well" "$(at "$node" status -o json | jq .health)" '"degraded"'
done
denied default/other-1 tcp "$server2" 7000 || fail "a forbidden connection was made after etcd was wiped"
answers default/client-1 tcp "$pooled2" 7000 || fail "a pod of a further pool is not reached after etcd was wiped"

# Others hold what they heard of its blocks for a while only.
has_blue() { at node2 status | grep -q "^Addresses *blue 10.245."; }
eventually 20 "node2 has its block of the further pool again" has_blue

step "push brings the objects back"
exits 0 "push" at node1 store push
well() { [[ $(at "$1" status -o json | jq -r .health) == ok ]] && at "$1" health; }
for node in "${nodes[@]}"; do eventually 40 "$node is well" well "$node"; done
exits 0 "apply" at node2 apply -f - <<<'{apiVersion: v1, kind: Namespace, metadata: {name: after}}'
after() { at "$1" get namespace after; }
for node in "${nodes[@]}"; do eventually 10 "$node hears of it" after "$node"; done
is "the numbers are as they were" "$(at node1 identity list -o json | jq -c '[.[] | {number, labels}] | sort')" "$identities"
is "the blocks, too" "$(at node1 node list -o json | jq -c '[.[] | {name, blocks}]')" "$blocks"
for path in to2 to2_v6 pooled2; do whole_stream "$path"; done
stop_load service
lossless "the Service meanwhile" service
kill "$listener" 2>/dev/null
false_words=$(sort "$work/said" | uniq -c | grep -v "no longer knows the cluster's objects" | grep -E "not its own|so long|forgot|taken|has no key")
is "nobody says what is not so" "$false_words" ""

step "a node that is down while etcd loses its data"
exits 0 "node3's agent is stopped" lab_cmd kill node3
wipe
for node in node1 node2; do eventually 40 "$node knows node2" settled "$node" 2; done
answers default/client-1 tcp "$(pod_address server-2 node2 v4)" 7000 || fail "pods across nodes"
exits 0 "push" at node2 store push
exits 0 "node3's agent is back" lab_cmd start node3
for node in "${nodes[@]}"; do eventually 40 "$node is well again" well "$node"; done
answers default/client-1 tcp "$(pod_address server-3 node3 v4)" 7000 || fail "node3's pod is not reached"
"$weft" lab down --name "$lab" >/dev/null || fail "down"
finish
