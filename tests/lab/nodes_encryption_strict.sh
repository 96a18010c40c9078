#!/usr/bin/env bash
# Encryption and nothing else: what cannot be encrypted does not leave, and is told by name. Over IPv6 alone.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_encryption.sh
source "$(dirname "$0")/lib_encryption.sh"

{ pod web-1 node1; pod web-2 node2; policy_from_web; } | lab_up "$lab" --nodes 2 --encryption wireguard-strict --underlay-family 6
for node in node1 node2; do eventually 15 "$node encrypts" encrypted $node 1; done
two=$(pod_address web-2 node2 v4) two_v6=$(pod_address web-2 node2 v6)
for address in "$two" "$two_v6"; do
  eventually 10 "pods reach each other" answers default/web-1 tcp "$address" 7000
  is "a datagram of the whole MTU" "$(ask default/web-1 udp "$address" 7000 --size 1352 --reply 1352 --timeout 1000 | grep -c web-2)" 1
done
is "pods' MTU" "$(inside default/web-1 cat /sys/class/net/eth0/mtu)" 1400

step "a node without a key"
watch_wire node1 uplink0 wire
without_key node2
eventually 5 "it is refused" way_is node1 node2 refused
before=$(at node1 status -o json | jq '[.datapath.drops[] | select(.reason == "unencrypted") | .packets] | add // 0')
is "no connection" "$(ask default/web-1 tcp "$two" 7000 --timeout 300)" timeout
is "nor from the node" "$(on node1 "$traffic" ask tcp "$two" 7000 --timeout 300 2>&1)" timeout
# One packet may meet the moment in which the node has told its key again.
dropped() {
  inside default/web-1 python3 -c "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'$pattern', ('$two', 7000))"
  [[ $(at node1 status -o json | jq '[.datapath.drops[] | select(.reason == "unencrypted") | .packets] | add // 0') -gt $((before + 2)) ]]
}
eventually 5 "the drops have a name" dropped
like "observe tells it" "$(at node1 observe --last 50 2>&1)" "unencrypted"
told_what_to_do() { [[ $(at node1 encryption status) == *"node2 has no key, and encryption_strict lets nothing go there"* ]]; }
eventually 8 "status tells what to do" told_what_to_do

step "addresses that nobody has"
for address in 10.244.200.9 fd00:10:244:aaaa::9; do
  is "a pod gets nowhere" "$(ask default/web-1 udp $address 7000 --timeout 200 | cut -d' ' -f1)" timeout
  on node1 python3 -c "
import socket
s = socket.socket(socket.AF_INET6 if ':' in '$address' else socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b'$pattern', ('$address', 7000))" 2>/dev/null
done

step "a key again"
tells_its_key node2
eventually 15 "encrypted again" encrypted node1 1
eventually 10 "reached again" answers default/web-1 tcp "$two" 7000
is "nothing was seen in clear" "$(end_wire wire | cut -d' ' -f1)" 0

step "at a start, before there is any session"
watch_wire node1 uplink0 start
on node2 true
pid=$(program_of node1)
kill -STOP "$(process_of node1/weftd)"
kill -9 "$pid"
inside default/web-1 python3 -c "
import socket
for _ in range(20): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'$pattern', ('$two', 7000))"
is "without WireGuard nothing leaves" "$(wire_count start pattern)" 0
kill -CONT "$(process_of node1/weftd)"
eventually 10 "and it goes on" answers default/web-1 tcp "$two" 7000
is "nothing was seen in clear" "$(end_wire start | cut -d' ' -f1)" 0
finish
