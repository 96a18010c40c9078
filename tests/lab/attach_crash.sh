#!/usr/bin/env bash
# Attaching through the real agent and plugin: what the CNI specification asks, and what is left when
# either of them is killed. Each step of an attachment is hit once, then many moments at random.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"

exec 2>"$work/stderr"  # where the shell tells of every process killed
node=wcrash-$$
pod=wcrash-$$-pod
second=wcrash-$$-two
pins=/sys/fs/bpf/weft-crash-$$
cgroup=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)/weft-crash-$$
socket=$work/run/weft.sock
agent=

take_all_down() {
  [[ -n $agent ]] && kill -9 "$agent"
  for name in $node $pod $second; do ip netns delete "$name"; done
  rm -rf "$pins"
  rmdir "$cgroup"
}
cleanup_hooks+=(take_all_down)
for name in $node $pod $second; do
  ip netns add "$name" || stop_test "no namespace $name"
  ip -n "$name" link set lo up
done
mkdir -p "$cgroup"
cat >"$work/weftd.yaml" <<EOF
instance: node
node: $node
state_dir: $work/state
run_dir: $work/run
bpffs: $pins
cgroup_root: $cgroup
pod_cidrs: [10.211.0.0/24, "fd00:211::/64"]
service_cidrs: [10.212.0.0/24]
quarantine_seconds: 0
flow_table_entries: 1024
log_file: $work/weftd.log
EOF

configuration() { printf '{"cniVersion":"1.1.0","name":"crash","type":"weft-cni","socket":"%s"%s}' "$socket" "${1:-}"; }
# cni COMMAND CONTAINER NETNS [MORE CONFIGURATION]
cni() {
  configuration "${4:-}" | CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=${3:+/run/netns/$3} CNI_IFNAME=eth0 \
    CNI_PATH=$bin CNI_ARGS="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=$2" "$bin/weft-cni"
}
code_of() { jq -r '.code // empty' <<<"$output"; }

# Not `ip netns exec`, which gives its command another /sys. An argument is the step to die after.
start_agent() {
  WEFT_TEST_CRASH_AT=${1:-} nsenter --net="/run/netns/$node" "$bin/weftd" --config "$work/weftd.yaml" 2>"$work/err" &
  agent=$!
  until_true 10 cni STATUS "" "" || stop_test "weftd does not serve: $(cat "$work/err"; tail -n 3 "$work/weftd.log")"
}
kill_agent() {
  kill -9 "$agent" 2>/dev/null
  wait "$agent" 2>/dev/null
  agent=
}
agent_died() {
  until_true 5 eval "! kill -0 $agent" || return 1
  wait "$agent" 2>/dev/null
  agent=
}

left() {
  ip -n "$node" -o link show type veth
  ip -n "$node" route show table main | grep -v 'dev weft0'
  for name in $pod $second; do ip -n "$name" -o link | grep -v ' lo:'; done
  "$weft" --socket "$socket" endpoint list -o json | jq -c '.[]'
  "$weft" --socket "$socket" ipam list -o json | jq -c '.allocations[]? | select((.owner // "") | startswith("reserved") | not)'
  "$weft" --socket "$socket" bpf endpoints list -o json | jq -c '.[] | select(tostring | test("10\\.211\\.0\\.([2-9]|[0-9]{2})|fd00:211::[2-9a-f]"))'
  compgen -G "$pins/node/links/pod_*"
}
nothing_left() { [[ -z $(left 2>&1) ]]; }
expect_nothing_left() {
  checks=$((checks + 1))
  until_true 5 nothing_left || depth=2 fail "$1: left: $(left 2>&1)"
}
address() { jq -r '.ips[0].address' <<<"$output"; }

step "the agent away"
exits 1 "ADD without an agent" cni ADD one "$pod"
is "its code" "$(code_of)" 11
exits 1 "STATUS without an agent" cni STATUS "" ""
started_add=$EPOCHREALTIME
cni ADD one "$pod" >/dev/null 2>&1
like "said at once" "$(seconds_since "$started_add")" '^0\.'

step "what the specification asks"
start_agent
succeeds "VERSION" cni VERSION "" ""
like "its versions" "$(jq -c .supportedVersions <<<"$output")" '"1.1.0"'
succeeds "STATUS" cni STATUS "" ""
succeeds "ADD" cni ADD one "$pod"
result=$output
like "an address" "$(address)" '^10\.211\.0\.[0-9]+/32$'
is "two of them" "$(jq '.ips | length' <<<"$output")" 2
everything=$(left)
for part in 'weft[0-9a-f]+@' '10\.211\.0\.[0-9]+ dev' 'eth0@' '"container_id":"one"' '"owner":"one/eth0"' '"endpoint":2,"host":false'; do
  like "what is looked for when nothing should be left" "$everything" "$part"
done
is "the pod has it" "$(ip -n "$pod" -4 -o addr show dev eth0 | awk '{ print $4 }')" "$(address)"
exits 1 "ADD again" cni ADD one "$pod"
is "its code" "$(code_of)" 100
exits 1 "ADD of a taken interface" cni ADD other "$pod"
is "its code" "$(code_of)" 100
succeeds "the pod keeps it" ip -n "$pod" link show eth0
succeeds "CHECK" cni CHECK one "$pod" ",\"prevResult\":$result"
ip -n "$pod" addr flush dev eth0
exits 1 "CHECK of a pod without address" cni CHECK one "$pod" ",\"prevResult\":$result"
exits 1 "CHECK of another container" cni CHECK nobody "$pod" ",\"prevResult\":$result"
succeeds "DEL" cni DEL one "$pod"
succeeds "DEL again" cni DEL one "$pod"
succeeds "DEL without namespace" cni DEL one ""
expect_nothing_left "after DEL"
exits 1 "CHECK after DEL" cni CHECK one "$pod" ",\"prevResult\":$result"
succeeds "ADD after DEL" cni ADD one "$pod"
succeeds "ADD of a second" cni ADD two "$second"
succeeds "GC" cni GC "" "" ',"cni.dev/valid-attachments":[{"containerID":"two","ifname":"eth0"}]'
checks=$((checks + 1))
until_true 5 eval "! ip -n $pod link show eth0" || fail "GC left the first"
succeeds "GC keeps the second" ip -n "$second" link show eth0
succeeds "DEL of the second" cni DEL two "$second"
expect_nothing_left "after GC"
succeeds "ADD" cni ADD gone "$second"
ip netns delete "$second"
succeeds "DEL when the namespace is gone" cni DEL gone "$second"
ip netns add "$second"
expect_nothing_left "after the namespace went"
kill_agent

step "the agent killed after each step of ADD"
for at in record-stored device-made maps-written programs-attached pod-configured host-configured ready-stored; do
  for then in DEL ADD; do
    start_agent "$at"
    exits 1 "ADD, killed after $at" cni ADD one "$pod"
    is "its code ($at)" "$(code_of)" 11
    agent_died || fail "$at is no step of ADD"
    start_agent
    if [[ $then == ADD ]]; then
      succeeds "ADD again ($at)" cni ADD one "$pod"
      is "the pod has the address ($at)" "$(ip -n "$pod" -4 -o addr show dev eth0 | awk '{ print $4 }')" "$(address)"
    fi
    succeeds "DEL ($at)" cni DEL one "$pod"
    expect_nothing_left "killed after $at, then $then"
    kill_agent
  done
done

step "the agent killed after each step of DEL"
for at in deleting-stored left-maps device-gone record-gone; do
  start_agent
  succeeds "ADD" cni ADD one "$pod"
  kill_agent
  start_agent "$at"
  cni DEL one "$pod" >/dev/null 2>&1
  agent_died || fail "$at is no step of DEL"
  start_agent
  succeeds "DEL ($at)" cni DEL one "$pod"
  expect_nothing_left "DEL killed after $at"
  kill_agent
done

step "the plugin killed at random"
start_agent
RANDOM=4242
for ((round = 0; round < 40; ++round)); do
  cni ADD one "$pod" >/dev/null 2>&1 &
  plugin=$!
  sleep "0.00$((RANDOM % 10))"
  # The pipeline's shell and the plugin in it.
  pkill -9 -P "$plugin" 2>/dev/null
  kill -9 "$plugin" 2>/dev/null
  wait "$plugin" 2>/dev/null
  if ((round % 2)); then
    output=$(cni ADD one "$pod" 2>&1) || is "ADD after a killed ADD is repeated, or was acknowledged" "$(code_of)" 100
  fi
  succeeds "DEL after a killed ADD" cni DEL one "$pod"
done
expect_nothing_left "after killed plugins"

step "the agent killed at random"
for ((round = 0; round < 12; ++round)); do
  (sleep "0.0$((RANDOM % 3))$((RANDOM % 10))"; kill -9 "$agent") 2>/dev/null &
  killer=$!
  for ((i = 0; i < 6; ++i)); do
    cni ADD one "$pod" >/dev/null 2>&1
    cni DEL one "$pod" >/dev/null 2>&1
  done
  wait "$killer"
  wait "$agent" 2>/dev/null
  start_agent
  succeeds "DEL after the agent was killed" cni DEL one "$pod"
  expect_nothing_left "round $round"
done
succeeds "and ADD works" cni ADD one "$pod"
succeeds "DEL" cni DEL one "$pod"
expect_nothing_left "at the end"
finish
