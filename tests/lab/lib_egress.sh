# What the tests of egress gateways share; sourced after lib.sh. Pods bank-1 to bank-3, one a node, leave the cluster by a
# gateway; other-1 does not. In the world somebody says whom it sees.
# shellcheck shell=bash disable=SC2034,SC2154
partner4=198.51.100.1 partner6=2001:db8:0:2::1 # destinations of the gateway
excluded4=203.0.113.1
egress4=192.0.2.200 egress6=2001:db8:0:1::c8

bank() { # NAME NODE: the manifest of a pod
  cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: default, labels: {app: ${1%%-*}}, annotations: {weft.dev/run: "true"}}
spec:
  nodeName: $2
  containers: [{name: c, image: none, command: [sleep, "10000"]}]
YAML
}
egress_gateway() { # GATEWAYS, as the manifest's list
  cat <<YAML
---
apiVersion: weft.io/v1alpha1
kind: EgressGateway
metadata: {name: partner}
spec:
  selectors: [{podSelector: {matchLabels: {app: bank}}}]
  destinationCIDRs: [198.51.100.0/24, 203.0.113.0/24, "2001:db8:0:2::/64"]
  excludedCIDRs: [203.0.113.0/24]
  gateways: $1
YAML
}
at() { "$weft" --lab "$lab" --node "$1" "${@:2}"; }
on() { ip netns exec "weft-$lab-$1" "${@:2}"; }
lab_cmd() { "$weft" lab "$1" --name "$lab" "${@:2}"; }
node_address() { "$weft" lab list -o json | jq -r --arg n "$lab" --arg m "$1" --arg f "$2" '.[] | select(.name == $n) | .nodes[] | select(.name == $m) | .[$f]'; }
# As whom a pod is seen by the world: seen POD tcp|udp ADDRESS.
seen() { ask "default/$1" "$2" "$3" 7100 --timeout 1000 | awk '$1 == "ok" { print $3; exit } { print $1 }'; }
sees() { [[ $(seen "$1" "$2" "$3") == "$4" ]]; }
active_at() { at "$1" egress list -o json | jq -r '.[] | select(.name == "partner") | [.gateways[] | select(.state == "active") | .node] | join(" ")'; }
is_active_at() { [[ $(active_at "$1") == "$2" ]]; }
has_address() { on "$1" ip -o addr show dev uplink0 to "$2/${3:-32}" | grep -q .; }
drops_at() { at "$1" status -o json | jq --arg r "$2" '[.datapath.drops[] | select(.reason == $r) | .packets] | add // 0'; }
process_of() { awk '{print $1; exit}' "/run/weft/lab/$lab/$1.pid" 2>/dev/null; }
