# What the tests of BGP share, after lib.sh and lib_services.sh: two racks' routers, a BIRD and an FRR, with a client
# behind each, and three nodes of which two speak by BIRD and one by FRR.
# shellcheck shell=bash disable=SC2154,SC2034,SC2317
for needed in etcd bird /usr/lib/frr/bgpd vtysh ethtool; do
  [[ -x $(command -v $needed) ]] || { echo "skipped: $needed is not installed"; exit 77; }
done

at() { "$weft" --lab "$lab" --node "$1" "${@:2}"; }
on() { ip netns exec "weft-$lab-$1" "${@:2}"; }
in_ns() { ip netns exec "$lab-$1" "${@:2}"; }
netns_of() {
  case $1 in
    node? | world) echo "weft-$lab-$1" ;;
    tor? | client?) echo "$lab-$1" ;;
    *) echo "weft-$lab.${1/\//.}" ;;
  esac
}

# Two racks' routers, tor1 and tor2: a link to each node (10.99.R.0/24, fd99:R::/64; the router is 1, node N is 10N), and
# a client behind each (10.88.R.0/24). They run in namespaces of this test.
make_router() { # R
  local r=$1 n
  ip netns add "$lab-tor$r"
  ip netns add "$lab-client$r"
  in_ns "tor$r" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.fib_multipath_hash_policy=1 net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
  ip -n "$lab-tor$r" link set lo up
  ip -n "$lab-tor$r" link add rack type bridge
  ip -n "$lab-tor$r" link set rack up
  ip -n "$lab-tor$r" addr add "10.99.$r.1/24" dev rack
  ip -n "$lab-tor$r" addr add "fd99:$r::1/64" dev rack nodad
  for n in 1 2 3; do link_node "$r" "$n"; done
  ip link add client netns "$lab-tor$r" type veth peer name up0 netns "$lab-client$r"
  ip -n "$lab-tor$r" addr add "10.88.$r.1/24" dev client
  ip -n "$lab-tor$r" link set client up
  ip -n "$lab-client$r" addr add "10.88.$r.2/24" dev up0
  ip -n "$lab-client$r" link set up0 up
  ip -n "$lab-client$r" link set lo up
  ip -n "$lab-client$r" route add default via "10.88.$r.1"
}
link_node() { # R N
  ip link add "n$2" netns "$lab-tor$1" type veth peer name "rack$1" netns "weft-$lab-node$2"
  ip -n "$lab-tor$1" link set "n$2" master rack up
  in_ns "tor$1" ethtool -K "n$2" gro on  # what a node sends here from XDP would be lost (docs/xdp.md)
  ip -n "weft-$lab-node$2" addr add "10.99.$1.10$2/24" dev "rack$1"
  ip -n "weft-$lab-node$2" addr add "fd99:$1::10$2/64" dev "rack$1" nodad
  ip -n "weft-$lab-node$2" link set "rack$1" up
}
start_routers() {
  {
    printf 'router id 10.99.1.1;\nprotocol device {}\n'
    for f in 4 6; do
      printf 'protocol kernel { ipv%s { export where source = RTS_BGP; }; merge paths yes; }\n' $f
    done
    printf 'protocol direct { ipv4; interface "client"; }\n'
    for n in 1 2 3; do
      printf 'protocol bgp n%s { local as 65000; neighbor 10.99.1.10%s as 65001; direct; password "%s"; hold time 9;\n  connect delay time 1; connect retry time 2; error wait time 1, 3;\n' "$n" "$n" "$password"
      printf '  ipv4 { import all; export all; }; ipv6 { import all; export all; }; }\n'
    done
  } >"$work/tor1.conf"
  TZ=UTC ip netns exec "$lab-tor1" bird -f -c "$work/tor1.conf" -s "$work/tor1.ctl" 2>"$work/tor1.log" &
  pids+=($!)
  mkdir -p "$work/tor2"
  {
    printf 'frr defaults traditional\nlog stdout informational\nrouter bgp 65000\n bgp router-id 10.99.2.1\n no bgp ebgp-requires-policy\n'
    for n in 1 2 3; do
      printf ' neighbor 10.99.2.10%s remote-as 65001\n neighbor 10.99.2.10%s timers 3 9\n neighbor 10.99.2.10%s timers connect 2\n' "$n" "$n" "$n"
    done
    printf ' address-family ipv4 unicast\n  network 10.88.2.0/24\n'
    for n in 1 2 3; do printf '  neighbor 10.99.2.10%s activate\n' "$n"; done
    printf ' exit-address-family\nexit\n'
  } >"$work/tor2/bgpd.conf"
  echo "log stdout informational" >"$work/tor2/zebra.conf"
  chmod 755 "$work"
  chown -R frr:frr "$work/tor2"
  for daemon in zebra bgpd; do
    ip netns exec "$lab-tor2" /usr/lib/frr/$daemon -f "$work/tor2/$daemon.conf" -i "$work/tor2/$daemon.pid" \
      -z "$work/tor2/zserv.api" --vty_socket "$work/tor2" -P 0 >"$work/tor2/$daemon.log" 2>&1 &
    pids+=($!)
    until_true 5 test -S "$work/tor2/$daemon.vty" || stop_test "no $daemon: $(cat "$work/tor2/$daemon.log")"
  done
}
remove_routers() {
  local r
  for r in 1 2; do
    ip netns pids "$lab-tor$r" 2>/dev/null | xargs -r kill -9
    ip netns del "$lab-client$r"
    ip netns del "$lab-tor$r"
  done
}
cleanup_hooks+=(remove_routers)
tor1_says() { birdc -s "$work/tor1.ctl" "$@" 2>&1; }
tor2_says() { vtysh --vty_socket "$work/tor2" -d bgpd -c "$*" 2>&1; }

# Next hops of a route in the router's kernel table: "101 103" are nodes 1 and 3.
hops() { # R PREFIX
  ip -n "$lab-tor$1" route show "${2%/32}" | grep -oE "10\.99\.$1\.[0-9]+" | sed 's/.*\.//' | sort -u | xargs
}
hops6() { ip -n "$lab-tor1" -6 route show "$1" | grep -oE "fd99:1::[0-9]+" | sed 's/.*:://' | sort -u | xargs; }
is_hops() { [[ $1 == "$2" ]] || { echo "'$1', not '$2'"; return 1; }; }
has_hops() { is_hops "$(hops "$1" "$2")" "$3"; }
has_hops6() { is_hops "$(hops6 "$1")" "$2"; }
told() { # WHAT PREFIX HOPS: by both routers
  eventually 15 "$1: tor1" has_hops 1 "$2" "$3"
  eventually 15 "$1: tor2" has_hops 2 "$2" "$3"
}
established() { # NODE COUNT
  [[ $(at "$1" bgp peers -o json | jq '[.[] | select(.established)] | length') == "$2" ]]
}
# When BIRD's sessions with the nodes began: "NAME SECONDS STATE" each. It counts back from now: off by a millisecond.
since() { tor1_says show protocols | awk '$2 == "BGP" {split($5, t, ":"); print $1, t[1] * 3600 + t[2] * 60 + t[3], $6}'; }
began_as() { # BEFORE: the same sessions, none began anew
  paste <(printf '%s\n' "$1") <(since) | awk '
    {off = $5 - $2; off = off < 0 ? -off : off; if ($1 != $4 || $6 != "Established" || off > 0.2) wrong = 1}
    END {exit wrong || !NR}'
}
# How often FRR has lost each.
dropped() { tor2_says show bgp neighbors json | jq -c 'map_values(.connectionsDropped)'; }
block_of() { at node1 node list -o json | jq -r --arg n "$1" '.[] | select(.name == $n) | .blocks[] | select(contains(":") == false)'; }
block6_of() { at node1 node list -o json | jq -r --arg n "$1" '.[] | select(.name == $n) | .blocks[] | select(contains(":"))'; }
speaker_pid() { at "$1" bgp status -o json | jq '.processes[-1].pid'; }
problems() { at "$1" status -o json | jq -r '.problems[] | select(contains("BGP"))'; }
no_problems() { [[ -z $(problems "$1") ]]; }
answered() { [[ $(ask "$@" --timeout 1000) == ok* ]]; }

imports=10.88.0.0/16  # what nodes take
peering() {
  cat <<YAML
---
apiVersion: weft.io/v1alpha1
kind: BGPPeering
metadata: {name: racks}
spec:
  localAS: 65001
  peers:
  - {address: 10.99.1.1, peerAS: 65000, holdTime: 9, passwordFile: $work/password, families: [IPv4, IPv6]}
  - {address: 10.99.2.1, peerAS: 65000, holdTime: 9}
  advertise:
  - {podCIDRs: true, communities: ["65001:1"]}
  - {services: [LoadBalancerIP, ExternalIP], communities: ["65001:2", no-export], largeCommunities: ["65001:2:3"]}
  import: {cidrs: [$imports]}
YAML
}
balanced() { # NAME POLICY
  cat <<YAML
---
apiVersion: v1
kind: Service
metadata: {name: $1, namespace: default}
spec:
  type: LoadBalancer
  externalTrafficPolicy: $2
  selector: {app: $1}
  ports: [{port: 80, targetPort: 7000}]
YAML
}
placed() { # NAME NODE APP
  cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: default, labels: {app: $3}, annotations: {weft.dev/run: "true"}}
spec:
  nodeName: $2
  containers: [{name: c, image: none, command: [$traffic, serve, "7000", "--name", "$1"], ports: [{containerPort: 7000}]}]
YAML
}
manifest() {
  for n in 1 2 3; do placed "web-$n" "node$n" web; done
  placed local-2 node2 local
  balanced web Cluster
  balanced local Local
  cat <<YAML
---
apiVersion: weft.io/v1alpha1
kind: LoadBalancerPool
metadata: {name: public}
spec: {addresses: [198.51.100.64/28]}
YAML
}

password=rack-0ne
echo "$password" >"$work/password"
chmod 600 "$work/password"
# The third node speaks by FRR.
wrapped=$work/programs
mkdir "$wrapped"
ln -s "$bin/weft-cni" "$bin/weft-operator" "$wrapped"
cat >"$wrapped/weftd" <<SH
#!/bin/sh
# \$2 is the configuration file of the lab.
sed -i '/^devices:/d; /^bgp_speaker:/d' "\$2"
echo 'devices: [uplink0, rack1, rack2]' >>"\$2"
if grep -q '^node: *"*node3' "\$2"; then echo 'bgp_speaker: frr' >>"\$2"; else echo 'bgp_speaker: bird' >>"\$2"; fi
exec "$bin/weftd" "\$@"
SH
chmod +x "$wrapped/weftd"
export WEFT_BIN_DIR=$wrapped


# racks_up: the lab, the routers, the peering; $web and $local are the Services' addresses.
racks_up() {
  step "three nodes, two routers"
  manifest | lab_up "$lab" --nodes 3 --tunnel none
  make_router 1
  make_router 2
  start_routers
  peering | at node1 apply -f - >"$work/apply" 2>&1 || stop_test "apply: $(cat "$work/apply")"
  for node in node1 node2 node3; do eventually 20 "$node has both sessions" established "$node" 2; done
  web=$(balancer_ip web 4)
  local=$(balancer_ip local 4)
  # A router may hold off a session that its peer has up already, and who comes later moves connections of the others.
  told "the Service" "$web" "101 102 103"
  all_established() { [[ $(since | grep -c Established) == 3 ]]; }
  eventually 15 "tor1 has all sessions" all_established
}
