#!/usr/bin/env bash
# Addresses of Services on a real link: another host has one of them, claims one later, leaves; the router's.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_services.sh
source "$(dirname "$0")/lib_services.sh"

taken4=192.0.2.100 taken6=2001:db8:0:1::100
free4=192.0.2.101 free6=2001:db8:0:1::101
later4=192.0.2.102 later6=2001:db8:0:1::102

announced() { weft status -o json | jq -e --arg a "$1" 'any(.announced[]; .address == $a)' >/dev/null; }
unannounced() { ! announced "$1"; }
problems() { weft status -o json | jq -r '.problems[]'; }
tells() { [[ $(problems) =~ $1 ]]; }
calm() { [[ $(weft status -o json | jq -r .health) == ok ]]; }
# mac_at WHERE ADDRESS: what the neighbour there learns when it asks now.
mac_at() {
  ip -n "$(netns_of "$1")" neighbour flush to "$2" >/dev/null 2>&1
  ask "$1" tcp "$2" 80 --timeout 2500 >/dev/null
  ip -n "$(netns_of "$1")" neighbour show "$2" | sed -n 's/.*lladdr \([^ ]*\).*/\1/p'
}
at() { [[ $(mac_at "$1" "$2") == "$3" ]]; }
named() {
  service "$1" "annotations: {weft.io/load-balancer-ips: \"$2,$3\"}" 'type: LoadBalancer, selector: {app: web}'
}
has() { ip -n "$(netns_of host1)" address add "$1/$2" dev "$device" "${@:3}"; }
has_not() { ip -n "$(netns_of host1)" address delete "$1/$2" dev "$device"; }

step "a link with a router and another host"
with_config 'node_port_min: 30000'
pool_and_announcement | lab_up "$lab"
deployment web 1 'app: web' | lab_apply
device=$(ip -n "$(netns_of host1)" -o route get $node4 | sed -n 's/.* dev \([^ ]*\).*/\1/p')
theirs=$(ip -n "$(netns_of host1)" -j link show dev "$device" | jq -r '.[0].address')
calm || fail "before: $(problems)"

step "the other host has an address of the pool"
has $taken4 24
has $taken6 64 nodad
{
  named taken $taken4 $taken6
  named free $free4 $free6
  named later $later4 $later6
} | apply
for address in $free4 $free6 $later4 $later6; do
  eventually 5 "$address is announced" announced "$address"
  eventually 5 "$address is here" at world "$address" $gateway_mac
done
for address in $taken4 $taken6; do
  eventually 5 "the conflict of $address is told" tells "$address is not announced on uplink0: the host at $theirs has it"
  unannounced "$address" || fail "$address is announced"
  is "who has $address" "$(mac_at world "$address")" "$theirs"
done
is "health" "$(weft status -o json | jq -r .health)" degraded
exits 0 "service get" weft service get default/taken
like "service get tells of the host" "$output" "$taken4 is not announced on uplink0: the host at $theirs has it"
exits 0 "service get" weft service get default/free
[[ $output != *"not announced"* ]] || fail "service get of the free one: $output"

step "it gives them up"
has_not $taken4 24
has_not $taken6 64
for address in $taken4 $taken6; do
  eventually 60 "$address is announced at last" announced "$address"
  eventually 5 "$address is here" at world "$address" $gateway_mac
done
eventually 5 "health again" calm

step "it claims one that is in use: the node defends it once, then yields"
# Asks for the world's address as one who has its own: a broadcast that names both.
claim4() {
  ip -n "$(netns_of host1)" neighbour flush to $world4 >/dev/null 2>&1
  ask host1 tcp $world4 81 --source $later4 --timeout 300 >/dev/null
}
has $later4 24
claim4
sleep 0.3  # nothing happens: no event to wait for
announced $later4 || fail "$later4 was given up at the first claim"
claim4
eventually 5 "$later4 is given up" unannounced $later4
eventually 5 "and told" tells "$later4 is not announced on uplink0: the host at $theirs has it"
is "who has $later4" "$(mac_at world $later4)" "$theirs"
has_not $later4 24

step "duplicate address detection of another host finds the node's"
has $free6 64
dad_failed() { ip -n "$(netns_of host1)" address show dev "$device" to $free6 | grep -q dadfailed; }
eventually 8 "the other host leaves $free6 alone" dad_failed
announced $free6 || fail "$free6 was given up"
has_not $free6 64

step "the router's address is nobody's to take"
exits 1 "externalIPs" weft apply -f - < <(service thief '' "selector: {app: web}, externalIPs: [$world4]")
like "externalIPs" "$output" "spec.externalIPs: $world4 is a router's"
exits 1 "a pool with it" weft apply -f - <<YAML
apiVersion: weft.io/v1alpha1
kind: LoadBalancerPool
metadata: {name: greedy}
spec:
  addresses:
    - 203.0.113.0/24
    - 192.0.2.0/24
YAML
like "a pool with it" "$output" 'stdin.:7:7: spec.addresses\[1\]: 192.0.2.0-192.0.2.255 has 192.0.2.'

step "a device that is not there"
apply <<YAML
apiVersion: weft.io/v1alpha1
kind: L2Announcement
metadata: {name: nowhere}
spec: {interfaces: [eth77]}
YAML
eventually 5 "told" tells 'L2Announcement nowhere: spec.interfaces: no uplink of this node is named eth77.*uplink0'

step "a restarting agent goes on answering; what is outside ranges that are others now is served, and told"
weft delete l2ann nowhere >/dev/null
node_port=$(weft service list -o json | jq '[.[] | select(.name == "free" and .kind == "NodePort" and .protocol == "TCP") | .port][0]')
sed -i 's/node_port_min: 30000/node_port_min: 32000/' "$WEFT_BIN_DIR/weftd"
kill "$(weft status -o json | jq -r .pid)"
back() { announced $free4; }
eventually 15 "after the restart" back
is "who has $free4" "$(mac_at world $free4)" "$gateway_mac"
reached "its node port" world tcp $node4 "$node_port" 'default.web-0'
exits 0 "service get" weft service get default/free
like "service get warns" "$output" "node port $node_port is outside node_port_min to node_port_max \(32000-32767\): it is served all the same"
tells "Service default/free: node port $node_port is outside" || fail "status: $(problems)"
calm || fail "health: $(problems)"

step "without a pool Services wait, as is meant; with one that is full its name is told"
weft delete lbpool public >/dev/null
exits 0 "list" weft service list
like "list" "$output" '- +default/free +LoadBalancer +- +<waiting>'
exits 0 "service get" weft service get default/free
like "service get" "$output" 'it waits for a load balancer address: spec.loadBalancerIP|no LoadBalancerPool'
calm || fail "health: $(problems)"
apply <<YAML
apiVersion: weft.io/v1alpha1
kind: LoadBalancerPool
metadata: {name: small}
spec: {addresses: [$free4/32]}
$(service another '' 'type: LoadBalancer, selector: {app: web}')
$(service more '' 'type: LoadBalancer, selector: {app: web}')
YAML
eventually 5 "told" tells 'every IPv4 address of LoadBalancerPool small is taken'
finish
