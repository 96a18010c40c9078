#!/usr/bin/env bash
# Labs of several nodes: what `up`, `list`, `exec` and `down` promise of them, and the trouble that `net`, `kill`,
# `crash` and `start` make on the underlay. Pods across nodes are in nodes_connectivity.sh.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
[[ -x $(command -v etcd) ]] || { echo "skipped: etcd is not installed"; exit 77; }

manifest() { # REPLICAS
  cat <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: $1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: none, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pinned, namespace: default, annotations: {weft.dev/run: "true"}}
spec:
  nodeName: node3
  containers: [{name: c, image: none, command: [sleep, "1000"]}]
YAML
}
on() { ip netns exec "weft-$lab-$1" "${@:2}"; }
lab_cmd() { "$weft" lab "$1" --name "$lab" "${@:2}"; }
net() { "$weft" lab net "$1" --name "$lab" "${@:2}"; }
address() { "$weft" lab list -o json | jq -r --arg n "$lab" --arg m "$1" '.[] | select(.name == $n) | .nodes[] | select(.name == $m) | .address'; }
address_v6() { "$weft" lab list -o json | jq -r --arg n "$lab" --arg m "$1" '.[] | select(.name == $n) | .nodes[] | select(.name == $m) | .address_v6'; }
state_of() { "$weft" lab list -o json | jq -r --arg n "$lab" '.[] | select(.name == $n) | "\(.state) \(.pods_ready)/\(.pods)"'; }
well() { [[ $(state_of) == "$1" ]]; }
pods_of() { "$weft" lab list -o json | jq -r --arg n "$lab" --arg m "$1" '.[] | select(.name == $n) | .nodes[] | select(.name == $m) | .pods | join(" ")'; }
node_state() { "$weft" lab list -o json | jq -r --arg n "$lab" --arg m "$1" '.[] | select(.name == $n) | .nodes[] | select(.name == $m) | .state'; }
is_state() { [[ $(node_state "$1") == "$2" ]]; }
# reaches FROM ADDRESS: an echo request is answered.
reaches() { on "$1" "$traffic" icmp "$2" --timeout 500 >/dev/null && echo yes || echo no; }
pings() { on "$1" "$traffic" ping "$2" "${@:3}"; }
etcd_answers() { on "$1" env ETCDCTL_API=3 etcdctl --endpoints http://192.0.2.1:2379 --dial-timeout 1s --command-timeout 1s endpoint health; }
process_of() { awk '{print $1; exit}' "/run/weft/lab/$lab/$1.pid" 2>/dev/null; }
dead() { [[ -z $1 || ! -e /proc/$1 || $(awk '{print $3}' "/proc/$1/stat") == Z ]]; }
traces() {
  find /run/netns -maxdepth 1 \( -name "weft-$lab-*" -o -name "weft-$lab.*" \) 2>/dev/null
  find "/run/weft/lab/$lab" "/var/lib/weft/lab/$lab" -maxdepth 0 2>/dev/null
  find /sys/fs/bpf/weft -maxdepth 1 -name "lab-$lab-*" 2>/dev/null
  find /sys/fs/cgroup -maxdepth 2 -name "weft-lab-$lab-*" 2>/dev/null
  local file
  for file in /proc/[0-9]*/cmdline; do
    { tr '\0' ' ' <"$file"; } 2>/dev/null | grep -E "(weftd|weft-operator|supervise|weft-cni|lab up|etcd).*[ /]$lab(/| |$)" | sed "s|^|$file |"
  done
}

step "what cannot be"
exits 1 "a tunnel to nobody" "$weft" lab up --name "$lab" --tunnel vxlan
like "it says why" "$output" "--tunnel vxlan leads to other nodes"
exits 2 "too many nodes" "$weft" lab up --name "$lab" --nodes 33
exits 1 "a pod on a node that is not there" "$weft" lab up --name "$lab" --nodes 2 -f - <<<"$(manifest 1)"
like "it names file and nodes" "$output" 'spec.nodeName: "node3" is no node of lab .*; its nodes are node1 to node2'
is "nothing was made" "$(traces)" ""

step "three nodes and thirty pods"
begun=$EPOCHREALTIME
manifest 29 | lab_up "$lab" --nodes 3
took=$(seconds_since "$begun")
step "up after $took s"
# The aim is ten seconds; the machine may be shared.
is "soon enough" "$(awk -v t="$took" 'BEGIN { print (t < 30) }')" 1
is "the lab" "$(state_of)" "running 30/30"
is "pods are spread evenly" "$(for node in node1 node2 node3; do pods_of $node | wc -w; done | tr '\n' ' ')" "10 10 10 "
like "the pod that names its node" "$(pods_of node3)" "default/pinned"
like "list, a line a node" "$("$weft" lab list)" "$lab +running +10/10 +node2 +serving +192\.0\.2\.102 +weft-$lab-node2"
like "a line for etcd and each operator" "$("$weft" lab list | tr '\n' ' ')" "etcd1 +running +192\.0\.2\.1 .*operator1 +running .*operator2 +running"
is "list -o json" "$("$weft" lab list -o json | jq -c --arg n "$lab" '.[] | select(.name == $n) | [.store, .etcd, .underlay, .tunnel, (.nodes | length)]')" '["etcd","running","flat","none",3]'
is "each has an agent of its own" "$(for n in 1 2 3; do "$weft" --lab "$lab" --node node$n status -o json | jq -r .instance; done | tr '\n' ' ')" "lab-$lab-node1 lab-$lab-node2 lab-$lab-node3 "
is "and pins" "$(find /sys/fs/bpf/weft -maxdepth 1 -name "lab-$lab-node*" | wc -l)" 3
like "and a cgroup" "$(cat "/proc/$(process_of node2/weftd)/cgroup")" "/weft-lab-$lab-node2"
like "commands of pods are in their node's cgroup" "$(cat "/proc/$(ip netns pids "weft-$lab.default.pinned" | head -n 1)/cgroup")" "/weft-lab-$lab-node3"

step "exec on nodes and in their pods"
for node in node1 node2 node3; do
  like "the address of $node" "$(lab_cmd exec $node -- ip -o -4 addr show uplink0)" " $(address $node)/24"
done
pod=$(pods_of node2 | awk '{print $1}')
succeeds "exec in a pod of node2" lab_cmd exec "$pod" -- ip -o addr show eth0
like "exec is in its node's cgroup" "$(lab_cmd exec "$pod" -- cat /proc/self/cgroup)" "/weft-lab-$lab-node2"
exits 1 "exec on a node that is not there" lab_cmd exec node4 -- true

step "the underlay"
for from in node1 node2 node3; do
  for to in node1 node2 node3; do
    [[ $from == "$to" ]] || is "$from reaches $to" "$(reaches $from "$(address $to)") $(reaches $from "$(address_v6 $to)")" "yes yes"
  done
  is "$from reaches the world" "$(reaches $from 192.0.2.1)" yes
  succeeds "$from reaches etcd" etcd_answers $from
done

step "a second up moves nothing, and adds nodes"
before="$(pods_of node1)|$(pods_of node2)|$(pods_of node3)"
agents=$(process_of node1/weftd)
exits 0 "up again" lab_cmd up -f - <<<"$(manifest 29)"
exits 0 "up with more nodes" lab_cmd up --nodes 4 -f - <<<"$(manifest 31)"
is "it has four" "$(state_of) $(address node4)" "running 32/32 192.0.2.104"
is "pods stayed" "$(pods_of node1)|$(pods_of node2)|$(pods_of node3)" "$before"
is "the new ones are on the new node" "$(pods_of node4 | wc -w)" 2
is "agents were left alone" "$(process_of node1/weftd)" "$agents"
exits 1 "fewer nodes" lab_cmd up --nodes 2
exits 1 "another underlay" lab_cmd up --underlay routed

step "partition and heal"
exits 0 "partition" net partition node2,node3
is "show" "$(net show -o json | jq -c '[.node1.group, .node2.group, .node3.group]')" "[0,1,1]"
is "together" "$(reaches node2 "$(address node3)") $(reaches node3 "$(address_v6 node2)")" "yes yes"
is "cut off" "$(reaches node2 "$(address node1)") $(reaches node1 "$(address_v6 node3)") $(reaches node3 192.0.2.1) $(reaches world "$(address node2)")" "no no no no"
exits 1 "from etcd, too" etcd_answers node2
exits 0 "another partition" net partition node3
is "alone" "$(reaches node2 "$(address node3)") $(reaches node1 "$(address node3)")" "no no"
exits 0 "heal one" net heal node3
is "it is back, the other not" "$(reaches node1 "$(address node3)") $(reaches node1 "$(address node2)")" "yes no"
exits 0 "heal" net heal
is "all is well" "$(net show | awk 'NR > 1 {print $2}' | sort -u)" well
# A neighbour whom a node asked for in vain until now is asked for again a second after that.
healed() { [[ "$(reaches node2 "$(address node3)") $(reaches node1 "$(address_v6 node2)") $(reaches node3 192.0.2.1)" == "yes yes yes" ]]; }
eventually 3 "healed" healed
exits 1 "a node that is not there" net partition node2,node9
exits 2 "no node" net partition

step "cut off from etcd only"
exits 0 "partition --from etcd" net partition node2 --from etcd
exits 1 "no etcd" etcd_answers node2
is "all else" "$(reaches node2 "$(address node1)") $(reaches node2 192.0.2.1)" "yes yes"
succeeds "etcd for others" etcd_answers node1
exits 0 "apply goes to an agent that can" lab_cmd apply -f - <<<"$(manifest 30)"
exits 0 "heal" net heal node2
succeeds "etcd again" etcd_answers node2

step "delay"
exits 0 "delay" net delay node2 20ms
delayed=$(pings node1 "$(address node2)" --count 20)
is "each way 20 ms" "$(jq '.least_ms >= 40 and .least_ms < 60' <<<"$delayed")" true
is "the other way, too, and IPv6" "$(pings node2 "$(address_v6 node3)" --count 10 | jq '.least_ms >= 40 and .received == 10')" true
is "others are as fast as before" "$(pings node1 "$(address node3)" --count 20 | jq '.least_ms < 10')" true
exits 0 "two slow nodes" net delay node3,node2 5ms
is "their delays add up" "$(pings node2 "$(address node3)" --count 10 | jq '.least_ms >= 20 and .least_ms < 40')" true
succeeds "TCP across slow links" etcd_answers node3
relay=$(process_of node2/relay)
kill -9 "$relay"
until_true 5 dead "$relay"
reachable() { [[ $(reaches "$1" "$2") == yes ]]; }
eventually 5 "a killed relay comes back" reachable node1 "$(address node2)"
is "and is as slow" "$(pings node1 "$(address node2)" --count 10 | jq '.least_ms >= 10')" true

step "loss"
exits 0 "loss" net loss node3 20%
exits 0 "on a fast link" net delay node2,node3 0ms
lost=$(pings node1 "$(address node3)" --count 600 --interval 2)
# Of 600, 36 % are lost in the mean (two directions), with a deviation of 2 %.
is "about a third of echo and answer" "$(jq '.received > 325 and .received < 440' <<<"$lost")" true
exits 0 "everything" net loss node3 100%
is "not even the world answers at the port" "$(reaches node3 192.0.2.1) $(reaches node3 2001:db8:0:1::1)" "no no"
exits 2 "nonsense" net loss node3 5
exits 2 "nonsense" net delay node3 fast
exits 0 "heal" net heal
is "healed" "$(pings node1 "$(address node3)" --count 50 --interval 2 | jq '.received == 50 and .least_ms < 10')" true

step "the supervisor is killed"
exits 0 "a slow and a cut node before" net delay node2 10ms
exits 0 "a slow and a cut node before" net partition node3
supervisor=$(process_of supervisor)
kill -9 "$supervisor"
until_true 5 dead "$supervisor"
is "the trouble stays" "$(pings node1 "$(address node2)" --count 5 | jq '.least_ms >= 20') $(reaches node1 "$(address node3)")" "true no"
exits 0 "up" lab_cmd up
is "and is known" "$(net show -o json | jq -c '[.node2.delay_us, .node3.group]')" "[10000,1]"
exits 0 "heal" net heal
is "healed" "$(pings node1 "$(address node2)" --count 5 | jq '.least_ms < 10') $(reaches node1 "$(address node3)")" "true yes"
eventually 10 "all is well" well "running 31/31"
is "pods stayed" "$(pods_of node1 | wc -w) $(pods_of node2 | wc -w) $(pods_of node4 | wc -w)" "10 10 1"

step "an agent is killed and stays down"
agent=$(process_of node2/weftd)
exits 0 "kill" lab_cmd kill node2
is "it is dead" "$(dead "$agent" && echo dead) $(node_state node2)" "dead down"
answered() { in_pod "$pod" curl -s --max-time 2 http://127.0.0.1/; }
is "its pods answer" "$(answered)" "${pod#*/}"
supervisor=$(process_of supervisor)
kill -9 "$supervisor"
until_true 5 dead "$supervisor"
exits 0 "up" lab_cmd up
is "it stays down" "$(node_state node2)" down
like "its pods are not waited for" "$output" "10 pods are on nodes that are down"
is "its pods answer" "$(answered)" "${pod#*/}"
exits 1 "nothing is named so" lab_cmd start etcd
like "what there is" "$output" "node1, .*etcd1, operator1, operator2"
is "start, for programs" "$(lab_cmd start node2 -o json | jq -c '[.lab, .name, .action]')" "[\"$lab\",\"node2\",\"start\"]"
eventually 15 "it serves" is_state node2 serving
eventually 10 "all is well" well "running 31/31"

step "a node crashes and comes back with another address"
exits 1 "an address changes only with a crash" lab_cmd start node3 --new-address
exits 0 "crash" lab_cmd crash node3
is "the list says so" "$(node_state node3)" crashed
exits 3 "its agent does not answer" "$weft" --lab "$lab" --node node3 status
like "and how it comes back" "$output" "node3 was crashed; bring it back with: weft lab start --name $lab node3"
is "nothing of it is there" "$(find /run/netns -name "weft-$lab-node3") $(find /sys/fs/bpf/weft -maxdepth 1 -name "lab-$lab-node3") $(find /run/netns -name "weft-$lab.default.pinned")" "  "
is "others are" "$(reaches node1 "$(address node2)")" yes
exits 0 "start" lab_cmd start node3 --new-address
eventually 15 "it serves" is_state node3 serving
is "its address" "$(address node3)" 192.0.2.203
eventually 15 "its pods are back" well "running 31/31"
is "reached" "$(reaches node1 192.0.2.203) $(reaches node1 192.0.2.103)" "yes no"
exits 0 "crash" lab_cmd crash node3
exits 0 "start with the same" lab_cmd start node3
eventually 15 "its pods are back" well "running 31/31"
is "its address" "$(address node3)" 192.0.2.203

step "etcd is killed"
etcd=$(process_of etcd)
kill -9 "$etcd"
until_true 5 dead "$etcd"
eventually 10 "it comes back" etcd_answers node1
eventually 10 "all is well" well "running 31/31"

step "down leaves nothing"
exits 0 "a slow, a cut and a dead node before" net delay node1 5ms
exits 0 "a slow, a cut and a dead node before" net partition node2
exits 0 "a slow, a cut and a dead node before" lab_cmd crash node3
exits 0 "down" lab_cmd down
is "traces" "$(traces)" ""

step "nor after everything was killed"
manifest 3 | lab_up "$lab" --nodes 3 --underlay mixed --underlay-family 6
exits 0 "slow" net delay node1 5ms
victims=("$(process_of supervisor)" "$(process_of etcd)" "$(process_of node1/weftd)" "$(process_of node1/relay)")
kill -9 "${victims[@]}"
for victim in "${victims[@]}"; do until_true 5 dead "$victim"; done
exits 0 "down" lab_cmd down
is "traces" "$(traces)" ""

step "nodes on networks of their own"
manifest 3 | lab_up "$lab" --nodes 3 --underlay routed
is "addresses" "$(address node1) $(address node3)" "198.18.1.2 198.18.3.2"
is "by way of the world" "$(reaches node1 198.18.3.2) $(reaches node3 "$(address_v6 node2)")" "yes yes"
succeeds "etcd" etcd_answers node3
exits 0 "partition" net partition node2,node3
is "each alone, for the router is on the other side" "$(reaches node2 198.18.3.2) $(reaches node2 198.18.1.2)" "no no"
exits 0 "heal" net heal
# A neighbour that was asked for in vain is asked for again after a second.
healed() { [[ $(reaches node2 198.18.3.2) == yes ]]; }
eventually 5 "healed" healed
finish
