#!/usr/bin/env bash
# Addresses of Services in a cluster: one node announces each; restarts and losing etcd move nothing; another one takes over
# when an agent dies and stays away, and the old one's datapath falls silent.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_announce.sh
source "$(dirname "$0")/lib_announce.sh"
announcing_lab

step "one node announces each address, and all say which"
for address in $address4 $address6; do
  eventually 10 "$address is announced" held "$address"
  holder=$(holder "$address")
  for node in node1 node2 node3; do eventually 3 "$node says so" held_by "$address" "$holder" "$node"; done
  eventually 5 "$address is answered for by it" answered_by "$address" "$holder"
  eventually 5 "$address serves" reached "$address"
  for node in $(others "$holder"); do
    [[ $(rows "$node") != *"$address"* ]] || fail "$node announces $address, too"
  done
done
like "list" "$(at node1 service list -o wide)" "ANNOUNCED BY"

step "an agent that is restarted keeps them"
holder=$(holder $address4)
other=$(first_other "$holder")
agent=$(process_of "$holder/weftd")
began=$EPOCHREALTIME
kill -9 "$agent"
back() { [[ $(process_of "$holder/weftd") != "$agent" ]] && joined "$holder" true; }
eventually 20 "it serves again" back
took=$(seconds_since "$began")
eventually 10 "$address4 is announced" held $address4 "$other"
# On a busy machine the start may take as long as a lease, and then another node has it.
if awk -v t="$took" 'BEGIN { exit !(t < 3) }'; then
  is "still" "$(holder $address4 "$other")" "$holder"
else
  say "         the start took $took s"
fi

step "etcd is away for longer than a lease: who announces goes on"
holder=$(holder $address4 "$other") && other=$(first_other "$holder")
eventually 5 "it answers" answered_by $address4 "$holder"
etcd=$(process_of etcd)
cleanup_hooks+=("kill -CONT $etcd")
kill -STOP "$etcd"
eventually 25 "the holder is away" joined "$holder" false
eventually 3 "it answers while etcd is away" answered_by $address4 "$holder"
eventually 3 "it serves while etcd is away" reached $address4
kill -CONT "$etcd"
for node in node1 node2 node3; do eventually 30 "$node joins again" joined $node true; done
eventually 10 "$address4 is announced" held $address4

step "an agent dies and stays away: another node takes over, and the old one's datapath falls silent"
holder=$(holder $address4) && other=$(first_other "$holder")
exits 0 "kill" lab_cmd kill "$holder"
began=$EPOCHREALTIME
eventually 2 "it serves without its agent" reached $address4
eventually 8 "another has it" held_by_another $address4 "$holder" "$other"
heir=$(holder $address4 "$other")
eventually 3 "it answers" answered_by $address4 "$heir"
say "         after $(seconds_since "$began") s"
for _ in 1 2 3; do
  if answered_by $address4 "$holder"; then fail "the old node still answers"; fi
done
eventually 3 "it serves there" reached $address4
exits 0 "start" lab_cmd start "$holder"
eventually 20 "it is back" joined "$holder" true
is "it stays where it is" "$(holder $address4 "$other")" "$heir"
eventually 5 "it answers" answered_by $address4 "$heir"

"$weft" lab down --name "$lab" >/dev/null || fail "down"
finish
