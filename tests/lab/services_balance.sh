#!/usr/bin/env bash
# How flows are spread, measured with real connections: random, round robin, least connections, source hash,
# Maglev and its disruption when a backend goes, weights. Bounds are five standard deviations of the fair share.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_services.sh
source "$(dirname "$0")/lib_services.sh"

backends=5
questions=${WEFT_TEST_QUESTIONS:-3000}
names=(random round-robin least-connections source-hash maglev)
port_of() { # ALGORITHM
  local i
  for i in "${!names[@]}"; do
    if [[ ${names[i]} == "$1" ]]; then echo $((30100 + i)); fi
  done
}
services() {
  local name
  for name in "${names[@]}"; do
    service "$name" "annotations: {weft.io/algorithm: $name}" "type: NodePort, selector: {app: web},
      ports: [{name: http, port: 80, targetPort: 7000, nodePort: $(port_of "$name")}]"
  done
}
shares() { loaded "$1" '.servers | to_entries | map("\(.key)=\(.value)") | join(" ")'; }
# even NAME SLACK: each backend's share is within SLACK of the fair one.
even() {
  checks=$((checks + 1))
  loaded "$1" '.servers[]' | awk -v n="$backends" -v slack="$2" '
    { v[NR] = $1; sum += $1 }
    END { if (NR != n) exit 1; for (i in v) if (v[i] < sum / n - slack || v[i] > sum / n + slack) exit 1 }' ||
    depth=2 fail "$1: $(shares "$1"), expected $((questions / backends)) each, give or take $2"
}

step "a lab with $backends servers"
{
  pod one 'app: client'
  deployment web $backends 'app: web'
  services
} | lab_up "$lab"
for ((i = 0; i < backends; i++)); do eventually 10 "web-$i serves" answers default/one tcp "$(address_v4 "default/web-$i")" 7000; done
# Of a binomial share.
deviation=$(awk -v n="$questions" -v b=$backends 'BEGIN { print int(5 * sqrt(n / b * (1 - 1 / b))) + 1 }')

for name in "${names[@]}"; do
  for client in world default/one; do
    address=$(cluster_ip "$name" 6)
    [[ $client == world ]] && address=$node4
    port=80
    [[ $client == world ]] && port=$(port_of "$name")
    load share $client tcp "$address" "$port" --count "$questions" --threads 4
    lossless "$name from $client" share 2000
    say "         $name from $client: $(shares share)"
    case $name in
      random) even share "$deviation" ;;
      # Connections on both CPUs are counted apart.
      round-robin) even share $((questions / 50 + 8)) ;;
      # Connections this short leave nothing to compare: all are used, that is all.
      least-connections) is "$name from $client: all are used" "$(servers_of share | wc -w)" $backends ;;
      source-hash) is "$name from $client: one backend" "$(servers_of share | wc -w)" 1 ;;
      maglev) [[ $client == world ]] && even share $((deviation + questions / backends / 50 + 1)) ;;
    esac
  done
done

step "source hash: every client its own backend, the same one on every port and family of sockets"
declare -A of=()
for last in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  ip -n "$(netns_of world)" address add 198.51.100.$((last + 20))/32 dev lo
done
for last in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  load client world tcp $node4 "$(port_of source-hash)" --count 10 --threads 2 --source 198.51.100.$((last + 20))
  is "the backends of 198.51.100.$((last + 20))" "$(servers_of client | wc -w)" 1
  of[$(servers_of client)]=1
done
[[ ${#of[@]} -ge 3 ]] || fail "source hash: 20 clients were sent to ${#of[@]} backends only"

step "least connections: a backend with long connections gets fewer new ones"
# Thirty connections stay open; another six find the counters even again.
begin_load held world tcp $node4 "$(port_of least-connections)" --count 30 --threads 1 --hold
until_true 10 test -s "$work/load.held" || fail "the held connections are not there"
say "         30 held: $(shares held)"
loaded held '.servers | [.[]] | "\(min) \(max) \(length)"' | {
  read -r low high count
  checks=$((checks + 1))
  [[ $count -eq $backends && $((high - low)) -le 3 ]] || fail "30 held connections were spread unevenly: $(shares held)"
}
active() { weft service get default/least-connections -o json | jq '[.. | objects | select(has("active")) | .active] | add'; }
eventually 3 "30 are counted as active" bash -c "[[ \$('$weft' --lab '$lab' service get default/least-connections -o json | jq '[.. | objects | select(has(\"active\")) | .active] | add') -ge 30 ]]"
stop_load held
eventually 5 "their end is counted" bash -c "[[ \$('$weft' --lab '$lab' service get default/least-connections -o json | jq '[.. | objects | select(has(\"active\")) | .active] | add') -le 5 ]]"

step "Maglev: what moves when a backend goes"
# The same source ports before and after: who answered each.
load before world tcp $node4 "$(port_of maglev)" --count 2000 --threads 4 --first-port 20000
load again world tcp $node4 "$(port_of maglev)" --count 2000 --threads 4 --first-port 20000
moved() { # BEFORE AFTER WITHOUT: of the ports whose backend stayed, how many moved
  jq -n --slurpfile a "$work/load.$1" --slurpfile b "$work/load.$2" --arg gone "$3" \
    '[$a[0].ports | to_entries[] | select(.value != $gone) | select($b[0].ports[.key] != .value)] | length'
}
is "asked again, nothing moves" "$(moved before again none)" 0
{
  pod one 'app: client'
  deployment web $((backends - 1)) 'app: web'
} | weft apply -f - >/dev/null
gone=default.web-$((backends - 1))
not_chosen() { load quick world tcp $node4 "$(port_of maglev)" --count 60 --threads 2 && [[ " $(servers_of quick) " != *" $gone "* ]]; }
eventually 5 "$gone is not chosen any more" not_chosen
load after world tcp $node4 "$(port_of maglev)" --count 2000 --threads 4 --first-port 20000
lossless "Maglev with one backend less" after 2000
count=$(moved before after "$gone")
say "         of $(loaded before ".servers | to_entries | map(select(.key != \"$gone\") | .value) | add") flows whose backend stayed, $count moved"
# The paper's table is nearly minimal: with five backends and 16,381 places far less than 2 % of the rest.
[[ $count -le 40 ]] || fail "Maglev: $count of 2000 flows moved though their backend stayed"

step "weights"
{
  service weighted '' 'type: NodePort, ports: [{name: http, port: 80, nodePort: 30190}]'
  for i in 0 1 2; do
    slice "weighted-$i" weighted IPv4 "{addresses: [$(address_v4 default/web-$i)], nodeName: node1}" "annotations: {weft.io/weight: \"$((i * 2))\"}"
  done
} | apply
for algorithm in random round-robin maglev; do
  service weighted "annotations: {weft.io/algorithm: $algorithm}" 'type: NodePort, ports: [{name: http, port: 80, nodePort: 30190}]' | apply
  load weighted world tcp $node4 30190 --count "$questions" --threads 4
  say "         $algorithm with weights 0, 2, 4: $(shares weighted)"
  is "$algorithm: weight 0 gets nothing" "$(loaded weighted '.servers["default.web-0"] // 0')" 0
  loaded weighted '"\(.servers["default.web-1"] // 0) \(.servers["default.web-2"] // 0)"' | {
    read -r one two
    checks=$((checks + 1))
    awk -v a="$one" -v b="$two" -v n="$questions" 'BEGIN { share = a / (a + b); exit share > 0.38 || share < 0.28 }' ||
      fail "$algorithm: weights 2 and 4 got $one and $two"
  }
done
finish
