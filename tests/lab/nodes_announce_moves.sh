#!/usr/bin/env bash
# Addresses of Services in a cluster move: when the node that announces one crashes, has no endpoint of a Local Service any
# more, is not what the announcement is for.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_announce.sh
source "$(dirname "$0")/lib_announce.sh"
announcing_lab

step "a node crashes under a client's traffic"
eventually 10 "it is announced" held $address4
holder=$(holder $address4) && other=$(first_other "$holder")
eventually 5 "it serves" reached $address4
exits 0 "crash" lab_cmd crash "$holder"
began=$EPOCHREALTIME
eventually 12 "another has it" held_by_another $address4 "$holder" "$other"
eventually 3 "it serves there" reached $address4
say "         after $(seconds_since "$began") s (a lease is 5 s)"
exits 0 "start" lab_cmd start "$holder"
eventually 30 "it is back" joined "$holder" true

step "of a Local Service only nodes with an endpoint of it; of a selector only those it names"
holder=$(holder $address4 "$other")
index=${holder#node}
service Local | at "$other" apply -f - >/dev/null || fail "apply"
eventually 10 "$address4 is announced" held $address4 "$other"
at "$other" delete pod "web-$index" -n default >/dev/null || fail "delete"
eventually 10 "another has it" held_by_another $address4 "$holder" "$other"
service Cluster | at "$other" apply -f - >/dev/null || fail "apply"
announcement "nodeSelector: {matchLabels: {kubernetes.io/hostname: $holder}}" | at "$other" apply -f - >/dev/null || fail "apply"
for address in $address4 $address6; do
  eventually 10 "$address is where it is meant to be" held_by "$address" "$holder" "$other"
  eventually 5 "$address is answered for there" answered_by "$address" "$holder"
done
"$weft" lab down --name "$lab" >/dev/null || fail "down"
finish
