#!/usr/bin/env bash
# BGP in trouble: agents and speakers are killed under traffic, routers are wrong, links and nodes go.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_services.sh
source "$(dirname "$0")/lib_services.sh"
# shellcheck source=tests/lab/lib_bgp.sh
source "$(dirname "$0")/lib_bgp.sh"

racks_up

# What becomes of the first router's routes, into $work/routes, until $monitor is killed.
watch_routes() {
  : >"$work/routes"
  ip -n "$lab-tor1" monitor route >"$work/routes" 2>&1 &
  monitor=$!
  pids+=("$monitor")
}

step "an agent is killed: sessions and traffic go on"
before=$(since) dropped=$(dropped)
watch_routes
begin_load agent client1 tcp "$web" 80 --seconds 60
exits 0 "kill" "$weft" lab kill --name "$lab" node1
exits 0 "start" "$weft" lab start --name "$lab" node1
eventually 10 "the agent is back and knows its sessions" established node1 2
balanced more Cluster | at node1 apply -f - >/dev/null || fail "apply"
placed more-1 node1 more | at node1 apply -f - >/dev/null || fail "apply"
more=
more_known() { more=$(balancer_ip more 4); [[ -n $more ]]; }
eventually 5 "one more Service" more_known
eventually 10 "its backend is there" answered client1 tcp "$more" 80
told "it is told" "$more" "101 102 103"
began_as "$before" || fail "a session of BIRD's was lost: $before, now $(since)"
is "nor of FRR's" "$(dropped)" "$dropped"
stop_load agent
kill "$monitor"
is "the Service's route was never touched" "$(grep "$web" "$work/routes")" ""
lossless "the load meanwhile" agent

step "speakers are killed: routes stay, sessions come back"
for node in node1 node3; do
  n=${node#node}
  old=$(speaker_pid "$node")
  watch_routes
  begin_load "speaker$n" client1 tcp "$web" 80 --seconds 60
  kill -9 "$old"
  restarted() { local now; now=$(speaker_pid "$node"); [[ $now != 0 && $now != "$old" ]]; }
  eventually 10 "$node: another speaker" restarted
  eventually 20 "$node: both sessions" established "$node" 2
  stop_load "speaker$n"
  kill "$monitor"
  lossless "$node: the load meanwhile" "speaker$n"
  is "$node: its pods' route never went" "$(grep -c "^Deleted $(block_of "$node")" "$work/routes")" 0
  told "$node: the Service is there" "$web" "101 102 103"
done

step "a router that is not there, and one of another AS"
{ peering | sed "s/localAS: 65001/localAS: 65001\n  nodeSelector: {}/; s/10.99.2.1, peerAS: 65000/10.99.2.1, peerAS: 65002/"; } | at node1 apply -f - >"$work/apply" 2>&1 || fail "apply: $(cat "$work/apply")"
has_problem() { [[ $(problems "$1") =~ $2 ]]; }
for node in node1 node3; do
  eventually 20 "$node names it" has_problem "$node" "no session with the router 10.99.2.1 of BGPPeering racks, AS 65002: .*[Pp]eer AS"
done
like "the exit code says so" "$(at node1 bgp status >/dev/null; echo $?)" "^1$"
peering | at node1 apply -f - >/dev/null || fail "apply"
for node in node1 node2 node3; do eventually 30 "$node is well again" established "$node" 2; done
for node in node1 node3; do eventually 10 "$node says so" no_problems "$node"; done

step "a link goes and comes back"
ip -n "$lab-tor1" link set n2 down
eventually 15 "its routes go" has_hops 1 "$web" "101 103"
eventually 20 "node2 names the router" has_problem node2 "no session with the router 10.99.1.1"
like "the Service is reached all the same" "$(ask client1 tcp "$web" 80 --timeout 2000)" "^ok web-"
ip -n "$lab-tor1" link set n2 up
told "they come back" "$web" "101 102 103"

step "a node is lost"
# Its power: the machine's kernel says no goodbye for it.
for r in 1 2; do ip -n "$lab-tor$r" link set n2 down; done
exits 0 "crash" "$weft" lab crash --name "$lab" node2
eventually 15 "tor1 sends nothing there" has_hops 1 "$web" "101 103"
eventually 60 "nor tor2" has_hops 2 "$web" "101 103"

finish
