#!/usr/bin/env bash
# An agent that knows many nodes: two hundred with five thousand pods, written to etcd as their agents would. All of
# them are in its table, whatever changes, and after a start with etcd full; what a pod of its own needs goes on.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_nodes.sh
source "$(dirname "$0")/lib_nodes.sh"
[[ -x $bin/node_crowd ]] || { echo "$bin/node_crowd is not built"; exit 2; }

lab_up "$lab" --nodes 2 --tunnel vxlan <<YAML
$(serving_pod server)
---
apiVersion: weft.io/v1alpha1
kind: PodAddressPool
metadata: {name: crowd}
spec: {cidrs: [{cidr: 100.64.0.0/10, blockLength: 24}]}
YAML
agent=$(process_of node1/weftd)
pins=$(awk '/^bpffs:/ {b = $2} /^instance:/ {i = $2} END {print b "/" i}' "/run/weft/lab/$lab/node1/weftd.yaml")
# Its commands go in by one descriptor, its answers come by another.
coproc crowd { exec nsenter --net="/run/netns/weft-$lab-node1" "$bin/node_crowd" --etcd http://192.0.2.1:2379 --cluster "$lab" \
  --map "$pins/maps/weft_remote_v1" --nodes 200 --pods 25 --label-sets 300 --changes 400 --rate 200 \
  --agent "$agent" 2>"$work/crowd.err"; }
pids+=("$crowd_PID")
exec {to_crowd}>&"${crowd[1]}" {from_crowd}<&"${crowd[0]}" # a coprocess' own are closed in subshells
crowd() { # COMMAND: its answer
  echo "$1" >&"$to_crowd"
  local answer
  read -r -t 60 answer <&"$from_crowd" || stop_test "the crowd did not $1: $(cat "$work/crowd.err")"
  echo "$answer"
}
right() { [[ $(crowd check | tee "$work/check" | jq .right) == true ]]; }
memory() { awk '/^VmRSS/ {print $2}' "/proc/$agent/status"; }
before=$(memory)

step "two hundred nodes come"
crowd fill >"$work/fill"
eventually 30 "all their pods are in the table" right
is "pods" "$(jq .expected "$work/check")" 5000
is "nodes" "$(at node1 node list -o json | jq '[.[] | select(.state == "alive")] | length')" 202
is "told as their pods" "$(at node1 node list -o json | jq '[.[] | select(.name | startswith("crowd-")) | .pods] | add')" 5000
say "         $(($(memory) - before)) kB more in the agent, of $(memory) kB"
[[ $(($(memory) - before)) -lt 40000 ]] || fail "5,000 pods of others take $(($(memory) - before)) kB"

step "four hundred pods change"
crowd churn >"$work/churn"
is "changes seen" "$(jq .changes "$work/churn")" 400
right || fail "the table is not what was written: $(cat "$work/check")"
say "         seen after $(jq -r '"\(.from_written_p50_ms * 10 | round / 10) ms, p99 \(.from_written_p99_ms * 10 | round / 10)"' "$work/churn") ms"
server=$(pod_address server node1 v4)
like "a pod here is reached meanwhile" "$(ask host tcp "$server" 7000)" "^ok"

step "the agent starts with all of it there"
kill -9 "$agent"
again() { [[ -n $(process_of node1/weftd) && $(process_of node1/weftd) != "$agent" ]] && at node1 status; }
eventually 20 "it serves again" again
all_known() { [[ $(at node1 node list -o json | jq '[.[] | select(.name | startswith("crowd-")) | .pods] | add') == 5000 ]]; }
eventually 20 "it knows all of them" all_known
right || fail "after the start: $(cat "$work/check")"

step "one of them is gone for good"
export ETCDCTL_API=3
etcd() { ip netns exec "weft-$lab-world" etcdctl --endpoints http://127.0.0.1:2379 "$@"; }
etcd del "/weft/v1/$lab/endpoints/crowd-0007" >/dev/null || fail "etcdctl"
missing() { [[ $(crowd check | jq .missing) == 25 ]]; }
eventually 10 "its pods are" missing
finish
