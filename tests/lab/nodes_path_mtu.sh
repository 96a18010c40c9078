#!/usr/bin/env bash
# A router between two nodes takes less than their devices: pods hear of it and nothing is lost for long, by every way
# between nodes and over both families:
#   nodes_path_mtu.sh BIN_DIR [TUNNEL:FAMILY ...]
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_nodes.sh
source "$(dirname "$0")/lib_nodes.sh"

ways=("${@:2}")
[[ ${#ways[@]} -gt 0 ]] || ways=(none:dual vxlan:4 vxlan:6 geneve:4 geneve:6 ipip:4 ipip:6)
narrow=1400

declare -A overhead=([none:dual]=0 [vxlan:4]=50 [vxlan:6]=70 [geneve:4]=36 [geneve:6]=56 [ipip:4]=20 [ipip:6]=40)
at_world() { ip netns exec "weft-$lab-world" "$@"; }
# What the pod's kernel has been told of the way to an address.
told() { inside "$1" ip route get "$2" | grep -oE 'mtu [0-9]+' | cut -d' ' -f2; } # POD ADDRESS
counter() { at "$1" bpf stats -o json | jq --arg n "$2" '.[] | select(.name == $n) | .value'; } # NODE NAME
path_of() { at "$1" node list -o json | jq -c --arg n "$2" '.[] | select(.name == $n) | [.path_mtu.packet, .path_mtu.inside]'; }
path_is() { [[ $(path_of "$1" "$2") == "$3" ]]; } # NODE OTHER JSON
reaches() { answers "default/$1" tcp "$(pod_address "$2" "$3" "$4")" 7000; } # POD OTHER ITS_NODE FAMILY
datagram_passes() { [[ $(ask "$1" udp "$2" 7000 --size 1392 --reply 1392 --timeout 300) == "ok web-2"* ]]; } # POD ADDRESS
# A stream is not held up by more than the two retransmissions that find the way's MTU and obey it.
flows() { # WHAT FROM ADDRESS
  local summary
  summary=$(inside "$2" timeout 20 "$traffic" stream "$3" 7000 --bytes 2000000 2>&1)
  like "$1" "$summary" '"good":2000000,.*"error":""'
  [[ $(jq .longest_stall_ms <<<"$summary") -lt 2000 ]] || depth=2 fail "$1 stalled: $summary"
  longest=$(jq -n --argjson a "${longest:-0}" --argjson b "$(jq .longest_stall_ms <<<"$summary")" '[$a, $b] | max')
}

# Nobody may make a node believe what no router between nodes says: an ICMP error about a packet it never sent.
forged() { # QUOTED_DESTINATION MTU
  at_world python3 - 198.18.1.2 "$1" "$2" <<'PYTHON'
import socket, struct, sys
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
node, far, mtu = sys.argv[1], sys.argv[2], int(sys.argv[3])
quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1500, 0, 0x4000, 64, 17, 0, socket.inet_aton(node), socket.inet_aton(far))
quoted += struct.pack("!HHHH", 50000, 6081, 1480, 0)
error = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + quoted
error = error[:2] + struct.pack("!H", checksum(error)) + error[4:]
socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).sendto(error, (node, 0))
PYTHON
}

check_way() { # TUNNEL:FAMILY
  local way=$1 family expected
  { pod web-1 node1; pod web-2 node2; } | lab_up "$lab" --nodes 2 --operators 0 --tunnel "${way%:*}" --underlay routed --underlay-family "${way#*:}"
  for family in v4 v6; do
    eventually 15 "there, $family" reaches web-1 web-2 node2 $family
    eventually 15 "and back, $family" reaches web-2 web-1 node1 $family
  done
  local -A one=() two=()
  for family in v4 v6; do one[$family]=$(pod_address web-1 node1 $family) two[$family]=$(pod_address web-2 node2 $family); done
  # What follows is the datapath's: node1 has no agent, nobody probes.
  lab_cmd kill node1 >/dev/null
  at_world ip link set net1 mtu $narrow
  at_world ip link set net2 mtu $narrow
  expected=$((narrow - overhead[$way]))
  longest=0
  for family in v4 v6; do
    flows "a stream there, $family" default/web-1 "${two[$family]}"
    flows "a stream back, $family" default/web-2 "${one[$family]}"
    is "the pod was told, $family" "$(told default/web-1 "${two[$family]}")" $expected
    # Datagrams that are larger are lost until the pod's kernel knows, and come in fragments then.
    eventually 3 "a datagram larger than that, $family" datagram_passes default/web-1 "${two[$family]}"
  done
  lab_cmd start node1 >/dev/null
  if [[ $way == none:dual ]]; then
    eventually 10 "node1's agent serves" joined node1 true
    is "nothing is kept of the pods' own paths" "$(path_of node1 node2)" "[null,null]"
  else
    eventually 10 "weft node list" path_is node1 node2 "[$narrow,$expected]"
    like "weft doctor" "$(at node1 doctor 2>&1)" "a router on the way takes packets of $narrow bytes: pods that send [0-9]+ are told $expected"
    is "counted" "$(counter node1 path-mtu-learnt)" 1
    eventually 15 "weft health has nothing against it" at node1 health
  fi
  if [[ $way == geneve:4 ]]; then
    forged 198.51.100.77 800
    refused() { [[ $(counter node1 path-mtu-refused) == 1 ]]; }
    eventually 5 "about a packet to no node it is refused" refused
    forged 198.18.2.2 100
    eventually 5 "about one to a node it counts down to the floor" path_is node1 node2 "[1280,$((1280 - overhead[$way]))]"
    for family in v4 v6; do flows "and pods still get through, $family" default/web-1 "${two[$family]}"; done
    is "pods of IPv6 are told no less than IPv6 has" "$(told default/web-1 "${two[v6]}")" 1280
  fi
  say "         longest pause $longest ms"
  "$weft" lab down --name "$lab" >/dev/null || fail "down"
}

for way in "${ways[@]}"; do
  step "tunnel ${way%:*} over ${way#*:}"
  check_way "$way"
done
finish
