#!/usr/bin/env bash
# What only real traffic shows of hostile pods and neighbours: VLAN tags, the node's addresses from
# outside, loopback and broadcast.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

lab_up "$lab" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: default, labels: {app: a}}
spec: {containers: [{name: a, image: none}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: default, labels: {app: b}}
spec: {containers: [{name: b, image: none}]}
---
apiVersion: v1
kind: Pod
metadata: {name: guarded, namespace: default, labels: {app: guarded}}
spec: {containers: [{name: guarded, image: none}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: guarded, namespace: default}
spec: {podSelector: {matchLabels: {app: guarded}}, policyTypes: [Ingress]}
YAML
a4=$(address_v4 default/a) a6=$(address_v6 default/a)
b4=$(address_v4 default/b) guarded6=$(address_v6 default/guarded)
node6=2001:db8:0:1::2
world4=192.0.2.1
for where in default/a default/b default/guarded host world; do serve "$where" 7000; done
device=$(inside default/a ip -json route show default | jq -r '.[0].dev')
gateway=$(inside default/a ip -json route show default | jq -r '.[0].gateway')
inside default/a ping -c 1 -W 1 "$b4" >/dev/null 2>&1
mac=$(inside default/a ip -json neigh show "$gateway" | jq -r '.[0].lladdr')

count_received() { inside default/b awk '/^Udp: [0-9]/ {print $2 + $3}' /proc/net/snmp; }

step "a tagged frame does not leave its pod; one with a priority only does"
before=$(drops vlan)
inside default/a "$traffic" packet "$device" --vlan 5 --mac "$mac" --source "$a4" --destination "$b4" --port 7000 --count 5 >/dev/null
inside default/a "$traffic" packet "$device" --vlan 5 --mac "$mac" --source "$a4" --destination "$world4" --port 7000 --count 5 >/dev/null
is "tagged frames dropped" "$(($(drops vlan) - before))" 10
before=$(drops vlan) received=$(count_received)
inside default/a "$traffic" packet "$device" --vlan 24576 --mac "$mac" --source "$a4" --destination "$b4" --port 7000 --source-port 4555 >/dev/null
is "frames with a priority dropped" "$(($(drops vlan) - before))" 0
is "frames with a priority received" "$(($(count_received) - received))" 1

step "the node's address from outside does not pass for the host"
uplink=$(inside world ip -json route get "$node6" | jq -r '.[0].dev')
uplink_mac=$(inside host cat "/sys/class/net/$(inside host ip -o -6 address show to "$node6" | awk "{print \$2}")/address")
like "MAC of the uplink" "$uplink_mac" "^([0-9a-f]{2}:){5}[0-9a-f]{2}$"
before=$(drops spoofed-source)
inside world "$traffic" packet "$uplink" --mac "$uplink_mac" --source "$node6" --destination "$guarded6" --port 7000 --count 5 >/dev/null
is "the node's address dropped at the uplink" "$(($(drops spoofed-source) - before))" 5
like "the host itself still reaches the pod" "$(ask host tcp "$guarded6" 7000)" "^ok default/guarded "

step "addresses that do not leave a pod"
before=$(drops reserved-address)
inside default/a "$traffic" packet "$device" --mac "$mac" --source "$a4" --destination 127.0.0.1 --port 7000 --count 3 >/dev/null
inside default/a "$traffic" packet "$device" --mac "$mac" --source "$a6" --destination ::1 --port 7000 --count 3 >/dev/null
is "loopback destinations dropped" "$(($(drops reserved-address) - before))" 6

step "the broadcast address of the node's network"
inside default/a "$traffic" packet "$device" --mac "$mac" --source "$a4" --destination 192.0.2.255 --port 7000 --count 3 >/dev/null
told() { weft observe --last 1000 -o json | jq -r 'select(.destination.address == "192.0.2.255") | .drop_reason' | sort -u; }
told_multicast() { [[ $(told) == multicast ]]; }
eventually 5 "directed broadcast dropped" told_multicast

finish
