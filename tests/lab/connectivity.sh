#!/usr/bin/env bash
# Every way a packet can go on one node, both families: pods, host, world; sizes, errors, noise.
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
metadata: {name: c, namespace: default, labels: {app: c}}
spec: {containers: [{name: c, image: none}]}
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: default}
spec:
  selector: {app: b}
  clusterIP: 10.96.0.50
  clusterIPs: [10.96.0.50, "fd00:10:96::50"]
  ipFamilyPolicy: RequireDualStack
  ports: [{name: closed, port: 4001, protocol: UDP}, {name: tcp, port: 7000}]
YAML
a4=$(address_v4 default/a) a6=$(address_v6 default/a)
b4=$(address_v4 default/b) b6=$(address_v6 default/b)
node4=192.0.2.2 node6=2001:db8:0:1::2
world4=192.0.2.1 world6=2001:db8:0:1::1
for where in default/a default/b default/c host world; do serve "$where" 7000; done

step "noise of a pod that only comes up is no flow"
noise=$(weft observe --last 1000 -o json | jq -c 'select(.protocol == "ICMPv6" or .protocol == "ICMP")' | head -n 3)
is "flows of neighbour and router discovery" "$noise" ""

step "pod to pod, pod to host, host to pod: TCP, UDP, echo"
for pair in "$a4 $b4" "$a6 $b6"; do
  read -r from to <<<"$pair"
  for protocol in tcp udp; do
    like "$protocol pod-pod $to" "$(ask default/a $protocol "$to" 7000)" "^ok default/b $from [0-9]+.* from $to 7000$"
    like "$protocol pod-itself $from" "$(ask default/a $protocol "$from" 7000)" "^ok default/a $from "
    like "$protocol host-pod $to" "$(ask host $protocol "$to" 7000)" "^ok default/b .* from $to 7000$"
  done
  is "echo pod-pod $to" "$(inside default/a "$traffic" icmp "$to")" "reply from $to"
  is "echo host-pod $to" "$(inside host "$traffic" icmp "$to")" "reply from $to"
done
for pair in "$a4 $node4" "$a6 $node6"; do
  read -r from to <<<"$pair"
  for protocol in tcp udp; do
    like "$protocol pod-host $to" "$(ask default/a $protocol "$to" 7000)" "^ok host $from [0-9]+.* from $to 7000$"
  done
  is "echo pod-host $to" "$(inside default/a "$traffic" icmp "$to")" "reply from $to"
done

step "pod to world: the world sees the node"
for pair in "$world4 $node4" "$world6 $node6"; do
  read -r to seen <<<"$pair"
  for protocol in tcp udp; do
    like "$protocol pod-world $to" "$(ask default/a $protocol "$to" 7000)" "^ok world $seen [0-9]+.* from $to 7000$"
    like "$protocol host-world $to" "$(ask host $protocol "$to" 7000)" "^ok world $seen [0-9]+.* from $to 7000$"
  done
  is "echo pod-world $to" "$(inside default/a "$traffic" icmp "$to")" "reply from $to"
  is "echo host-world $to" "$(inside host "$traffic" icmp "$to")" "reply from $to"
done
like "tcp world-pod" "$(ask world tcp "$b4" 7000)" "^ok default/b $world4 "
like "tcp world-pod v6" "$(ask world tcp "$b6" 7000)" "^ok default/b $world6 "
like "udp world-pod" "$(ask world udp "$b4" 7000)" "^ok default/b $world4 "

step "a pod with the source port of a connection of the node"
for protocol in tcp udp; do
  for to in "$world4" "$world6"; do
    ask host $protocol "$to" 7000 --source-port 50606 --count 8 --interval 150 >"$work/node.port" &
    nodes_own=$!
    eventually 2 "the node's $protocol socket is there" \
      bash -c "ip netns exec $(netns_of host) ss -Hn --$protocol state established sport = :50606 | grep -q ."
    ask default/a $protocol "$to" 7000 --source-port 50606 --count 2 --interval 50 >"$work/pod.port"
    wait $nodes_own
    like "the pod's $protocol answer from $to" "$(cat "$work/pod.port")" '^ok'
    like "the node's own $protocol answers from $to go on" "$(cat "$work/node.port")" '^ok'
  done
done

step "three pods with one source port towards one place"
for protocol in tcp udp; do
  for to in "$world4" "$world6"; do
    asked=()
    for where in default/a default/b default/c; do
      ask $where $protocol "$to" 7000 --source-port 50505 --count 4 --interval 150 >"$work/same.${where//\//.}" &
      asked+=($!)
    done
    wait "${asked[@]}"
    ports=$(cat "$work"/same.* | awk '{print $4}' | sort -u | wc -l)
    is "$protocol answers from $to" "$(cat "$work"/same.* | grep -c '^ok')" 3
    is "$protocol different ports seen by $to" "$ports" 3
  done
done

step "large transfers, every byte checked"
for path in "default/a $b4" "default/a $b6" "default/a $world4" "default/a $world6" "host $b4" "default/a $node4"; do
  read -r from to <<<"$path"
  before=$EPOCHREALTIME
  if succeeds "200 MB $from to $to" inside "$from" "$traffic" stream "$to" 7000 --bytes 200000000; then
    is "bytes found good $from to $to" "$(jq .good <<<"$output")" 200000000
  fi
  say "         200 MB $from to $to in $(seconds_since "$before") s"
done

step "datagrams larger than the MTU, both ways"
for size in 1473 4000 20000 60000; do
  like "UDP $size pod-pod" "$(ask default/a udp "$b4" 7000 --size $size --reply $size)" "^ok default/b .* $size ok from"
  like "UDP $size pod-pod v6" "$(ask default/a udp "$b6" 7000 --size $size --reply $size)" "^ok default/b .* $size ok from"
  like "UDP $size pod-world" "$(ask default/a udp "$world4" 7000 --size $size --reply $size)" "^ok world $node4 .* $size ok from"
  like "UDP $size pod-world v6" "$(ask default/a udp "$world6" 7000 --size $size --reply $size)" "^ok world $node6 .* $size ok from"
  like "UDP $size pod-host" "$(ask default/a udp "$node4" 7000 --size $size --reply $size)" "^ok host .* $size ok from"
  like "UDP $size host-pod v6" "$(ask host udp "$b6" 7000 --size $size --reply $size)" "^ok default/b .* $size ok from"
done
is "echo of 4000 bytes" "$(inside default/a "$traffic" icmp "$world4" --size 4000)" "reply from $world4"
is "echo of 4000 bytes v6" "$(inside default/a "$traffic" icmp "$world6" --size 4000)" "reply from $world6"

step "ICMP errors reach the socket they are about"
is "closed UDP port pod-pod" "$(ask default/a udp "$b4" 4001)" refused
is "closed UDP port pod-pod v6" "$(ask default/a udp "$b6" 4001)" refused
is "closed UDP port through the service" "$(ask default/a udp 10.96.0.50 4001)" refused
is "closed UDP port through the service v6" "$(ask default/a udp fd00:10:96::50 4001)" refused
is "closed UDP port pod-host" "$(ask default/a udp "$node4" 4001)" refused
is "closed UDP port pod-world" "$(ask default/a udp "$world4" 4001)" refused
is "closed UDP port pod-world v6" "$(ask default/a udp "$world6" 4001)" refused
is "closed UDP port host-pod" "$(ask host udp "$b4" 4001)" refused
is "closed TCP port pod-pod" "$(ask default/a tcp "$b4" 4001)" refused
is "closed TCP port pod-world v6" "$(ask default/a tcp "$world6" 4001)" refused

step "a place behind the world, by way of a narrow link"
beyond=weft-beyond-$$
cleanup_hooks+=("ip netns del $beyond")
ip netns add "$beyond"
ip -n "$(netns_of world)" link add narrow type veth peer name narrow netns "$beyond"
ip -n "$(netns_of world)" addr add 198.51.100.97/30 dev narrow
ip -n "$(netns_of world)" addr add 2001:db8:0:9::1/64 dev narrow nodad
ip -n "$beyond" addr add 198.51.100.98/30 dev narrow
ip -n "$beyond" addr add 2001:db8:0:9::2/64 dev narrow nodad
ip -n "$(netns_of world)" link set narrow mtu 1300 up
ip -n "$beyond" link set narrow mtu 1300 up
ip -n "$beyond" link set lo up
ip -n "$beyond" route add default via 198.51.100.97
ip -n "$beyond" -6 route add default via 2001:db8:0:9::1
inside world sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
netns_of() { case $1 in host) echo "weft-$lab-node1" ;; world) echo "weft-$lab-world" ;; beyond) echo "$beyond" ;; *) echo "weft-$lab.${1/\//.}" ;; esac; }
serve beyond 7000
far4=198.51.100.98 far6=2001:db8:0:9::2
until_true 5 inside world "$traffic" icmp "$far6" --timeout 100  # its neighbours are found
like "TCP beyond" "$(ask default/a tcp "$far4" 7000)" "^ok beyond $node4 "
like "TCP beyond v6" "$(ask default/a tcp "$far6" 7000)" "^ok beyond $node6 "
is "a packet too large says so" "$(inside default/a "$traffic" icmp "$far4" --size 1400 --df)" "too-big 1300 from $world4"
is "a packet too large says so v6" "$(inside default/b "$traffic" icmp "$far6" --size 1400 --df)" "too-big 1300 from $world6"
succeeds "20 MB through the narrow link" inside default/b timeout 10 "$traffic" stream "$far4" 7000 --bytes 20000000
succeeds "20 MB through the narrow link v6" inside default/c timeout 10 "$traffic" stream "$far6" 7000 --bytes 20000000
like "UDP 4000 beyond" "$(ask default/c udp "$far4" 7000 --size 4000 --reply 4000)" "^ok beyond .* 4000 ok from"
is "TTL 2 ends at the world" "$(inside default/a "$traffic" icmp "$far4" --ttl 2)" "ttl-exceeded from $world4"
is "hop limit 2 ends at the world" "$(inside default/a "$traffic" icmp "$far6" --ttl 2)" "ttl-exceeded from $world6"
like "TTL 1 ends at the node" "$(inside default/a "$traffic" icmp "$far4" --ttl 1)" "^ttl-exceeded from "
like "hop limit 1 ends at the node" "$(inside default/a "$traffic" icmp "$far6" --ttl 1)" "^ttl-exceeded from "
is "TTL 3 arrives" "$(inside default/a "$traffic" icmp "$far4" --ttl 3)" "reply from $far4"

step "the node's own uplink becomes narrow"
ip -n "$(netns_of host)" link set uplink0 mtu 1400
like "a packet too large for the uplink says so" \
  "$(inside default/c "$traffic" icmp "$world4" --size 1450 --df)" "^too-big 1400 from "
like "a packet too large for the uplink says so v6" \
  "$(inside default/c "$traffic" icmp "$world6" --size 1450 --df)" "^too-big 1400 from "
succeeds "20 MB through the narrow uplink" inside default/c timeout 10 "$traffic" stream "$world4" 7000 --bytes 20000000
succeeds "20 MB through the narrow uplink v6" inside default/c timeout 10 "$traffic" stream "$world6" 7000 --bytes 20000000
like "UDP 4000 through the narrow uplink" "$(ask default/c udp "$world4" 7000 --size 4000)" " 4000 ok from"
# The first answer may be the error that teaches the socket the path's MTU.
ask default/a udp "$world6" 7000 --size 4000 >/dev/null
like "UDP 4000 through the narrow uplink v6" "$(ask default/a udp "$world6" 7000 --size 4000)" " 4000 ok from"
ip -n "$(netns_of host)" link set uplink0 mtu 1500

step "spoofed sources stay in the pod and are counted"
device=$(inside default/a ip -o route get "$b4" | sed -n 's/.* dev \([^ ]*\).*/\1/p')
gateway=$(inside default/a ip -o -4 route show default | awk '{print $3}')
mac=$(inside default/a ip -o neigh show "$gateway" dev "$device" | sed -n 's/.*lladdr \([^ ]*\).*/\1/p')
like "the gateway's MAC" "$mac" "^([0-9a-f]{2}:){5}[0-9a-f]{2}$"
count_received() { inside default/b cat /proc/net/snmp /proc/net/snmp6 | awk '/^Udp: [0-9]/ {s += $2 + $3} /^Udp6(InDatagrams|NoPorts)/ {s += $2} END {print s}'; }
before=$(($(drops spoofed-source) + $(drops reserved-address))) received=$(count_received)
for source in "$b4" 10.244.0.200 192.0.2.1 127.0.0.1 0.0.0.0; do
  inside default/a "$traffic" packet "$device" --mac "$mac" --source "$source" --destination "$b4" --port 7000 --count 5 >/dev/null
done
for source in "$b6" fd00:10:244::c8 2001:db8:0:1::1 ::1; do
  inside default/a "$traffic" packet "$device" --mac "$mac" --source "$source" --destination "$b6" --port 7000 --count 5 >/dev/null
done
is "spoofed packets counted" "$(($(drops spoofed-source) + $(drops reserved-address) - before))" 45
is "spoofed packets received" "$(($(count_received) - received))" 0
inside default/a "$traffic" packet "$device" --mac "$mac" --source "$a4" --destination "$b4" --port 7000 --count 5 >/dev/null
is "the same packet from the right source arrives" "$(($(count_received) - received))" 5

step "multicast and broadcast stay in the pod and are counted"
before=$(drops multicast)
inside default/a "$traffic" packet "$device" --mac ff:ff:ff:ff:ff:ff --source "$a4" --destination 255.255.255.255 --count 3 >/dev/null
inside default/a "$traffic" packet "$device" --mac 01:00:5e:00:00:fb --source "$a4" --destination 224.0.0.251 --count 3 >/dev/null
inside default/a "$traffic" packet "$device" --mac 33:33:00:00:00:fb --source "$a6" --destination ff02::fb --count 3 >/dev/null
after=$(drops multicast)
[[ $((after - before)) -ge 9 ]] || fail "multicast drops went from $before to $after, expected 9 more"
like "UDP to the broadcast address" "$(ask default/a udp 255.255.255.255 7000 --unconnected --timeout 200)" "timeout|unreachable"

step "the gateway answers again after the neighbour tables are flushed"
for where in default/a default/b host; do inside $where ip neigh flush all; inside $where ip -6 neigh flush all; done
like "TCP after the flush" "$(ask default/a tcp "$b4" 7000)" "^ok default/b"
like "TCP after the flush v6" "$(ask default/a tcp "$b6" 7000)" "^ok default/b"
like "world after the flush" "$(ask default/b tcp "$world4" 7000)" "^ok world"
like "host-pod after the flush v6" "$(ask host tcp "$b6" 7000)" "^ok default/b"

step "what was seen"
like "health" "$(weft status -o json | jq -r .health)" "^ok$"
is "flows with an end nobody knows" "$(weft observe --last 4000 -o json | jq -r 'select(.source.kind == "unknown" or .destination.kind == "unknown") |
  select(.drop_reason != "spoofed-source" and .drop_reason != "reserved-address" and .drop_reason != "multicast") | "\(.protocol) \(.source.address) \(.destination.address) \(.drop_reason)"' | sort -u)" ""
is "flows of multicast" "$(weft observe --last 4000 -o json | jq -c 'select(.type != "denied" and (.destination.address | test("^(ff|224|255)")))' | head -n 2)" ""
finish
