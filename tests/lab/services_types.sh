#!/usr/bin/env bash
# The types of Services with real clients on every side: pods, the node, hosts outside; TCP and UDP, IPv4
# and IPv6. Once with clients outside balanced by XDP and once in tc.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_services.sh
source "$(dirname "$0")/lib_services.sh"

web='web-[012]'
manifest() {
  pod one 'app: client'
  deployment web 3 'app: web'
  server mapped 'app: mapped' '{containerPort: 7000, hostPort: 18080}, {containerPort: 7000, hostPort: 18053, protocol: UDP}'
  server bound 'app: bound' '{containerPort: 7000, hostPort: 18081, hostIP: 192.0.2.2}'
  service cluster '' 'selector: {app: web}'
  service headless '' 'clusterIP: None, selector: {app: web}'
  service np '' 'type: NodePort, selector: {app: web}, ports: [{name: http, port: 80, targetPort: main, nodePort: 30080},
    {name: dns, port: 53, targetPort: datagrams, nodePort: 30053, protocol: UDP}]'
  service lb '' 'type: LoadBalancer, selector: {app: web}'
  service asked 'annotations: {weft.io/load-balancer-ips: "192.0.2.117,2001:db8:0:1::117"}' 'type: LoadBalancer, selector: {app: web}'
  service ranges '' 'type: LoadBalancer, selector: {app: web}, loadBalancerSourceRanges: [192.0.2.1/32, "2001:db8:0:1::1/128"]'
  service external '' 'selector: {app: web}, externalIPs: [192.0.2.120, "2001:db8:0:1::120"]'
  cat <<YAML
---
apiVersion: v1
kind: Service
metadata: {name: named, namespace: default}
spec: {type: ExternalName, externalName: db.example.com}
YAML
}

check_types() { # xdp|tc
  local how=$1 client address port family type
  for client in web-0 web-1 web-2 mapped bound; do
    eventually 10 "$client serves" answers default/one tcp "$(address_v4 "default/$client")" 7000
  done

  step "$how: ClusterIP and headless"
  for family in 4 6; do
    address=$(cluster_ip cluster $family)
    for client in default/one default/web-0 host; do
      reached "$how: ClusterIP" "$client" tcp "$address" 80 "default.$web"
      reached "$how: ClusterIP" "$client" udp "$address" 53 "default.$web"
    done
  done
  is "$how: headless and ExternalName have no frontends" \
    "$(weft service list -o json | jq -c '[.[] | select(.name == "headless" or .name == "named")] | length')" 0

  step "$how: NodePort from a pod, from the node and from outside"
  for client in default/one default/web-0 host world host1; do
    for address in $node4 $node6; do
      reached "$how: NodePort" "$client" tcp $address 30080 "default.$web"
      reached "$how: NodePort" "$client" udp $address 30053 "default.$web"
    done
  done
  for address in 127.0.0.1 ::1; do
    reached "$how: NodePort by loopback" host tcp $address 30080 "default.$web"
    reached "$how: NodePort by loopback" host udp $address 30053 "default.$web"
  done
  reached "$how: a local backend sees the client" world tcp $node4 30080 "default.$web" 192.0.2.1
  reached "$how: a local backend sees the client" world tcp $node6 30080 "default.$web" 2001:db8:0:1::1
  not_reached "$how: a port nobody has" refused world tcp $node4 29998
  not_reached "$how: UDP there" refused world udp $node4 29998

  step "$how: LoadBalancer: addresses from the pool, found by ARP and neighbour discovery"
  for family in 4 6; do
    for name in lb asked external; do
      type=LoadBalancer
      [[ $name == external ]] && type=ExternalIP
      address=$(frontend $name $type $family)
      like "$how: $name has an IPv$family address" "$address" '^(192\.0\.2\.1[0-2][0-9]|2001:db8:0:1::1[0-2][0-9a-f])$'
      for client in world host1 host default/one; do
        reached "$how: $name" "$client" tcp "$address" 80 "default.$web"
        reached "$how: $name" "$client" udp "$address" 53 "default.$web"
      done
      like "$how: whose MAC $address has" "$(ip -n "$(netns_of world)" neighbour show "$address")" "lladdr $gateway_mac"
      # A port the address does not serve is nobody's; the node itself must not answer for it.
      not_reached "$how: $name, another port" "refused|timeout|unreachable" world tcp "$address" 81
    done
  done
  is "$how: the address asked for" "$(balancer_ip asked 4) $(balancer_ip asked 6)" "192.0.2.117 2001:db8:0:1::117"
  # From another network too: the world's other addresses come through its router.
  like "$how: from another network" "$(ask world tcp "$(balancer_ip lb 4)" 80 --source 198.51.100.1)" "^ok default.$web 198.51.100.1 "
  like "$how: from another network, v6" "$(ask world tcp "$(balancer_ip lb 6)" 80 --source 2001:db8:0:2::1)" "^ok default.$web 2001:db8:0:2::1 "

  step "$how: source ranges"
  for family in 4 6; do
    address=$(balancer_ip ranges $family)
    reached "$how: a client in the range" world tcp "$address" 80 "default.$web"
    reached "$how: a client in the range" world udp "$address" 53 "default.$web"
    not_reached "$how: a client out of it" timeout host1 tcp "$address" 80
    not_reached "$how: a client out of it" timeout host1 udp "$address" 53
    not_reached "$how: a pod out of it" timeout default/one tcp "$address" 80
    reached "$how: the ClusterIP has no ranges" default/one tcp "$(cluster_ip ranges $family)" 80 "default.$web"
  done

  step "$how: hostPort"
  for client in world host default/one default/mapped; do
    for address in $node4 $node6; do
      reached "$how: hostPort" "$client" tcp $address 18080 mapped
      reached "$how: hostPort" "$client" udp $address 18053 mapped
    done
    reached "$how: hostPort at one address" "$client" tcp $node4 18081 bound
  done
  not_reached "$how: hostPort at another address" refused world tcp $node6 18081
  reached "$how: hostPort by loopback" host tcp 127.0.0.1 18080 mapped

  step "$how: hairpin: a pod reaches itself through each frontend"
  for family in 4 6; do
    [[ $family == 4 ]] && address=$node4 || address=$node6
    for name in cluster lb; do
      [[ $name == lb ]] && port=$(balancer_ip lb $family) || port=$(cluster_ip cluster $family)
      itself default/web-0 tcp "$port" 80 || fail "$how: web-0 never reached itself through $name $port"
    done
    itself default/web-0 tcp $address 30080 || fail "$how: web-0 never reached itself through NodePort $address"
    itself default/web-0 udp $address 30053 || fail "$how: web-0 never reached itself through NodePort $address, UDP"
  done

  step "$how: large datagrams, many bytes"
  for address in $node4 $node6; do
    like "$how: UDP 4000 both ways" "$(ask world udp $address 30053 --size 4000 --reply 4000)" "4000 ok from $address 30053"
    succeeds "$how: 20 MB from outside" inside world timeout 30 "$traffic" stream $address 30080 --bytes 20000000
  done
}
# Within 30 questions, all of which must be answered.
itself() {
  local i answer found=1
  for ((i = 0; i < 30; i++)); do
    answer=$(ask "$@" --timeout 1500)
    [[ $answer == ok* ]] || { fail "hairpin: $* : $answer"; return 0; }
    [[ $(backend_of <<<"$answer") == "${1/\//.}" ]] && { found=0; break; }
  done
  return $found
}

check_seeing() {
  step "a pool and a Service that asks for an address of it, in one file"
  exits 0 "in one file" weft apply -f - <<YAML
$(service late 'annotations: {weft.io/load-balancer-ips: "203.0.113.200"}' 'type: LoadBalancer, ipFamilyPolicy: SingleStack, selector: {app: web}' | sed 's/ipFamilyPolicy: RequireDualStack, //')
---
apiVersion: weft.io/v1alpha1
kind: LoadBalancerPool
metadata: {name: late}
spec: {addresses: [203.0.113.200/32]}
YAML
  reached "asked from outside" world tcp $node4 30080 "default.$web"
  xdp_told() { weft observe --service default/np --last 50 -o json | jq -se 'any(.[]; .hook == "xdp" and .type == "new")' >/dev/null; }
  eventually 3 "flows that XDP enters are told" xdp_told
  step "what list, get and trace say"
  local name address client
  is "list: NodePort" "$(weft service list -o json | jq -r '[.[] | select(.name == "np" and .kind == "NodePort") | .port] | unique | join(" ")')" "30053 30080"
  is "list: the backends" "$(weft service list -o json | jq '[.[] | select(.name == "np" and .kind == "NodePort" and .port == 30080)][0].backends | length')" 3
  exits 0 "list as a table" weft service list
  like "list as a table" "$output" "np"
  exits 0 "get" weft service get default/np -o json
  like "get: connections are counted" "$(jq '[.. | .connections? // empty] | add' <<<"$output")" '^[1-9][0-9]*$'
  exits 0 "get as text" weft service get default/np
  like "get as text" "$output" "30080"
  for address in "$node4 30080" "$node6 30080" "$(balancer_ip lb 4) 80" "$(cluster_ip cluster 4) 80"; do
    for client in "$world4" default/one; do
      [[ $client == "$world4" && $address == 10.96.* || $client == "$world4" && $address == *:* ]] && continue
      exits 0 "trace from $client to $address" weft service trace --from "$client" --to "${address% *}" --port "${address#* }/TCP" -o json
      like "trace from $client to $address names a backend" "$output" "web-[012]"
      exits 0 "trace to address:port" weft service trace --from "$client" --to "$(bracket "${address% *}"):${address#* }" -o json
    done
  done
  exits 0 "trace by name" weft service trace --from default/one --to svc/default/cluster --port 80/TCP
  like "trace by name" "$output" "web-[012]"
  exits 1 "trace to no service" weft service trace --from default/one --to 10.96.200.200 --port 80/TCP
  for name in frontends slots backends affinity ranges ports l2; do
    exits 0 "bpf lb $name list" weft bpf lb $name list -o json
    [[ $name == affinity || $(jq length <<<"$output") -gt 0 ]] || fail "bpf lb $name list: $output"
    exits 0 "bpf lb $name list, table" weft bpf lb $name list
  done
}

check_healing() {
  local node=/run/weft/lab/$lab/node1 pin
  step "an XDP program that is taken off is attached again"
  pin=$(echo "$(awk '/^bpffs:/ {print $2}' "$node/weftd.yaml")/$(awk '/^instance:/ {print $2}' "$node/weftd.yaml")"/links/xdp_*)
  runs_xdp() { [[ -e $pin ]] && inside host ip link show uplink0 | grep -q 'prog/xdp'; }
  runs_xdp || fail "no XDP program runs: $pin"
  rm -f "$pin"
  eventually 5 "it runs again" runs_xdp
  like "the repair is told" "$(weft status -o json | jq -r '.problems[]')" 'the XDP program was gone and is attached again'
  reached "after the repair" world tcp $node4 30080 "default.$web"
}

step "a lab whose clients outside meet XDP"
pool_and_announcement | lab_up "$lab"
manifest | lab_apply
is "XDP" "$(xdp_mode)" "native "
check_types xdp
check_seeing
check_healing
"$weft" lab down --name "$lab" >/dev/null

step "a lab without XDP"
lab=$lab-tc
with_config 'xdp: off'
pool_and_announcement | lab_up "$lab"
manifest | lab_apply
is "XDP" "$(xdp_mode)" "off off in the configuration"
check_types tc
finish
