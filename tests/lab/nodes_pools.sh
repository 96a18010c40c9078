#!/usr/bin/env bash
# Pools of pods' addresses on two nodes: chosen by namespace, by name and by address; all reach each other as policies
# say; an address by name stays its pod's, also on another node; a full pool is said and fills again; one in use stays:
#   nodes_pools.sh BIN_DIR [TUNNEL]
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
[[ -x $(command -v etcd) ]] || { echo "skipped: etcd is not installed"; exit 77; }
tunnel=${2:-none}

at() { "$weft" --lab "$lab" --node "$1" "${@:2}"; }
pool() { # NAME SPEC
  printf -- '---\napiVersion: weft.io/v1alpha1\nkind: PodAddressPool\nmetadata: {name: %s}\nspec: {%s}\n' "$1" "$2"
}
pod() { # NAMESPACE NAME NODE [ANNOTATIONS]
  cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $2, namespace: $1, labels: {app: ${2%-*}}, annotations: {${4:-}}}
spec: {nodeName: $3, containers: [{name: c, image: none, ports: [{containerPort: 80}]}]}
YAML
}
static() { pod shop fixed-1 "$1" 'weft.io/addresses: "10.70.0.7, fd70::7"'; }
manifest() {
  pool team 'cidrs: [{cidr: 10.50.0.0/16, blockLength: 26}, {cidr: "fd50::/56"}], namespaceSelector: {matchLabels: {team: blue}}'
  pool named 'cidrs: [{cidr: 10.60.0.0/24, blockLength: 28}]'
  pool fixed 'cidrs: [{cidr: 10.70.0.0/28, blockLength: 32}, {cidr: "fd70::/124", blockLength: 128}]'
  pool tiny 'cidrs: [{cidr: 10.80.0.0/31, blockLength: 32}]'
  cat <<YAML
---
apiVersion: v1
kind: Namespace
metadata: {name: blue, labels: {team: blue}}
---
apiVersion: v1
kind: Namespace
metadata: {name: called, annotations: {weft.io/address-pool: named}}
---
apiVersion: v1
kind: Namespace
metadata: {name: lost, annotations: {weft.io/address-pool: green}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: from-called, namespace: blue}
spec:
  podSelector: {}
  ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: called}}}]}]
YAML
  for i in 1 2; do
    pod shop "plain-$i" "node$i"
    pod blue "team-$i" "node$i"
    pod called "called-$i" "node$i"
  done
  pod shop own-1 node1 'weft.io/address-pool: named'
  static node1
}
addresses() { at node1 get pod "$1" -o json | jq -r '[.status.podIPs[].ip] | join(" ")'; }
has_addresses() { [[ $(addresses "$1") == "$2" ]]; }
of_pool() { # POD PATTERN
  like "the addresses of $1" "$(addresses "$1")" "^$2$"
}
blocks_of() { at "$1" ipam list -o json | jq -r --arg p "$2" '[.pools[] | select(.name == $p and .allocated > 0) | .cidr] | join(" ")'; }
probe_all() { "$weft" lab probe --name "$lab" --port 80/TCP --timeout 2s -o json "$@" >"$work/probes" 2>"$work/probe.err" || true; }
wrong() {
  jq -c '.[] | select(.reachable != null) | select(.agrees != true or .reachable != ((.to | startswith("blue/") | not) or .from == .to
    or (.from | startswith("called/")))) | [.from, .to, .address, .reachable, .verdict]' "$work/probes" | head -n 5
}
lab_apply() { "$weft" lab apply --name "$lab" -f - "$@"; }
lab_delete() { "$weft" lab delete --name "$lab" -f -; }

step "a lab of two nodes, $tunnel"
manifest | lab_up "$lab" --nodes 2 --tunnel "$tunnel"
v4='10\.244\.[0-9]+\.[0-9]+'
of_pool shop/plain-1 "$v4 fd00:10:244:[0-9a-f:]+"
for i in 1 2; do
  of_pool "blue/team-$i" '10\.50\.[0-9.]+ fd50:[0-9a-f:]+'
  of_pool "called/called-$i" '10\.60\.0\.[0-9]+'
done
of_pool shop/own-1 '10\.60\.0\.[0-9]+'
is "the address by name" "$(addresses shop/fixed-1)" "10.70.0.7 fd70::7"
is "its block" "$(blocks_of node1 fixed)" "10.70.0.7/32 fd70::7/128"
is "no block of a pool is both nodes'" \
  "$(for node in node1 node2; do at "$node" ipam list -o json | jq -r '.pools[].cidr'; done | sort | uniq -d)" ""

step "all reach each other as policies say, over both families"
probe_all --family 4
is "probes of IPv4 that went otherwise" "$(wrong)" ""
# Pods of the pool "named" have no IPv6 address.
probe_all --family 6 --from shop/plain-1 --from shop/plain-2 --from shop/fixed-1 --from blue/team-1 --from blue/team-2
is "probes of IPv6 that went otherwise" "$(wrong)" ""
probe_all --family 4
is "pairs" "$(jq length "$work/probes")" 64
probe_all --from called/called-1 --to world
is "to the world" "$(jq '[.[] | select(.reachable)] | length > 0' "$work/probes")" true

step "an address by name is its pod's again, here and on the other node"
static node1 | lab_delete >/dev/null || fail "delete"
static node1 | lab_apply >"$work/again" 2>&1 || fail "apply: $(cat "$work/again")"
is "here" "$(addresses shop/fixed-1)" "10.70.0.7 fd70::7"
static node2 | lab_apply >"$work/moved" 2>&1 || fail "move: $(cat "$work/moved")"
eventually 10 "there" has_addresses shop/fixed-1 "10.70.0.7 fd70::7"
is "node2 has its blocks" "$(blocks_of node2 fixed)" "10.70.0.7/32 fd70::7/128"
is "node1 has none" "$(blocks_of node1 fixed)" ""
probe_all --to shop/fixed-1
is "probes that went otherwise" "$(wrong)" ""
probe_all --from shop/fixed-1
is "and from it" "$(wrong)" ""

step "what cannot be given is refused by name"
ip netns add "$lab-thief"
cleanup_hooks+=("ip netns delete $lab-thief")
attach() { # NAMESPACE CNI_ARGS: by the runtime's own word, on node2
  CNI_COMMAND=ADD CNI_CONTAINERID=thief CNI_NETNS="/run/netns/$lab-thief" CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin \
    CNI_ARGS="K8S_POD_NAMESPACE=$1;K8S_POD_NAME=thief;$2" "$bin/weft-cni" \
    <<<"{\"cniVersion\":\"1.1.0\",\"name\":\"weft-lab\",\"type\":\"weft-cni\",\"socket\":\"/run/weft/lab/$lab/node2/weft.sock\"}" 2>&1
}
like "another node's" "$(attach shop "IP=$(addresses shop/own-1)")" "pod shop/thief: 10.60.0.[0-9]+ is in block 10.60.0.[0-9]+/28 of pool .*named.*, which is node node1's, and in use by pod shop/own-1 of node node1"
like "another pod's" "$(attach shop IP=10.70.0.7)" "pod shop/thief: 10.70.0.7 is in use by pod shop/fixed-1"
like "nobody's" "$(attach lost "")" "pod lost/thief: there is no pool of addresses .*green.* there are default .*, tiny"
like "the node's status says it, too" "$(at node2 status)" "pod lost/thief has no network, tried 1 times since .*there is no pool of addresses .*green"
is "each pod once" "$(at node2 status -o json | jq -r '[.unattached[] | "\(.namespace)/\(.pod) \(.tries)"] | join(", ")')" "lost/thief 1, shop/thief 2"
like "the doctor" "$(at node2 doctor)" "✗ pods +pod lost/thief has no network"

step "a full pool is said, and gives again what was given back"
for i in 1 2; do pod shop "tiny-$i" "node$i" 'weft.io/address-pool: tiny'; done | lab_apply >"$work/tiny" 2>&1 || fail "tiny: $(cat "$work/tiny")"
is "both addresses" "$(for i in 1 2; do addresses "shop/tiny-$i"; done | sort | tr '\n' ' ')" "10.80.0.0 10.80.0.1 "
pod shop tiny-3 node1 'weft.io/address-pool: tiny' | lab_apply --timeout 3s >"$work/full" 2>&1
like "it is full" "$(cat "$work/full")" "pod shop/tiny-3: pool \"tiny\": all 2 IPv4 blocks are taken"
freed=$(addresses shop/tiny-2)
pod shop tiny-2 node2 | lab_delete >/dev/null || fail "delete tiny-2"
eventually 15 "the third has the address" has_addresses shop/tiny-3 "$freed"

step "a pool in use stays, one that nobody uses goes, and none is in another's way"
exits 1 "a pool in use" at node2 delete podpool named
like "and by whom" "$output" "PodAddressPool named is in use: node node1 has 10.60.0.[0-9]+/28 \(pod [a-z]+/[a-z]+-1 has 10.60.0.[0-9]+"
exits 1 "a pool in the way" at node1 apply -f - <<<"$(pool clash 'cidrs: [{cidr: 10.60.0.128/25}]')"
like "is said with its place" "$output" ".*5:23: spec.cidrs\[0\].cidr: 10.60.0.128/25 overlaps 10.60.0.0/24 of pool \"named\""
exits 0 "it grows" at node1 apply -f - <<<"$(pool tiny 'cidrs: [{cidr: 10.80.0.0/31, blockLength: 32}, {cidr: 10.81.0.0/31, blockLength: 32}]')"
for i in 1 3; do pod shop "tiny-$i" node1; done | lab_delete >/dev/null || fail "delete tiny pods"
eventually 10 "it goes when nobody has a block" at node2 delete podpool tiny
is "and is gone" "$(at node1 get podaddresspools -o name | tr '\n' ' ')" "podaddresspool/fixed podaddresspool/named podaddresspool/team "
like "what there is" "$(at node1 ipam list)" "named +10.60.0.0/24 +/28 +16 +2 +1"

step "an agent that starts again knows its blocks"
before=$(addresses blue/team-1)
keys_of_blocks() { ip netns exec "weft-$lab-world" etcdctl --endpoints http://192.0.2.1:2379 get --prefix "/weft/v1/$lab/blocks/" -w json | jq -c '[.kvs[].key | @base64d] | sort'; }
blocks=$(keys_of_blocks)
given_back() { grep -c 'gives block default .* back' "/run/weft/lab/$lab/node1/weftd.log"; }
given=$(given_back)
exits 0 "kill" "$weft" lab kill --name "$lab" node1
exits 0 "start" "$weft" lab start --name "$lab" node1
eventually 30 "it answers" at node1 status
is "the pod's addresses" "$(addresses blue/team-1)" "$before"
whole() { [[ $(at "$1" status -o json | jq -c .problems) == "[]" ]]; }
eventually 15 "it is well" whole node1
# It took no other block meanwhile, not for a moment.
is "the claims of blocks" "$(keys_of_blocks)" "$blocks"
is "none was given back" "$(given_back)" "$given"
pod blue team-3 node1 | lab_apply >"$work/late" 2>&1 || fail "after the start: $(cat "$work/late")"
probe_all --from called/called-2 --to blue/team-3
is "probes that went otherwise" "$(wrong)" ""

step "etcd loses all its data, and gets it again"
plain=$(addresses shop/plain-2) called=$(addresses called/called-2)
exits 0 "kill" "$weft" lab kill --name "$lab" etcd1
rm -rf "/var/lib/weft/lab/$lab/etcd/member"
exits 0 "start" "$weft" lab start --name "$lab" etcd1
problems() { at "$1" status -o json | jq -r '.problems[]'; }
says() { problems "$1" | grep -q "$2"; }
for node in node1 node2; do
  eventually 40 "$node says that the objects are gone" says $node "no longer knows the cluster's objects"
  is "not that it was away" "$(problems $node | grep -c reclaim_seconds)" 0
done
# Also those of pools whose objects are not there yet: others would not reach the pods.
all_blocks() { [[ $(keys_of_blocks) == "$blocks" ]]; }
eventually 15 "both have all their blocks again" all_blocks
exits 0 "push" at node1 store push
for node in node1 node2; do eventually 30 "$node is well" whole $node; done
is "the blocks are the same" "$(keys_of_blocks)" "$blocks"
is "no other ones were taken meanwhile" "$(given_back)" "$given"
is "addresses of pod_cidrs" "$(addresses shop/plain-2)" "$plain"
is "addresses of a pool" "$(addresses called/called-2)" "$called"
all_right() { probe_all --family 4; [[ -z $(wrong) ]]; }
eventually 20 "all reach each other as before" all_right

finish
