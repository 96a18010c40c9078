#!/usr/bin/env bash
# Direct server return between two agents: the balancer on node1, the backend on host1 with a weftd of its own that
# takes the clients' packets out and answers the clients by itself. In XDP and in tc.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_services.sh
source "$(dirname "$0")/lib_services.sh"

vip4=192.0.2.117 vip6=2001:db8:0:1::117

# The same Service on both nodes; its addresses are given by somebody else.
manifest() { # FORWARDING
  service far "annotations: {weft.io/forwarding: $1}" \
    'type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]'
  echo "status: {loadBalancer: {ingress: [{ip: $vip4}, {ip: \"$vip6\"}]}}"
  slice far-4 far IPv4 "{addresses: [$neighbour4], conditions: {ready: true}, nodeName: host1}"
  slice far-6 far IPv6 "{addresses: [\"$neighbour6\"], conditions: {ready: true}, nodeName: host1}"
}
on_host1() { "$weft" --socket "$work/$lab/run/weft.sock" "$@"; }
stat_of() { jq -r --arg n "$1" '.datapath.stats[] | select(.name == $n) | .value'; }

# start_host1 XDP [PEERS]: weftd in host1's namespace.
start_host1() {
  mkdir -p "$work/$lab"
  cat >"$work/$lab/weftd.yaml" <<Y
instance: lab-$lab-host1
node: host1
state_dir: $work/$lab/state
run_dir: $work/$lab/run
pod_cidrs: []
devices: [uplink0]
xdp: $1
load_balancer_peers: [${2:-$node4, "$node6"}]
Y
  # Not by `ip netns exec`, which hides the machine's bpffs and cgroups.
  nsenter --net="/run/netns/$(netns_of host1)" "$bin/weftd" --config "$work/$lab/weftd.yaml" >"$work/$lab/log" 2>&1 &
  host1_agent=$!
  pids+=($!)
  until_true 10 on_host1 status >/dev/null || stop_test "no agent on host1: $(cat "$work/$lab/log")"
}
stop_host1() {
  kill "$host1_agent"
  wait "$host1_agent" 2>/dev/null
}
clean_host1() { nsenter --net="/run/netns/$(netns_of host1)" "$bin/weftd" --config "$work/$lab/weftd.yaml" --cleanup; }

check_dsr() { # native|off
  local mode address client before
  start_host1 "$1"
  cleanup_hooks+=("kill $host1_agent; wait $host1_agent; lab=$lab clean_host1")
  serve host1 7000 far
  for mode in dsr-ipip dsr-geneve dsr-option; do
    step "$mode, XDP $1"
    manifest $mode | apply
    manifest $mode >"$work/far.yaml"
    succeeds "$mode: the same on host1" on_host1 apply -f "$work/far.yaml"
    before=$(on_host1 status -o json | stat_of decapsulated)
    for address in $vip4 $vip6; do
      [[ $address == *:* ]] && client=$world6 || client=$world4
      # The backend saw the client: nobody translated its address.
      reached "$mode" world tcp $address 80 far "$client"
      reached "$mode" world udp $address 53 far "$client"
      succeeds "$mode: 10 MB to $address" inside world timeout 30 "$traffic" stream $address 80 --bytes 10000000
      load many world tcp $address 80 --count 500 --threads 4
      lossless "$mode: 500 connections to $address" many 1500
      load many world udp $address 53 --count 500 --threads 4
      lossless "$mode: 500 questions to $address" many 1500
    done
    like "$mode: packets were taken out" "$(($(on_host1 status -o json | stat_of decapsulated) - before))" '^[1-9][0-9]{3,}$'
  done

  step "a node that does not name the balancer takes nothing out, XDP $1"
  stop_host1
  start_host1 "$1" 192.0.2.200
  manifest dsr-geneve | apply
  before=$(on_host1 status -o json | stat_of decapsulated)
  not_reached "not a peer" timeout world tcp $vip4 80
  is "nothing was taken out" "$(on_host1 status -o json | stat_of decapsulated)" "$before"
}

pool_and_announcement | lab_up "$lab"
is "XDP" "$(weft status -o json | jq -r '.uplinks[0].xdp.mode')" off
check_dsr native
is "XDP" "$(xdp_mode)" "native "
"$weft" lab down --name "$lab" >/dev/null

lab=$lab-tc
with_config 'xdp: off'
pool_and_announcement | lab_up "$lab"
check_dsr off
finish
