#!/usr/bin/env bash
# Backends on another host, clients outside: source translation, large packets, ICMP errors, direct server
# return, health checks of a balancer for plain hosts. Once by XDP and once in tc.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_services.sh
source "$(dirname "$0")/lib_services.sh"

remote() { # NAME META SPEC [PORT]
  service "$1" "$2" "$3"
  slice "$1-4" "$1" IPv4 "{addresses: [$neighbour4], conditions: {ready: true}, nodeName: host1}" '' "${4:-7000}"
  slice "$1-6" "$1" IPv6 "{addresses: [\"$neighbour6\"], conditions: {ready: true}, nodeName: host1}" '' "${4:-7000}"
}
manifest() {
  pod one 'app: client'
  remote far '' 'type: LoadBalancer, ports: [{name: http, port: 80, nodePort: 30180}, {name: dns, port: 53, nodePort: 30153, protocol: UDP}]'
  remote echo '' 'type: NodePort, ports: [{name: http, port: 81, nodePort: 30181}, {name: dns, port: 54, nodePort: 30154, protocol: UDP}]' 7999
}
packets() { weft status -o json | jq --arg n "$1" '[.datapath.stats[] | select(.name | test($n)) | .value] | add // 0'; }

check_remote() { # xdp|tc
  local how=$1 address family i
  serve host1 7000 far
  step "$how: every client reaches the backend elsewhere"
  for family in 4 6; do
    [[ $family == 4 ]] && address=$node4 || address=$node6
    for client in world default/one host; do
      reached "$how: NodePort" $client tcp $address 30180 far
      reached "$how: NodePort" $client udp $address 30153 far
      reached "$how: ClusterIP" "${client/world/host}" tcp "$(cluster_ip far $family)" 80 far
    done
    reached "$how: the balancer's address" world tcp "$(balancer_ip far $family)" 80 far
    reached "$how: the backend sees the node" world tcp "$address" 30180 far "$address"
    reached "$how: the backend sees the node, UDP" world udp "$address" 30153 far "$address"
  done
  # The backend's own host is a client like any other.
  reached "$how: the backend's host" host1 tcp $node4 30180 far
  reached "$how: the backend's host" host1 udp $node6 30153 far

  step "$how: streams, many connections, large datagrams"
  for address in $node4 $node6; do
    succeeds "$how: 30 MB to $address" inside world timeout 40 "$traffic" stream $address 30180 --bytes 30000000
    like "$how: UDP 4000 both ways" "$(ask world udp $address 30153 --size 4000 --reply 4000)" "4000 ok from $address 30153"
    load many world tcp $address 30180 --count 2000 --threads 4
    lossless "$how: 2000 connections to $address" many 1500
    load many world udp $address 30153 --count 2000 --threads 4
    lossless "$how: 2000 questions to $address" many 1500
  done

  step "$how: the ICMP errors of a backend elsewhere"
  # Nobody listens on 7999 of host1: its RST and its port unreachable find the client.
  for address in $node4 $node6; do
    not_reached "$how: RST" refused world tcp $address 30181
    not_reached "$how: port unreachable" refused world udp $address 30154
  done
  # A narrow way to the backend: path MTU discovery works through the balancer.
  ip -n "$(netns_of host1)" link set uplink0 mtu 1400
  ip -n "$(netns_of host)" route add $neighbour4/32 dev uplink0 mtu 1400 2>/dev/null
  succeeds "$how: 10 MB to a host with a smaller MTU" inside world timeout 30 "$traffic" stream $node4 30180 --bytes 10000000
  ip -n "$(netns_of host)" route del $neighbour4/32 dev uplink0 2>/dev/null
  ip -n "$(netns_of host1)" link set uplink0 mtu 1500

  step "$how: the backend changes under connections"
  for i in 1 2 3 4; do begin "$how$i" world $node4 30180 --rate 1000000; done
  for i in 1 2 3 4; do until_true 3 server_of "$how$i"; done
  remote far '' 'type: LoadBalancer, ports: [{name: http, port: 80, nodePort: 30180}, {name: more, port: 82, nodePort: 30182}, {name: dns, port: 53, nodePort: 30153, protocol: UDP}]' | apply
  sleep 0.5
  for i in 1 2 3 4; do end_stream "$how$i" || fail "$how: a stream was cut by another port's change: $(cat "$work/stream.$how$i")"; done
  if [[ $how == xdp ]]; then
    [[ $(packets xdp) -gt 0 ]] || fail "xdp: no packet was counted by it: $(weft status -o json | jq -c '[.datapath.stats[] | select(.name | test("xdp"))]')"
  fi
}

check_direct_return() { # the backend's host takes packets out of Geneve and answers clients by itself
  local mode address
  step "direct server return"
  ip -n "$(netns_of host1)" address add 192.0.2.117/32 dev lo
  ip -n "$(netns_of host1)" -6 address add 2001:db8:0:1::117/128 dev lo nodad
  # It must not answer for the address: that is the balancer's.
  inside host1 sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
  ip netns exec "$(netns_of host1)" "$traffic" decapsulate dsr0 >"$work/decapsulate" 2>&1 &
  pids+=($!)
  until_true 5 grep -q ready "$work/decapsulate" || { fail "no decapsulation: $(cat "$work/decapsulate")"; return; }
  inside host1 sysctl -qw net.ipv4.conf.dsr0.rp_filter=0
  serve host1 80 direct
  for mode in dsr-ipip dsr-geneve; do
    remote direct "annotations: {weft.io/forwarding: $mode, weft.io/load-balancer-ips: '192.0.2.117,2001:db8:0:1::117'}" \
      'type: LoadBalancer, ports: [{name: http, port: 80}]' 80 | apply
    # An answer that comes straight from the backend: it saw the client.
    for address in 192.0.2.117 2001:db8:0:1::117; do
      ip -n "$(netns_of world)" neighbour flush dev uplink0
      [[ $address == *:* ]] && client=$world6 || client=$world4
      reached "$mode" world tcp $address 80 direct $client
    done
    succeeds "$mode: 10 MB" inside world timeout 30 "$traffic" stream 192.0.2.117 80 --bytes 10000000
  done
}

step "a lab whose clients outside meet XDP"
pool_and_announcement | lab_up "$lab"
manifest | lab_apply
check_remote xdp
check_direct_return
"$weft" lab down --name "$lab" >/dev/null

step "a lab without XDP"
lab=$lab-tc
with_config 'xdp: off'
pool_and_announcement | lab_up "$lab"
manifest | lab_apply
check_remote tc
check_direct_return
finish
