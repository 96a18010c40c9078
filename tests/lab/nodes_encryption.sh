#!/usr/bin/env bash
# Encryption between nodes: pods reach each other as policies say, nothing of theirs is seen in clear on the wire, and
# keys change, WireGuard ends and agents end without a byte of a stream lost.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_encryption.sh
source "$(dirname "$0")/lib_encryption.sh"

{
  pod web-1 node1; pod web-2 node2; pod web-3 node3; pod other-1 node1
  policy_from_web
} | lab_up "$lab" --nodes 3 --encryption wireguard
for node in node1 node2 node3; do eventually 15 "$node encrypts to both others" encrypted "$node" 2; done
for to in 2 3; do
  for family in v4 v6; do eventually 10 "web-$to by $family" answers default/web-1 tcp "$(pod_address web-$to node$to $family)" 7000; done
done
two=$(pod_address web-2 node2 v4) two_v6=$(pod_address web-2 node2 v6) three=$(pod_address web-3 node3 v4) three_v6=$(pod_address web-3 node3 v6)

step "who reaches whom"
like "status" "$(at node1 encryption status)" "WireGuard by (wireguard-go|kernel).*node2 +encrypted +192\.0\.2\.102:51872"
is "the way" "$(at node1 node list -o json | jq -r 'map(.way) | sort | join(" ")')" "self wireguard wireguard"
like "weft status tells it" "$(at node1 status)" "Encryption +WireGuard by .*: 2 of 2 other nodes encrypted"
for family in v4 v6; do
  for pair in "1 2" "2 3" "3 1"; do
    read -r from to <<<"$pair"
    address=$(pod_address web-$to node$to $family)
    like "a stream, web-$from to web-$to, $family" "$(inside default/web-$from "$traffic" stream "$address" 7000 --bytes 3000000 2>&1)" '"good":3000000,.*"error":""'
    like "a ping" "$(inside default/web-$from "$traffic" icmp "$address" --timeout 1000)" "^reply from"
    is "a datagram of the whole MTU" "$(ask default/web-$from udp "$address" 7000 --size 1372 --reply 1372 --timeout 1000 | grep -c web-$to)" 1
    is "one in fragments" "$(ask default/web-$from udp "$address" 7000 --size 6000 --reply 6000 --timeout 1000 | grep -c web-$to)" 1
  done
done
for family in v4 v6; do
  like "a node to a pod elsewhere, $family" "$(on node2 "$traffic" ask tcp "$(pod_address other-1 node1 $family)" 7000 --timeout 1000 2>&1)" "other-1"
  is "which policy allows no node" "$(on node1 "$traffic" ask tcp "$(pod_address web-2 node2 $family)" 7000 --timeout 300 2>&1)" timeout
done
is "who may not" "$(ask default/other-1 tcp "$two" 7000 --timeout 300)" timeout
is "pods' MTU" "$(inside default/web-1 cat /sys/class/net/eth0/mtu)" 1420
succeeds "health" at node1 health

step "what is on the wire"
watch_wire node2 uplink0 wire
watch_wire node2 "$(device_of node2)" inside
for family in v4 v6; do speak default/web-1 "$(pod_address web-2 node2 $family)"; done
seen_inside() { [[ $(wire_count inside pattern) -ge 40 ]]; }
eventually 5 "the pattern is where it is decrypted" seen_inside
read -r pattern encrypted <<<"$(end_wire wire)"
is "it is nowhere on the wire" "$pattern" 0
[[ $encrypted -ge 40 ]] || fail "the wire was watched, but only $encrypted packets of WireGuard were there"

step "a node without a key is sent to in clear, as the wire shows"
without_key node3
eventually 5 "node1 knows" way_is node1 node3 direct
watch_wire node3 uplink0 clear
speak default/web-1 "$three"
seen_clear() { [[ $(wire_count clear pattern) -ge 20 ]]; }
eventually 5 "the pattern is on the wire" seen_clear
end_wire clear >/dev/null
told_clear() { [[ $(at node1 encryption status) == *"node node3 has no key: packets go there in clear"* ]]; }
eventually 8 "and it is told, once it lasts" told_clear
tells_its_key node3
eventually 15 "it tells its key again" encrypted node1 2
eventually 5 "by the encrypted way" way_is node1 node3 wireguard

step "a record with another node's key changes nothing for that node"
stolen=$(etcdctl_of_lab get "/weft/v1/$lab/nodes/node2" --print-value-only | jq -c .wireguard)
printf '{"version":1,"boot_id":"x","underlay":["192.0.2.77"],"mode":"vxlan","mtu":1420,"gateways":[],"zone":"","wireguard":%s,"settled":1}' "$stolen" |
  etcdctl_of_lab put "/weft/v1/$lab/nodes/evil" >/dev/null || fail "etcd"
stolen_told() { [[ $(at node1 status -o json | jq -r '.problems[]') == *"node evil tells a key that is node node2's"* ]]; }
eventually 10 "it is told" stolen_told
is "node2 is reached" "$(ask default/web-1 tcp "$two" 7000 --timeout 1000 | cut -d' ' -f1)" ok
etcdctl_of_lab del "/weft/v1/$lab/nodes/evil" >/dev/null || fail "etcd"
stolen_over() { ! stolen_told; }
eventually 10 "and that is over" stolen_over

step "keys change under streams"
begin to2 default/web-1 "$two" 7000 --rate 2000000
begin to3 default/web-1 "$three_v6" 7000 --rate 2000000
begin back default/web-3 "$(pod_address web-1 node1 v4)" 7000 --rate 2000000
for path in to2 to3 back; do eventually 5 "$path flows" moving "$path"; done
before=$(generation node1)
exits 0 "rotate" at node2 encryption rotate
generation_is() { [[ $(at "$1" encryption status -o json | jq -c '[.devices[].generation]') == "[$((before + 1))]" ]]; }
for node in node1 node2 node3; do eventually 20 "$node has the next key and no other" generation_is $node; done
exits 0 "and again" at node1 encryption rotate
before=$((before + 1))
for node in node1 node2 node3; do eventually 20 "$node has the key after that" generation_is $node; done
for path in to2 to3 back; do whole_stream "$path"; done

step "wireguard-go is killed under streams"
begin killed default/web-1 "$two" 7000 --rate 2000000
begin killed_back default/web-2 "$(pod_address web-1 node1 v6)" 7000 --rate 2000000
for path in killed killed_back; do eventually 5 "$path flows" moving "$path"; done
pid=$(program_of node2)
kill -9 "$pid"
another() { local now; now=$(program_of node2); [[ -n $now && $now != null && $now != 0 && $now != "$pid" ]]; }
eventually 5 "another one runs" another
eventually 10 "sessions are back" encrypted node2 2
for path in killed killed_back; do eventually 5 "$path goes on" moving "$path"; end_stream "$path" || fail "$path: $(cat "$work/stream.$path")"; is "$path: every byte" "$(jq '.good == .sent and .sent > 500000' "$work/stream.$path")" true; say "         $path: longest pause $(jq .longest_stall_ms "$work/stream.$path") ms"; done
like "the restart is told" "$(at node2 encryption status)" "started again 1 times"

step "the agent is killed: WireGuard goes on with the same program"
begin agent default/web-1 "$two" 7000 --rate 2000000
eventually 5 "it flows" moving agent
pid=$(program_of node2)
kill -9 "$(process_of node2/weftd)"
eventually 15 "the agent is back" encrypted node2 2
is "the program was left alone" "$(program_of node2)" "$pid"
whole_stream agent

step "somebody takes the device away"
# Each time the program ends by itself and the agent looks at the device, in either order.
for i in 1 2 3 4; do
  pid=$(program_of node2)
  on node2 ip link delete "$(device_of node2)"
  eventually 10 "time $i: another program runs" another
  eventually 10 "it is made anew" encrypted node2 2
  eventually 10 "pods reach it" answers default/web-1 tcp "$two" 7000
done
eventually 10 "by IPv6" answers default/web-1 tcp "$two_v6" 7000
eventually 10 "no drops are left to tell" holds_quiet
finish
