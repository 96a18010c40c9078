#!/usr/bin/env bash
# Nodes that share an etcd of three members, under traffic: the leader dies, another member dies, the majority is gone
# and comes back. Changes go on as long as a majority is there, traffic always, and nobody sees a node as away.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_nodes.sh
source "$(dirname "$0")/lib_nodes.sh"
[[ -x $(command -v etcdctl) ]] || { echo "skipped: etcdctl is not installed"; exit 77; }

{ pod client-1 node1; pod server-2 node2; pod server-3 node3; } | lab_up "$lab" --nodes 3 --etcd-members 3 --tunnel geneve
all_joined() { joined node1 true && joined node2 true && joined node3 true; }
all_alive() { [[ $(at node1 node list -o json | jq '[.[] | select(.state == "alive")] | length') == 3 ]]; }
# The member that leads, as etcd itself says.
leader() {
  ip netns exec "weft-$lab-world" etcdctl --endpoints http://192.0.2.1:2379,http://192.0.2.4:2379,http://192.0.2.5:2379 \
    --command-timeout 2s endpoint status -w json 2>/dev/null |
    jq -r '([.[].Status | select(.leader == .header.member_id)] | .[0].header.member_id) as $id | .[] |
           select(.Status.header.member_id == $id) | .Endpoint' |
    sed 's/.*192.0.2.1:.*/etcd1/; s/.*192.0.2.4:.*/etcd2/; s/.*192.0.2.5:.*/etcd3/'
}
namespace_object() { printf 'apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n' "$1"; }
applied() { namespace_object "$2" | at "$1" apply -f -; }
known() { [[ $(at "$1" get namespace "$2" -o json | jq -r .metadata.name) == "$2" ]]; }
changes_go_on() { # NAME: at every node, to every other
  local node other
  for node in node1 node2 node3; do
    eventually 20 "apply at $node" applied $node "$1-$node"
    for other in node1 node2 node3; do eventually 5 "$1-$node is known at $other" known $other "$1-$node"; done
  done
}
# A pod's own node may hear of its object after the others.
addresses() { server2=$(pod_address server-2 node2 v4) && server3=$(pod_address server-3 node3 v4) && [[ -n $server2 && -n $server3 ]]; }
eventually 10 "both servers are known" addresses
eventually 10 "pods across nodes" answers default/client-1 tcp "$server2" 7000
eventually 10 "all of them" answers default/client-1 tcp "$server3" 7000
begin to2 default/client-1 "$server2" 7000 --rate 1000000
eventually 3 "the stream flows" moving to2
changes_go_on whole

step "the leader is killed"
first=$(leader)
[[ $first == etcd[123] ]] || stop_test "no leader: $first"
exits 0 "kill $first" lab_cmd kill "$first"
changes_go_on without-leader
is "all nodes are alive" "$(all_alive && echo yes)" yes
eventually 10 "all have joined" all_joined
is "the lab says what is missing" "$("$weft" lab list -o json | jq -r --arg l "$lab" '.[] | select(.name == $l) | .etcd')" degraded

step "the majority is gone: changes wait, traffic goes on"
second=$(leader)
[[ $second == etcd[123] && $second != "$first" ]] || stop_test "no other leader: $second"
exits 0 "kill $second" lab_cmd kill "$second"
eventually 25 "node1 knows that it is away" joined node1 false
applied node1 refused >"$work/refused" 2>&1 && fail "a change was taken without a majority"
grep -q "etcd" "$work/refused" || fail "the refusal does not name etcd: $(cat "$work/refused")"
answers default/client-1 tcp "$server3" 7000 || fail "a connection was not made without etcd"

step "a member comes back, then the other"
exits 0 "start $second" lab_cmd start "$second"
for node in node1 node2 node3; do eventually 30 "$node joins again" joined $node true; done
changes_go_on returned
exits 0 "start $first" lab_cmd start "$first"
complete() { [[ $("$weft" lab list -o json | jq -r --arg l "$lab" '.[] | select(.name == $l) | .etcd') == running ]]; }
eventually 15 "all members run" complete
exits 0 "kill the third" lab_cmd kill "$(leader)"
changes_go_on third
whole_stream to2
"$weft" lab down --name "$lab" >/dev/null || fail "down"
finish
