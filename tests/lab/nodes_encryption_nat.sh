#!/usr/bin/env bash
# A node behind NAT is reached where its packets come from; and what nodes say themselves is encrypted, too.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_encryption.sh
source "$(dirname "$0")/lib_encryption.sh"
[[ -x $(command -v nft) ]] || { echo "skipped: nft is not installed"; exit 77; }

{ pod web-1 node1; pod web-2 node2; } | lab_up "$lab" --nodes 2 --encryption wireguard-nodes --underlay routed
for node in node1 node2; do eventually 15 "$node encrypts" encrypted $node 1; done
two=$(pod_address web-2 node2 v4)
eventually 10 "pods reach each other" answers default/web-1 tcp "$two" 7000
address() { "$weft" lab list -o json | jq -r --arg n "$lab" --arg m "$1" '.[] | select(.name == $n) | .nodes[] | select(.name == $m) | .address'; }
other=$(address node2)

step "what nodes say to each other"
routed() { [[ $(on node1 ip route get "$other") == *weft-wg* ]]; }
eventually 10 "goes by WireGuard" routed
watch_wire node2 uplink0 wire
watch_wire node2 "$(device_of node2)" inside
on node2 "$traffic" serve 7100 --name node2 >"$work/serve.node2" 2>&1 &
pids+=($!)
until_true 5 grep -q ready "$work/serve.node2" || stop_test "no server on node2"
asked=$(on node1 "$traffic" ask tcp "$other" 7100 --timeout 2000 2>&1)
like "a connection between nodes" "$asked" "node2"
on node1 python3 -c "
import socket
with socket.create_connection(('$other', 7100), 2) as tcp: tcp.sendall(b'$pattern' * 200)"
seen_inside() { [[ $(wire_count inside pattern) -ge 1 ]]; }
eventually 5 "it is decrypted" seen_inside
end_wire inside >/dev/null
is "and not on the wire" "$(end_wire wire | cut -d' ' -f1)" 0
like "etcd goes past it" "$(on node1 ip route get 192.0.2.1 ipproto tcp dport 2379 2>&1)" "uplink0"

step "behind NAT"
ip netns exec "weft-$lab-world" nft -f - <<NFT
table ip weft_nat {
  chain post { type nat hook postrouting priority 100; ip saddr $other udp sport {51871, 51872} masquerade to :61000-61999; }
  chain forward { type filter hook forward priority 0; ip daddr $other udp dport {51871, 51872} ct state new drop; }
}
NFT
cleanup_hooks+=("ip netns exec weft-$lab-world nft delete table ip weft_nat")
# Both begin anew, so that no session is from before; node1 cannot reach node2 by the address that it tells.
for node in node1 node2; do kill -9 "$(program_of $node)"; done
behind() { at node1 encryption status -o json | jq -e '.items[0] | .state == "encrypted" and (.endpoint | test(":61[0-9]{3}$"))' >/dev/null; }
eventually 25 "node1 has learnt where it is" behind
eventually 10 "pods reach it" answers default/web-1 tcp "$two" 7000
eventually 10 "and from there" answers default/web-2 tcp "$(pod_address web-1 node1 v4)" 7000
kill -9 "$(process_of node1/weftd)"
eventually 15 "the agent is back" encrypted node1 1
eventually 5 "what was learnt stays" behind
eventually 5 "pods reach it still" answers default/web-1 tcp "$two" 7000

step "it ends as it began"
programs=("$(program_of node1)" "$(program_of node2)")
for pid in "${programs[@]}"; do is "a program runs" "$(cat "/proc/$pid/comm")" wireguard-go; done
"$weft" lab down --name "$lab" >/dev/null || fail "down"
gone() { [[ ! -e /proc/$1 || $(cat "/proc/$1/comm") != wireguard-go ]]; }
for pid in "${programs[@]}"; do eventually 5 "and is gone" gone "$pid"; done
finish
