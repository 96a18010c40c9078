#!/usr/bin/env bash
# The clock of one node is set, three days forth and three days back, under traffic: leases, addresses at rest, keys and
# what is shared go by time that has passed.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_nodes.sh
source "$(dirname "$0")/lib_nodes.sh"
[[ -e $bin/libclock_shift.so ]] || { echo "$bin/libclock_shift.so is not built"; exit 2; }

# The first node's agent has a clock of its own, and all let addresses rest for ten seconds.
wrapped=$work/programs
mkdir "$wrapped"
ln -s "$bin/weft-cni" "$bin/weft-operator" "$wrapped"
echo 0 >"$work/shift"
cat >"$wrapped/weftd" <<SH
#!/bin/sh
# \$2 is the configuration file of the lab.
sed -i '/^quarantine_seconds:/d' "\$2"
echo 'quarantine_seconds: 10' >>"\$2"
if grep -q '^node: *"*node1' "\$2"; then export LD_PRELOAD=$bin/libclock_shift.so CLOCK_SHIFT_FILE=$work/shift; fi
exec "$bin/weftd" "\$@"
SH
chmod +x "$wrapped/weftd"
export WEFT_BIN_DIR=$wrapped

{ pod web-1 node1; pod web-2 node2; pod gone-1 node1; pod gone-2 node1; } |
  lab_up "$lab" --nodes 2 --tunnel vxlan --encryption wireguard --operators 1
two=$(pod_address web-2 node2 v4) one_v6=$(pod_address web-1 node1 v6)
eventually 15 "pods reach each other" answers default/web-1 tcp "$two" 7000
agent=$(process_of node1/weftd)

set_clock() { echo "$1" >"$work/shift.new" && mv "$work/shift.new" "$work/shift"; } # SECONDS off
resting() { at node1 ipam list -o json | jq '.quarantine | length'; }
rests_no_more() { [[ $(resting) == 0 ]]; }

check_jump() { # WHAT SECONDS POD
  begin there default/web-1 "$two" 7000 --rate 2000000
  begin back default/web-2 "$one_v6" 7000 --rate 2000000
  for path in there back; do eventually 5 "$path flows" moving $path; done
  at node1 delete pod "default/$3" >/dev/null || fail "delete"
  rests() { [[ $(resting) -gt 0 ]]; }
  eventually 5 "$1: its addresses rest" rests
  deleted=$EPOCHREALTIME
  set_clock "$2"
  for node in node1 node2; do
    is "$1: all are alive at $node" "$(at $node node list -o json | jq '[.[] | select(.state == "alive")] | length')" 2
  done
  pod "$3-new" node1 >"$work/new.yaml"
  exits 0 "$1: a pod comes" lab_cmd apply -f "$work/new.yaml"
  eventually 10 "$1: and answers" answers default/web-2 tcp "$(pod_address "$3-new" node1 v4)" 7000
  awk -v t="$(seconds_since "$deleted")" 'BEGIN { exit t > 8 }' && [[ $(resting) == 0 ]] && fail "$1: the addresses rest no longer"
  eventually 15 "$1: after their time, they are free" rests_no_more
  exits 0 "$1: keys change" at node1 encryption rotate
  for path in there back; do moving $path || fail "$1: $path stopped"; done
  whole_stream there
  whole_stream back
  is "$1: it is the same agent" "$(process_of node1/weftd)" "$agent"
  is "$1: it has not been away" "$(joined node1 true && echo joined)" joined
}

step "three days forth"
check_jump forth 259200 gone-1
step "three days back, before its start"
check_jump back -259200 gone-2

step "an agent that starts with its clock far off"
kill -9 "$agent"
again() { [[ -n $(process_of node1/weftd) && $(process_of node1/weftd) != "$agent" ]] && at node1 status; }
eventually 20 "it serves again" again
eventually 15 "it has joined" joined node1 true
grep -q "^$(date -u -d '-3 days' +%F)T.* joined cluster" "/run/weft/lab/$lab/node1/weftd.log" || fail "its clock was right all the time"
eventually 10 "pods reach each other" answers default/web-1 tcp "$two" 7000
set_clock 0

step "without etcd keys do not begin to change"
exits 0 "etcd goes" lab_cmd kill etcd1
away() { joined node2 false; }
eventually 15 "it is away" away
exits 1 "rotate" at node2 encryption rotate
exits 0 "etcd comes" lab_cmd start etcd1
eventually 15 "it is back" joined node2 true
finish
