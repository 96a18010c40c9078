#!/usr/bin/env bash
# Egress gateways in every way there is between nodes: whom the world sees, and that nothing but the chosen flows changes:
#   nodes_egress.sh BIN_DIR [TUNNEL|wireguard ...]
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_egress.sh
source "$(dirname "$0")/lib_egress.sh"
[[ -x $(command -v etcd) ]] || { echo "skipped: etcd is not installed"; exit 77; }

ways=("${@:2}")
[[ ${#ways[@]} -gt 0 ]] || ways=(vxlan geneve none wireguard)

check_way() { # TUNNEL
  local pod family address as own how=(--tunnel "$1")
  [[ $1 != wireguard ]] || how=(--tunnel vxlan --encryption wireguard)
  { bank bank-1 node1; bank bank-2 node2; bank bank-3 node3; bank other-1 node1
    egress_gateway "[{node: node2, egressIPs: [$egress4, \"$egress6\"]}]"; } | lab_up "$lab" --nodes 3 "${how[@]}"
  serve world 7100
  eventually 20 "a pod leaves by the gateway" sees bank-1 tcp $partner4 $egress4
  for pod in bank-1 bank-2 bank-3; do
    eventually 5 "$pod by the gateway" sees $pod tcp $partner4 $egress4
    for family in 4 6; do
      address=partner$family as=egress$family
      is "$1: $pod, TCP over IPv$family" "$(seen $pod tcp "${!address}")" "${!as}"
      is "$1: $pod, UDP over IPv$family" "$(seen $pod udp "${!address}")" "${!as}"
    done
  done
  for own in address address_v6; do
    [[ $own == address ]] && address=$partner4 || address=$partner6
    is "$1: a pod that is not selected" "$(seen other-1 tcp $address)" "$(node_address node1 $own)"
  done
  is "$1: an excluded destination" "$(seen bank-1 tcp $excluded4)" "$(node_address node1 address)"
  is "$1: one that is not meant" "$(seen bank-1 tcp 192.0.2.1)" "$(node_address node1 address)"
  for address in $partner4 $partner6; do
    like "$1: a ping by the gateway" "$(inside default/bank-1 "$traffic" icmp $address --timeout 1000)" "^reply from"
    like "$1: a whole stream" "$(inside default/bank-1 "$traffic" stream $address 7100 --bytes 3000000 2>&1)" '"good":3000000,.*"error":""'
    is "$1: large datagrams" "$(ask default/bank-3 udp $address 7100 --size 1360 --reply 1360 --timeout 1000 | grep -c '^ok')" 1
    like "$1: a closed port says so" "$(ask default/bank-1 tcp $address 7199 --timeout 1000)" "^refused"
    like "$1: by ICMP, too" "$(ask default/bank-1 udp $address 7199 --timeout 1000)" "^refused"
  done

  is "$1: every node knows the gateway" "$(for n in 1 2 3; do active_at node$n; done | tr '\n' ' ')" "node2 node2 node2 "
  like "$1: the list" "$(at node1 egress list)" "partner +3 +198\.51\.100\.0/24.* node2 \($egress4,$egress6\)"
  has_address node2 $egress4 || fail "$1: the gateway has no $egress4"
  has_address node2 $egress6 128 || fail "$1: the gateway has no $egress6"
  like "$1: observe" "$(at node1 observe --last 200 --pod default/bank-1)" "default/bank-1:[0-9]+ -> world $partner4:7100 via node node2 TCP"
  like "$1: observe at the gateway" "$(at node2 observe --last 400 --pod default/bank-1)" "via node node2"
  like "$1: explain" "$(at node1 policy explain --from default/bank-1 --to $partner4 --port 7100)" "leaves the cluster by node node2, as $egress4 \(EgressGateway partner\)"
  is "$1: explain of another" "$(at node1 policy explain --from default/other-1 --to $partner4 --port 7100 -o json | jq '.[0].egress_gateway')" null

  # It goes with the object.
  at node3 delete egressgateway partner >/dev/null || fail "delete"
  eventually 5 "$1: as ever without it" sees bank-1 tcp $partner4 "$(node_address node1 address)"
  gone() { ! has_address node2 $egress4; }
  eventually 5 "$1: its address goes" gone
  "$weft" lab down --name "$lab" >/dev/null || fail "down"
}

for way in "${ways[@]}"; do
  step "by $way"
  check_way "$way"
done
finish
