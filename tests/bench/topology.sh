# The pairs of namespaces that are measured; sourced by tools/bench inside its own namespaces.
# A variant V has CLIENT[V] (namespace name), ADDRESS[V], PORT[V] and perhaps CGROUP[V].
# Each builder makes namespaces V-c (client), V-s (server) and where there is a node between, V-h.
# shellcheck shell=bash disable=SC2034,SC2154
declare -A CLIENT=() SERVER=() ADDRESS=() PORT=() CGROUP=()
server_port=7000
service_port=80

make_pair() {
  ip netns add "$1-c"
  ip netns add "$1-s"
  local side
  for side in c s; do
    ip -n "$1-$side" link set lo up
    # Thousands of connections a second from one address: reuse ports as soon as TCP allows it.
    ip netns exec "$1-$side" sysctl -q -w net.ipv4.tcp_tw_reuse=1 net.ipv4.ip_local_port_range="1024 65535"
  done
  CLIENT[$1]=$1-c
  SERVER[$1]=$1-s
  PORT[$1]=$server_port
}

# A client joins the server's address book: ready to be measured.
start_server() {
  : >"$scratch/server-$1"
  netbench server --netns "/run/netns/${SERVER[$1]}" --cpu "${2:-0}" --port "$server_port" >"$scratch/server-$1" 2>&1 &
  local tries
  for tries in $(seq 100); do
    if grep -q ready "$scratch/server-$1"; then return 0; fi
    sleep 0.02
  done
  die "the server of $1 did not start after $tries tries: $(cat "$scratch/server-$1")"
}

build_veth() {
  make_pair "$1"
  ip -n "$1-c" link add eth0 type veth peer name eth0 netns "$1-s"
  ip -n "$1-c" address add 10.60.0.1/24 dev eth0
  ip -n "$1-s" address add 10.60.0.2/24 dev eth0
  ip -n "$1-c" link set eth0 up
  ip -n "$1-s" link set eth0 up
  ADDRESS[$1]=10.60.0.2
}

# Two pods behind a node, each with its own veth; `host-c` and `host-s` are the node's ends.
make_node() {
  make_pair "$1"
  ip netns add "$1-h"
  ip -n "$1-h" link set lo up
  ip netns exec "$1-h" sysctl -q -w net.ipv4.ip_forward=1
  local side
  for side in c s; do
    ip -n "$1-$side" link add eth0 type veth peer name "host-$side" netns "$1-h"
    ip -n "$1-$side" link set eth0 up
    ip -n "$1-h" link set "host-$side" up
  done
}

mac_of() { ip -n "$1" -j link show "$2" | jq -r '.[0].address'; }

build_redirect() {
  make_node "$1"
  ip -n "$1-c" address add 10.60.0.1/24 dev eth0
  ip -n "$1-s" address add 10.60.0.2/24 dev eth0
  # Frames are addressed to the node's end, so that the kernel takes them for its own and nothing
  # has to be rewritten on the way.
  ip -n "$1-c" neighbour add 10.60.0.2 lladdr "$(mac_of "$1-h" host-c)" dev eth0 nud permanent
  ip -n "$1-s" neighbour add 10.60.0.1 lladdr "$(mac_of "$1-h" host-s)" dev eth0 nud permanent
  netbench attach --netns "/run/netns/$1-h" --object "$objects/redirect_peer.bpf.o" --device host-c --target host-s
  netbench attach --netns "/run/netns/$1-h" --object "$objects/redirect_peer.bpf.o" --device host-s --target host-c
  ADDRESS[$1]=10.60.0.2
}

# call_cni COMMAND PLUGIN CONFIG NODE_NETNS NAME: the plugin's result on standard output.
call_cni() {
  nsenter --net="/run/netns/$4" env -i CNI_COMMAND="$1" CNI_CONTAINERID="bench-$5" CNI_NETNS="/run/netns/$5" \
    CNI_IFNAME=eth0 CNI_PATH="$plugins:$bin" PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=$5" "$2" <"$3"
}

bridge_config() {
  cat >"$1" <<J
{"cniVersion": "1.0.0", "name": "bench-$2", "type": "bridge", "bridge": "cni0", "isGateway": true,
 "ipam": {"type": "host-local", "dataDir": "$scratch/ipam-$2", "ranges": [[{"subnet": "10.61.0.0/16"}]],
          "routes": [{"dst": "0.0.0.0/0"}]}}
J
}

build_bridge() {
  make_pair "$1"
  ip netns add "$1-h"
  ip -n "$1-h" link set lo up
  bridge_config "$scratch/$1.json" "$1"
  call_cni ADD "$plugins/bridge" "$scratch/$1.json" "$1-h" "$1-c" >/dev/null
  ADDRESS[$1]=$(call_cni ADD "$plugins/bridge" "$scratch/$1.json" "$1-h" "$1-s" | jq -r '.ips[0].address' | cut -d/ -f1)
}

# Routed pods with conntrack, and `count` services in front: what kube-proxy's two modes build. With
# `outside` the client is no pod but a host on the node's network, and asks a node port.
build_kubeproxy() {
  local variant=$1 mode=$2 count=$3 target=$((($3 + 1) / 2)) side
  make_node "$variant"
  for side in c s; do
    ip -n "$variant-h" address add 10.62.0.254/32 dev "host-$side"
    ip -n "$variant-$side" address add "10.62.0.$([[ $side == c ]] && echo 1 || echo 2)/32" dev eth0
    ip -n "$variant-$side" route add 10.62.0.254 dev eth0
    ip -n "$variant-$side" route add default via 10.62.0.254
  done
  ip -n "$variant-h" route add 10.62.0.1 dev host-c
  ip -n "$variant-h" route add 10.62.0.2 dev host-s
  load_rules "$variant" "$mode" "$count" "$target" || return 1
  # Closed connections leave the table quickly, so that it is the rules that are measured.
  ip netns exec "$variant-h" sysctl -q -w net.netfilter.nf_conntrack_tcp_timeout_time_wait=1 || true
  ADDRESS[$variant]=$(service_address "$target")
  PORT[$variant]=$service_port
  if [[ ${4:-} == outside ]]; then
    ADDRESS[$variant]=10.62.0.254
    PORT[$variant]=$(node_port "$target")
  fi
}

# load_rules VARIANT MODE COUNT TARGET: in the node's namespace; fails when it takes too long.
longest_load=${WEFT_BENCH_LONGEST_LOAD:-120}
load_rules() {
  local loader=(nft -f -)
  [[ $2 == nftables ]] || loader=("$iptables_restore")
  "rules_$2" "$3" "$4" >"$scratch/$1.rules"
  ip netns exec "$1-h" timeout $longest_load "${loader[@]}" <"$scratch/$1.rules"
}

service_address() { echo "10.96.$(($1 / 250)).$(($1 % 250 + 1))"; }
# kube-proxy's default range has 2,768 ports; the first services have one each.
node_ports=2700
node_port() { echo $((30000 + ($1 - 1) % node_ports)); }

# Two endpoints for each service but the one that is asked, as a cluster has them.
rules_iptables() {
  awk -v n="$1" -v target="$2" -v port="$service_port" -v backend="$server_port" -v ports="$node_ports" 'BEGIN {
    print "*filter"; print ":KUBE-FORWARD - [0:0]"
    print "-A FORWARD -j KUBE-FORWARD"
    print "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP"
    print "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT"
    print "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    print "COMMIT"; print "*nat"; print ":KUBE-SERVICES - [0:0]"; print ":KUBE-NODEPORTS - [0:0]"
    print ":KUBE-MARK-MASQ - [0:0]"; print ":KUBE-POSTROUTING - [0:0]"
    for (i = 1; i <= n; i++) print ":KUBE-SVC-" i " - [0:0]\n:KUBE-SEP-" i " - [0:0]" (i == target ? "" : "\n:KUBE-SEP-" i "b - [0:0]")
    for (i = 1; i <= n && i <= ports; i++) print ":KUBE-EXT-" i " - [0:0]"
    print "-A PREROUTING -j KUBE-SERVICES"
    print "-A POSTROUTING -j KUBE-POSTROUTING"
    print "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN"
    print "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0"
    print "-A KUBE-POSTROUTING -j MASQUERADE --random-fully"
    print "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000"
    for (i = 1; i <= n; i++) {
      address = "10.96." int(i / 250) "." i % 250 + 1
      print "-A KUBE-SERVICES -d " address "/32 -p tcp -m tcp --dport " port " -j KUBE-SVC-" i
      if (i != target) print "-A KUBE-SVC-" i " -m statistic --mode random --probability 0.5 -j KUBE-SEP-" i "b"
      print "-A KUBE-SVC-" i " -j KUBE-SEP-" i
      to = i == target ? "10.62.0.2:" backend : "10.63." int(i / 250) "." i % 250 + 1 ":" backend
      print "-A KUBE-SEP-" i " -p tcp -m tcp -j DNAT --to-destination " to
      if (i != target) print "-A KUBE-SEP-" i "b -p tcp -m tcp -j DNAT --to-destination 10.64." int(i / 250) "." i % 250 + 1 ":" backend
      # Of two Services with the same port (there are more Services than ports) the asked one has it.
      if (i <= ports) { number = (i == (target - 1) % ports + 1) ? target : i
        print "-A KUBE-NODEPORTS -p tcp -m tcp --dport " 30000 + i - 1 " -j KUBE-EXT-" i
        print "-A KUBE-EXT-" i " -j KUBE-MARK-MASQ\n-A KUBE-EXT-" i " -j KUBE-SVC-" number }
    }
    print "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
    print "COMMIT" }'
}

rules_nftables() {
  awk -v n="$1" -v target="$2" -v port="$service_port" -v backend="$server_port" -v ports="$node_ports" 'BEGIN {
    print "table ip kube-proxy {"
    for (i = 1; i <= n; i++) {
      to = i == target ? "10.62.0.2:" backend : "10.63." int(i / 250) "." i % 250 + 1 ":" backend
      print " chain endpoint-" i " { meta l4proto tcp dnat to " to "; }"
      if (i == target) { print " chain service-" i " { goto endpoint-" i "; }"; continue }
      print " chain endpoint-" i "b { meta l4proto tcp dnat to 10.64." int(i / 250) "." i % 250 + 1 ":" backend "; }"
      print " chain service-" i " { numgen random mod 2 vmap { 0 : goto endpoint-" i ", 1 : goto endpoint-" i "b }; }"
    }
    for (i = 1; i <= n && i <= ports; i++)
      print " chain external-" i " { meta mark set meta mark or 0x4000; goto service-" ((i == (target - 1) % ports + 1) ? target : i) "; }"
    print " map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; elements = {"
    for (i = 1; i <= n; i++)
      print "  10.96." int(i / 250) "." i % 250 + 1 " . tcp . " port " : goto service-" i ","
    print " } }"
    print " map service-nodeports { type inet_proto . inet_service : verdict; elements = {"
    for (i = 1; i <= n && i <= ports; i++) print "  tcp . " 30000 + i - 1 " : goto external-" i ","
    print " } }"
    print " chain services { type nat hook prerouting priority dstnat; ip daddr . meta l4proto . th dport vmap @service-ips; fib daddr type local meta l4proto . th dport vmap @service-nodeports; }"
    print " chain postrouting { type nat hook postrouting priority srcnat; meta mark & 0x4000 == 0 return; meta mark set meta mark xor 0x4000; masquerade fully-random; }"
    print " chain forward { type filter hook forward priority filter; ct state invalid drop; }"
    print "}" }'
}

# start_weft VARIANT [CONFIG_LINE...]: an agent of its own in node namespace V-h.
start_weft() {
  local variant=$1 line
  shift
  ip netns add "$variant-h"
  ip -n "$variant-h" link set lo up
  ip -n "$variant-h" link add uplink0 type veth peer name world0
  ip -n "$variant-h" link set world0 up
  ip -n "$variant-h" address add 192.0.2.2/24 dev uplink0
  ip -n "$variant-h" link set uplink0 up
  ip -n "$variant-h" route add default via 192.0.2.1
  ip netns exec "$variant-h" sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  CGROUP[$variant]=$cgroup2/$instance-$variant
  mkdir -p "${CGROUP[$variant]}" "$scratch/$variant/state" "$scratch/$variant/run"
  {
    echo "instance: $instance-$variant"
    echo "node: bench"
    echo "state_dir: $scratch/$variant/state"
    echo "run_dir: $scratch/$variant/run"
    echo "cgroup_root: ${CGROUP[$variant]}"
    echo 'pod_cidrs: [10.64.0.0/22, "fd00:64::/64"]'
    echo 'service_cidrs: [10.96.0.0/16, "fd00:96::/112"]'
    for line in "$@"; do echo "$line"; done
  } >"$scratch/$variant/weftd.yaml"
  echo "{\"cniVersion\": \"1.0.0\", \"name\": \"weft\", \"type\": \"weft-cni\", \"socket\": \"$scratch/$variant/run/weft.sock\"}" \
    >"$scratch/$variant/cni.json"
  run_agent "$variant"
}

run_agent() {
  local variant=$1 tries
  nsenter --net="/run/netns/$variant-h" "$bin/weftd" --config "$scratch/$variant/weftd.yaml" >>"$scratch/$variant/weftd.log" 2>&1 &
  echo $! >"$scratch/$variant/pid"
  for tries in $(seq 200); do
    if weft "$variant" status >/dev/null 2>&1; then return 0; fi
    if ! kill -0 "$(cat "$scratch/$variant/pid")" 2>/dev/null; then break; fi
    sleep 0.05
  done
  die "weftd of $variant does not serve after $tries tries: $(tail -n 5 "$scratch/$variant/weftd.log")"
}
stop_agent() {
  local pid
  pid=$(cat "$scratch/$1/pid")
  kill "$pid"
  wait "$pid" 2>/dev/null || true
}

weft() {
  local variant=$1
  shift
  timeout 600 "$bin/weft" --socket "$scratch/$variant/run/weft.sock" "$@"
}

# Two pods on Weft with a policy that allows what is measured, and `count` services.
build_weft() {
  local variant=$1 count=$2
  shift 2
  make_pair "$variant"
  start_weft "$variant" "$@"
  weft_manifest "$count" >"$scratch/$variant/manifest.yaml"
  # A request has at most 16 MiB.
  awk -v base="$scratch/$variant/part" 'BEGIN { file = base "0.yaml" }
    /^---/ && ++documents % 20000 == 0 { parts += 1; file = base parts ".yaml" } { print > file }' \
    "$scratch/$variant/manifest.yaml"
  local part
  for part in "$scratch/$variant"/part*.yaml; do weft "$variant" apply -f "$part" >/dev/null; done
  rm "$scratch/$variant"/part*.yaml "$scratch/$variant/manifest.yaml"
  weft_add "$variant" "$variant-c" client >/dev/null
  ADDRESS[$variant]=$(weft_add "$variant" "$variant-s" server | jq -r '[.ips[].address | select(contains("."))][0]' | cut -d/ -f1)
}

# As build_weft, but the client is a host on the node's network that asks a node port. CONFIG_LINEs follow.
build_weft_outside() {
  local variant=$1
  build_weft "$@"
  # The other end of the uplink, until now in the node's namespace, is the client.
  ip netns add "$variant-o"
  ip -n "$variant-o" link set lo up
  ip -n "$variant-h" link set world0 netns "$variant-o"
  ip -n "$variant-o" address add 192.0.2.1/24 dev world0
  ip -n "$variant-o" link set world0 up
  ip netns exec "$variant-o" sysctl -q -w net.ipv4.tcp_tw_reuse=1 net.ipv4.ip_local_port_range="1024 65535"
  netbench wire --netns "/run/netns/$variant-o" --device world0
  weft "$variant" apply -f - >/dev/null <<Y
apiVersion: v1
kind: Service
metadata: {name: asked}
spec: {type: NodePort, selector: {app: server}, ports: [{port: $service_port, targetPort: $server_port, nodePort: 32767}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: from-outside}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}]}]
Y
  CLIENT[$variant]=$variant-o
  CGROUP[$variant]=
  ADDRESS[$variant]=192.0.2.2
  PORT[$variant]=32767
}

# weft_add VARIANT NETNS POD
weft_add() {
  nsenter --net="/run/netns/$1-h" env -i CNI_COMMAND=ADD CNI_CONTAINERID="bench-$3" CNI_NETNS="/run/netns/$2" \
    CNI_IFNAME=eth0 CNI_PATH="$bin" PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=$3" "$bin/weft-cni" <"$scratch/$1/cni.json"
}

weft_manifest() {
  local name
  for name in client server; do
    cat <<Y
apiVersion: v1
kind: Pod
metadata: {name: $name, labels: {app: $name}}
spec: {containers: [{name: $name, image: bench}]}
---
Y
  done
  cat <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: from-client}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: to-server}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: server}}}]}]
Y
  # One service leads to the server, the others to two endpoints elsewhere each, as in a cluster. JSON: quicker read.
  awk -v n="$1" -v target=$((($1 + 1) / 2)) -v port="$service_port" -v backend="$server_port" 'BEGIN {
    for (i = 1; i <= n; i++) {
      printf "---\n{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"service-%d\"}, \"spec\": {\"clusterIP\": \"10.96.%d.%d\", %s\"ports\": [{\"port\": %d, \"targetPort\": %d}]}}\n",
        i, int(i / 250), i % 250 + 1, i == target ? "\"selector\": {\"app\": \"server\"}, " : "", port, backend
      if (i != target)
        printf "---\n{\"apiVersion\": \"discovery.k8s.io/v1\", \"kind\": \"EndpointSlice\", \"metadata\": {\"name\": \"service-%d-x\", \"labels\": {\"kubernetes.io/service-name\": \"service-%d\"}}, \"addressType\": \"IPv4\", \"ports\": [{\"port\": %d}], \"endpoints\": [{\"addresses\": [\"10.128.%d.%d\"]}, {\"addresses\": [\"10.129.%d.%d\"]}]}\n",
          i, i, backend, int(i / 250), i % 250 + 1, int(i / 250), i % 250 + 1
    } }'
}
