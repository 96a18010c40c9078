#!/usr/bin/env bash
# A balancer for plain hosts: weftd without pods or cluster addresses, the backends on another host and on the
# balancer itself, their health checked by Weft. Once with clients balanced by XDP and once in tc.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_services.sh
source "$(dirname "$0")/lib_services.sh"

server_pids=()
start() { # PORT NAME: a server on host1
  serve host1 "$1" "$2"
  server_pids[$1]=${pids[-1]}
}
stop() {
  kill "${server_pids[$1]}"
  wait "${server_pids[$1]}" 2>/dev/null
}
check=tcp
manifest() {
  local port
  service front "annotations: {weft.io/health-check: $check, weft.io/health-check-interval: 200ms, weft.io/health-check-timeout: 150ms, weft.io/health-check-rise: \"1\", weft.io/health-check-fall: \"2\"}" \
    'type: LoadBalancer, ipFamilies: [IPv4, IPv6]'
  for port in 7001 7002; do
    slice "front-4-$port" front IPv4 "{addresses: [$neighbour4]}" '' $port
    slice "front-6-$port" front IPv6 "{addresses: [\"$neighbour6\"]}" '' $port
  done
}
# What 24 questions were answered with: names, or what went wrong.
seen() { # PROTOCOL ADDRESS PORT
  local i
  for ((i = 0; i < 24; i++)); do ask world "$@" --timeout 700 | sed 's/^ok \([^ ]*\) .*/\1/'; done | sort -u | xargs
}
sees() { [[ $(seen tcp "$1" 80) == "$2" ]]; }

check_balancer() { # xdp|tc
  local how=$1 address4 address6
  start 7001 first
  start 7002 second
  pool_and_announcement | apply
  manifest | apply
  address4=$(balancer_ip front 4) address6=$(balancer_ip front 6)
  like "$how: an address of each family" "$address4 $address6" '^192\.0\.2\.1[0-9]+ 2001:db8:0:1::1[0-9a-f]+$'
  for address in "$address4" "$address6"; do
    eventually 5 "$how: both backends serve $address" sees "$address" "first second"
    is "$how: UDP" "$(seen udp "$address" 53)" "first second"
    succeeds "$how: 20 MB to $address" inside world timeout 30 "$traffic" stream "$address" 80 --bytes 20000000
  done
  load many world tcp "$address4" 80 --count 3000 --threads 4
  lossless "$how: 3000 connections" many 1500

  step "$how: a backend that dies is left, one that comes back is used"
  begin survivor world "$address4" 80 --rate 500000
  until_true 3 server_of survivor
  stop 7002
  eventually 5 "$how: the dead one is left" sees "$address4" first
  eventually 5 "$how: the dead one is left, v6" sees "$address6" first
  load after world tcp "$address4" 80 --count 500 --threads 2
  lossless "$how: without the dead one" after 1500
  [[ $(weft service get default/front -o json | jq '[.. | objects | select(.healthy == false)] | length') -ge 1 ]] ||
    fail "$how: service get tells of no unhealthy backend"
  start 7002 second
  eventually 5 "$how: it is used again" sees "$address4" "first second"
  if [[ $(server_of survivor) == first ]]; then
    end_stream survivor || fail "$how: the stream to the backend that lived was cut: $(cat "$work/stream.survivor")"
  else
    kill "${streams[survivor]}" 2>/dev/null
  fi

  step "$how: all of them dead: refused at once"
  stop 7001
  stop 7002
  dead() { refuses world tcp "$1" 80; }
  sleep 0.1
  eventually 5 "$how: nobody is left" dead "$address4"
  sleep 1
  # Now it is the balancer that refuses, not the host of the dead.
  is "$how: no backend takes flows" "$(weft service get default/front -o json | jq '[.ports[] | select(.protocol == "TCP") | .backends[] | select(.healthy)] | length')" 0
  not_reached "$how: UDP too" refused world udp "$address4" 53
}

# The configuration of a lab without the ranges of a cluster.
plain_host() {
  with_config "$@"
  # An empty list, since without the keys there are ranges by default.
  sed -i '2a sed -i "s/^pod_cidrs:.*/pod_cidrs: []/; s/^service_cidrs:.*/service_cidrs: []/" "$2"' "$WEFT_BIN_DIR/weftd"
}

step "a balancer whose clients meet XDP"
plain_host
lab_up "$lab" <<<''
is "it has no pods' addresses" "$(weft ipam list -o json | jq '.pools | length')" 0
is "which is no fault" "$(weft status -o json | jq -r .health)" ok
check_balancer xdp
"$weft" lab down --name "$lab" >/dev/null

step "a balancer without XDP"
lab=$lab-tc
plain_host 'xdp: off'
lab_up "$lab" <<<''
check_balancer tc
finish
