#!/usr/bin/env bash
# Egress gateways that fail: another one takes the address and new connections, old ones end at once; agents that are
# killed change nothing; without a gateway nothing leaves.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_egress.sh
source "$(dirname "$0")/lib_egress.sh"
[[ -x $(command -v etcd) ]] || { echo "skipped: etcd is not installed"; exit 77; }

floating="egressIPs: [$egress4, \"$egress6\"]"
{ bank bank-1 node1; bank bank-3 node3; bank other-1 node1; } | lab_up "$lab" --nodes 3 --tunnel vxlan
serve world 7100
# Once all know each other: whoever comes first would take the address otherwise, and keep it.
all_alive() { [[ $(at "$1" node list -o json | jq '[.[] | select(.state == "alive")] | length') == 3 ]]; }
for node in node2 node3; do eventually 20 "$node knows all" all_alive $node; done
egress_gateway "[{node: node2, $floating}, {node: node3, $floating}]" | at node1 apply -f - >/dev/null || fail "apply"
eventually 20 "by node2" sees bank-1 tcp $partner4 $egress4
eventually 5 "from the gateway-to-be, too" sees bank-3 tcp $partner4 $egress4
is "the preferred one" "$(active_at node1)" node2

first=node2 second=node3
step "the gateway crashes under traffic"
begin cut default/bank-1 $partner4 7100 --rate 2000000
begin beside default/other-1 $partner4 7100 --rate 2000000
for path in cut beside; do eventually 5 "$path flows" moving $path; done
# As when its power fails: while a lab takes a node apart, what is left of its stack still answers.
exits 0 "it is cut off" "$weft" lab net partition --name "$lab" "$first"
exits 0 "crash" lab_cmd crash "$first"
eventually 30 "another one with the same address" sees bank-1 tcp $partner4 $egress4
eventually 10 "over IPv6" sees bank-1 tcp $partner6 $egress6
eventually 10 "who it is" is_active_at node1 "$second"
# The old connection is not known there: its client is told at its next packet, instead of waiting for minutes.
ended() { ! kill -0 "${streams[cut]}" 2>/dev/null; }
eventually 20 "the old connection ends" ended
like "it failed" "$(cat "$work/stream.cut")" '"error":"..*"'
[[ $(drops_at "$second" egress-unknown-flow) -gt 0 ]] || fail "the new gateway reset nothing: $(at "$second" status -o json | jq -c '[.datapath.drops[] | {reason, packets}]') $(cat "$work/stream.cut")"
moving beside || fail "who leaves by its own node was disturbed"
whole_stream beside

step "who comes back does not take it away"
begin stays default/bank-1 $partner4 7100 --rate 2000000
eventually 5 "stays flows" moving stays
exits 0 "it is wired again" "$weft" lab net heal --name "$lab" "$first"
exits 0 "start" lab_cmd start "$first"
back() { at node1 node list -o json | jq -e --arg n "$first" '.[] | select(.name == $n) | .state == "alive"' >/dev/null; }
eventually 30 "$first is back" back
waits() { [[ $(at node1 egress list -o json | jq -r --arg n "$first" '.[].gateways[] | select(.node == $n) | .why') == *"is at node $second"* ]]; }
eventually 10 "it knows who has the address" waits
has_address "$first" $egress4 && fail "$first has the address as well"
is "seen as ever" "$(seen bank-1 tcp $partner4)" $egress4
whole_stream stays

step "without a gateway nothing leaves"
before=$(drops_at node1 no-egress-gateway)
egress_gateway '[{node: nobody}]' | at node1 apply -f - >/dev/null || fail "apply"
stopped() { [[ $(seen bank-1 tcp $partner4) == timeout ]]; }
eventually 10 "nothing leaves" stopped
[[ $(drops_at node1 no-egress-gateway) -gt $before ]] || fail "no packet was counted as no-egress-gateway"
like "the list says why" "$(at node1 egress list)" "no node is named nobody"
is "others leave" "$(seen other-1 tcp $partner4)" "$(node_address node1 address)"
gone() { ! has_address node2 $egress4 && ! has_address node3 $egress4; }
eventually 10 "nobody keeps the address" gone

step "a gateway that does not answer is left"
egress_gateway '[{node: node2}, {node: node3}]' | at node1 apply -f - >/dev/null || fail "apply"
eventually 10 "by node2's own address" sees bank-1 tcp $partner4 "$(node_address node2 address)"
on node2 nft -f - <<'RULES'
table inet weft_test {
  chain input { type filter hook input priority 0; udp dport 8472 drop; }
}
RULES
eventually 40 "by node3" sees bank-1 tcp $partner4 "$(node_address node3 address)"
like "it says why" "$(at node1 egress list)" "node2: it does not answer"
on node2 nft delete table inet weft_test
eventually 40 "by node2 again" sees bank-1 tcp $partner4 "$(node_address node2 address)"

step "agents are killed under traffic"
egress_gateway "[{node: node2, $floating}, {node: node3, $floating}]" | at node1 apply -f - >/dev/null || fail "apply"
eventually 15 "the address again" sees bank-1 tcp $partner4 $egress4
eventually 5 "over IPv6" sees bank-1 tcp $partner6 $egress6
gateway=$(active_at node1)
begin kept default/bank-1 $partner4 7100 --rate 2000000
begin kept6 default/bank-1 $partner6 7100 --rate 2000000
for path in kept kept6; do eventually 5 "$path flows" moving $path; done
# What their restart takes is not looked at: a lease is short in a lab, and the address moves when it is over.
for node in node1 "$gateway"; do kill -9 "$(process_of "$node/weftd")"; done
for path in kept kept6; do moving $path || fail "$path stopped with the agents"; done
is "new ones, too" "$(seen bank-1 tcp $partner4) $(seen bank-1 tcp $partner6)" "$egress4 $egress6"
whole_stream kept
whole_stream kept6
serves() { at "$1" status >/dev/null; }
for node in node1 "$gateway"; do eventually 30 "another agent of $node" serves "$node"; done
eventually 30 "the gateway is one" sees bank-1 tcp $partner4 $egress4
finish
