#!/usr/bin/env bash
# What somebody else undoes below the agent's feet is put right, or is said.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

{
  for name in client other server; do serving_pod $name; done
  cat <<'YAML'
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: server, namespace: default}
spec: {podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}
YAML
} | lab_up "$lab"
node=/run/weft/lab/$lab/node1
server=$(address_v4 default/server) server6=$(address_v6 default/server)
serve world 7000

answers() { [[ $(ask "$@" --timeout 500) == ok* ]]; }
denied() { [[ $(ask "$@" --timeout 300) == timeout ]]; }
device_of() { weft endpoint list -o json | jq -r --arg p "$1" '.[] | select(.pod == $p) | .device'; }
# An agent by hand, which sees the machine's bpffs and cgroups (`ip netns exec` would hide them).
agent() { nsenter --net="/run/netns/$(netns_of host)" "$bin/weftd" --config "$1"; }
healthy() { [[ $(weft status -o json | jq -r .health) == ok ]]; }
degraded() { [[ $(weft status -o json | jq -r .health) == degraded ]]; }
told() { weft status -o json | jq -r '.problems[]' | grep -qE "$1"; }
# What holds while all is well.
all_is_well() {
  answers default/client tcp "$server" 7000 && answers default/client tcp "$server6" 7000 &&
    denied default/other tcp "$server" 7000 && answers host tcp "$server" 7000 &&
    answers default/client tcp 192.0.2.1 7000 && healthy
}
all_but_other() { answers default/client tcp "$server" 7000 && answers host tcp "$server" 7000; }
eventually 5 "all is well at first" all_is_well
is "uplinks" "$(weft status -o json | jq -c '[.uplinks[] | .attached]')" "[true]"

step "a pod's programs are taken off"
device=$(device_of server)
inside host tc qdisc del dev "$device" clsact
eventually 5 "the rule holds again" denied default/other tcp "$server" 7000
eventually 5 "the repair is told" told "default/server: the programs of device $device"
eventually 5 "all is well" all_is_well

step "the pins of uplinks and of the socket hook are removed"
pins=$(awk '/^bpffs:/ {print $2}' "$node/weftd.yaml")/$(awk '/^instance:/ {print $2}' "$node/weftd.yaml")
[[ -d $pins/links ]] || stop_test "no pins at $pins"
[[ -n $(ls "$pins/links") ]] || fail "nothing is pinned in $pins/links"
rm -f "$pins"/links/*
pinned() { [[ $(find "$pins/links" -type f | wc -l) -ge 8 ]]; }
eventually 5 "they are pinned again" pinned
eventually 5 "the repair is told" told "socket hook.*attached again"
eventually 5 "all is well" all_is_well

step "the host device is deleted"
inside host ip link del weft0
eventually 6 "the repair is told" told "device weft0 was gone"
eventually 5 "all is well" all_is_well

step "a pod's route, its device's state, forwarding"
inside host ip route del "$server"
eventually 6 "the route is set again" all_is_well
inside host ip -6 route del "$server6"
eventually 6 "the IPv6 route is set again" all_is_well
inside host ip link set "$device" down
eventually 6 "the device is up again" all_is_well
inside host ip neigh del "$server" dev "$device"
neighbour_back() { inside host ip neigh show "$server" dev "$device" | grep -q PERMANENT; }
eventually 8 "the neighbour is set again" neighbour_back
inside host sysctl -qw net.ipv4.ip_forward=0
forwards() { [[ $(inside host sysctl -n net.ipv4.ip_forward) == 1 ]]; }
eventually 8 "forwarding is on again" forwards

step "a second agent of the same instance"
sed "s#^state_dir:.*#state_dir: $work/second#; s#^run_dir:.*#run_dir: $work/second-run#; s#^log_file:.*##" "$node/weftd.yaml" >"$work/second.yaml"
exits 1 "it is refused" agent "$work/second.yaml"
like "why" "$output" "another weftd serves this instance"
eventually 5 "all is well" all_is_well

step "another instance's programs on the uplink"
if [[ $(weft status -o json | jq -r .kernel.attach) == tcx ]]; then
  sed "s#^instance:.*#instance: renamed-$$#" "$work/second.yaml" >"$work/renamed.yaml"
  renamed=${pins%/*}/renamed-$$
  cleanup_hooks+=("rm -rf $renamed")
  nsenter --net="/run/netns/$(netns_of host)" "$bin/weftd" --config "$work/renamed.yaml" >"$work/renamed.log" 2>&1 &
  other=$!
  pids+=("$other")
  eventually 10 "it is told" told "belongs to the agent that holds $renamed"
  kill -9 "$other"
  wait "$other" 2>/dev/null
  eventually 5 "and that it has no agent" told "no agent serves it any more: remove its pins with .rm -r $renamed"
  eventually 1 "health" degraded
  rm -rf "$renamed"
  eventually 5 "all is well" all_is_well
fi

step "the interface is attached again right after a removal"
ip netns add "weft-$lab-again"
cleanup_hooks+=("ip netns del weft-$lab-again")
cni() { # COMMAND ID
  CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/weft-$lab-again CNI_IFNAME=eth0 CNI_PATH=$bin \
    "$bin/weft-cni" <<<"{\"cniVersion\": \"1.1.0\", \"name\": \"weft\", \"type\": \"weft-cni\", \"socket\": \"$node/weft.sock\"}"
}
for round in 1 2 3 4 5 6 7 8 9 10; do
  succeeds "round $round: ADD" cni ADD "again$round" || break
  succeeds "round $round: DEL" cni DEL "again$round"
done

step "a pod deletes its own interface"
inside default/other ip link del eth0
eventually 5 "it is told" told "default/other: its interface was removed"
is "the others can be probed" "$("$weft" lab probe --name "$lab" -o json 2>/dev/null | jq -r '[.[] | select(.from == "default/client" and .to == "default/server") | .reachable] | unique | join(" ")')" true

step "the store is deleted"
state=$(awk '/^state_dir:/ {print $2}' "$node/weftd.yaml")
pid=$(awk '{print $1; exit}' "$node/weftd.pid")
mkdir "$work/state"
mv "$state"/weft.db* "$work/state/"
eventually 5 "it is told" told "was deleted or replaced under the running agent"
eventually 1 "health" degraded
supervisor=$(awk '{print $1; exit}' "/run/weft/lab/$lab/supervisor.pid")
cleanup_hooks+=("kill -CONT $supervisor")
kill -STOP "$supervisor"
kill -9 "$pid"
nsenter --net="/run/netns/$(netns_of host)" "$bin/weftd" --config "$node/weftd.yaml" >"$work/byhand.log" 2>&1 &
byhand=$!
pids+=("$byhand")
eventually 10 "an empty store with pods present is told" told "the store knows nothing of .*$device"
is "health" "$(weft status -o json | jq -r .health)" degraded
kill "$byhand"
wait "$byhand"
rm -f "$state"/weft.db*
mv "$work"/state/weft.db* "$state/"
kill -CONT "$supervisor"
eventually 10 "with the store put back all is well" all_but_other
step "a gateway's address of before goes with a start"
gateways() { inside host ip -o addr show dev weft0 | grep -oE '10\.244\.[0-9.]+/32' | xargs; }
before=$(gateways)
inside host ip addr add 10.244.99.1/32 dev weft0
kill -9 "$(awk '{print $1; exit}' "$node/weftd.pid")"
alone() { weft status >/dev/null && [[ $(gateways) == "$before" ]]; }
eventually 15 "it is gone, and no other" alone
like "there is one" "$before" '^10\.244\.'

step "an uplink is down"
inside host ip link set uplink0 down
eventually 5 "it is told" told "uplink uplink0 is down"
inside host ip link set uplink0 up
eventually 5 "it is over" healthy
finish
