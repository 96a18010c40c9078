#!/usr/bin/env bash
# BGP: what nodes tell a BIRD and an FRR, by BIRD and by FRR, and what clients behind these routers reach by it.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_services.sh
source "$(dirname "$0")/lib_services.sh"
# shellcheck source=tests/lab/lib_bgp.sh
source "$(dirname "$0")/lib_bgp.sh"

racks_up

step "what the routers were told"
told "the Service is at all nodes" "$web" "101 102 103"
told "one with policy Local where its backend is" "$local" "102"
for n in 1 2 3; do
  told "the pods of node$n" "$(block_of node$n)" "10$n"
  eventually 10 "and IPv6 ones, over the same session" has_hops6 "$(block6_of node$n)" "10$n"
done
like "communities, at BIRD" "$(tor1_says show route all "$web/32" | grep -c 'community: (65001,2) (65535,65281)')" "^3$"
like "large ones" "$(tor1_says show route all "$web/32" | grep -c 'large_community: (65001, 2, 3)')" "^3$"
like "at FRR" "$(tor2_says show bgp ipv4 unicast "$(block_of node1)")" "Community: 65001:1"
is "no fault" "$(for n in node1 node2 node3; do problems $n; done)" ""
like "the routes as node1 lists them" "$(at node1 bgp routes 10.99.1.1)" "$web/32 +advertised +10.99.1.1"
like "the routes as node3 lists them" "$(at node3 bgp routes -o json | jq -c '[.[] | select(.direction == "received") | .prefix] | unique')" '10.88.1.0/24.*10.88.2.0/24'

step "no pod is taken for its node"
kept=$(dropped)
inside default/web-1 python3 -c "import socket; socket.create_connection(('10.99.2.1', 179), timeout=1)" 2>/dev/null && fail "a pod reached the router's BGP"
like "that is counted" "$(at node1 status -o json | jq '[.datapath.drops[] | select(.reason == "bgp") | .packets] | add // 0')" "^[1-9]"
is "no session ended" "$(dropped)" "$kept"

step "clients behind the routers"
for r in 1 2; do
  eventually 10 "client$r reaches the Service" answered "client$r" tcp "$web" 80
  eventually 10 "client$r reaches the one with policy Local" answered "client$r" tcp "$local" 80
  like "which sees the client's own address" "$(ask "client$r" tcp "$local" 80 --timeout 1000)" "^ok local-2 10.88.$r.2 "
  for n in 1 2 3; do
    like "client$r reaches web-$n" "$(ask "client$r" tcp "$(at "node$n" get pod "web-$n" -o json | jq -r '.status.podIPs[].ip | select(contains(":") | not)')" 7000 --timeout 1000)" "^ok web-$n"
  done
done

step "nodes take each other's blocks from the routers"
learnt() { # NODE PREFIX
  [[ -n $(on "$1" ip route show "$2" proto bird)$(on "$1" ip route show "$2" proto bgp) ]]
}
is "nothing of that is taken unasked" "$(learnt node1 "$(block_of node3)" && echo taken)" ""
imports="10.88.0.0/16, 10.244.0.0/16"
peering | at node1 apply -f - >/dev/null || fail "apply"
for pair in "node1 node3" "node2 node3"; do
  read -r node other <<<"$pair"
  eventually 15 "$node has $other's" learnt "$node" "$(block_of "$other")"
  is "and not its own" "$(learnt "$node" "$(block_of "$node")" && echo taken)" ""
done
# FRR has it too; the way that Weft itself knows there wins in zebra.
received() { at "$1" bgp routes -o json | jq -e --arg p "$2" '[.[] | select(.direction == "received" and .prefix == $p)] != []'; }
eventually 15 "node3 has node1's" received node3 "$(block_of node1)"
for node in node1 node2 node3; do is "$node kept its sessions" "$(established $node 2 && echo yes)" yes; done

step "the last ready backend of a node goes"
exits 0 "delete" "$weft" lab delete --name "$lab" -f <(placed local-2 node2 local)
told "nobody has it" "$local" ""
placed local-3 node3 local | at node1 apply -f - >/dev/null || fail "apply"
told "another node has it" "$local" "103"

step "no peering any more: all is withdrawn"
exits 0 "delete" at node1 delete bgppeering racks
told "nothing is left" "$web" ""
ended() { ! ip netns pids "weft-$lab-$1" | xargs -r ps -o comm= -p | grep -qE '^(bird|bgpd|zebra)$'; }
for node in node1 node3; do eventually 10 "$node: no speaker" ended "$node"; done
like "weft says so" "$(at node1 bgp status)" "no BGPPeering is for this node"
finish
