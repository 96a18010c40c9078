# What the tests of services share, after lib.sh: manifests, clients on all sides, answers.
# shellcheck shell=bash disable=SC2154,SC2034

# Where everything is (docs/lab.md).
node4=192.0.2.2 node6=2001:db8:0:1::2
world4=192.0.2.1 world6=2001:db8:0:1::1
neighbour4=192.0.2.3 neighbour6=2001:db8:0:1::3
gateway_mac=02:00:00:00:00:02

netns_of() {
  case $1 in
    host) echo "weft-$lab-node1" ;;
    world | host1) echo "weft-$lab-$1" ;;
    *) echo "weft-$lab.${1/\//.}" ;;
  esac
}

# with_config LINE...: labs made from here on run weftd with these lines in its configuration too.
with_config() {
  local directory line
  directory=$(mktemp -d "$work/bin.XXXXXX")
  ln -s "$bin/weft-cni" "$bin/weft-operator" "$directory/"
  {
    echo '#!/bin/sh'
    echo '# $2 is the configuration file of the lab.'
    for line in "$@"; do printf 'sed -i "/^%s:/d" "$2" && echo "%s" >>"$2"\n' "${line%%:*}" "$line"; done
    printf 'exec "%s/weftd" "$@"\n' "$bin"
  } >"$directory/weftd"
  chmod +x "$directory/weftd"
  export WEFT_BIN_DIR=$directory
}

# pod NAME LABELS [ANNOTATION...]: a pod that only asks.
pod() {
  cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: default, labels: {$2}}
spec: {containers: [{name: c, image: none}]}
YAML
}
# server NAME LABELS [SPEC_LINE_OF_PORTS]: a pod that answers on 7000, TCP and UDP, and says who asked.
server() {
  cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: default, labels: {$2}, annotations: {weft.dev/run: "true"${4:+, $4}}}
spec:
  containers:
    - name: c
      image: none
      command: [$traffic, serve, "7000", "--name", "$1"]
      ports: [${3:-{name: main, containerPort: 7000\}, {name: datagrams, containerPort: 7000, protocol: UDP\}}]
YAML
}
# deployment NAME REPLICAS LABELS: servers NAME-0 ...
deployment() {
  cat <<YAML
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1, namespace: default}
spec:
  replicas: $2
  selector: {matchLabels: {$3}}
  template:
    metadata: {labels: {$3}, annotations: {weft.dev/run: "true"}}
    spec:
      containers:
        - name: c
          image: none
          command: [$traffic, serve, "7000"]
          ports: [{name: main, containerPort: 7000}, {name: datagrams, containerPort: 7000, protocol: UDP}]
YAML
}
# service NAME META SPEC: of both families, TCP 80 and UDP 53 unless the spec has ports.
service() {
  local ports='ports: [{name: http, port: 80, targetPort: 7000}, {name: dns, port: 53, targetPort: 7000, protocol: UDP}]'
  [[ $3 == *ports:* ]] && ports=''
  cat <<YAML
---
apiVersion: v1
kind: Service
metadata: {name: $1, namespace: default${2:+, $2}}
spec: {ipFamilyPolicy: RequireDualStack, $3${ports:+, $ports}}
YAML
}
# slice NAME SERVICE IPv4|IPv6 ENDPOINTS [META] [PORT_NUMBER]: endpoints as YAML, each {addresses: [...], ...}.
slice() {
  cat <<YAML
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: $1, namespace: default, labels: {kubernetes.io/service-name: $2}${5:+, $5}}
addressType: $3
ports: [{name: http, port: ${6:-7000}, protocol: TCP}, {name: dns, port: ${6:-7000}, protocol: UDP}]
endpoints: [$4]
YAML
}
pool_and_announcement() {
  cat <<YAML
---
apiVersion: weft.io/v1alpha1
kind: LoadBalancerPool
metadata: {name: public}
spec: {addresses: [192.0.2.100-192.0.2.119, "2001:db8:0:1::100-2001:db8:0:1::119"]}
---
apiVersion: weft.io/v1alpha1
kind: L2Announcement
metadata: {name: lan}
spec: {externalIPs: true, loadBalancerIPs: true}
YAML
}

# frontend SERVICE KIND 4|6 [PORT]: the address of a frontend as the agent lists it.
frontend() {
  weft service list -o json | jq -r --arg n "$1" --arg k "$2" --argjson v6 "$([[ $3 == 6 ]] && echo true || echo false)" \
    --argjson p "${4:-0}" '[.[] | select(.name == $n and .kind == $k and (.address | contains(":")) == $v6 and
    ($p == 0 or .port == $p)) | .address][0] // ""'
}
cluster_ip() { frontend "$1" ClusterIP "$2"; }
balancer_ip() { frontend "$1" LoadBalancer "$2"; }
bracket() { [[ $1 == *:* ]] && echo "[$1]" || echo "$1"; }

backend_of() { sed -n 's/^ok \([^ ]*\) .*/\1/p'; }
client_of() { sed -n 's/^ok [^ ]* \([^ ]*\) .*/\1/p'; }  # as the server saw it
# reached WHAT WHERE tcp|udp ADDRESS PORT [SERVERS [CLIENT]]: answered, by one of the servers, which saw
# the client's address so (regular expressions).
reached() {
  local what=$1 answer
  answer=$(ask "$2" "$3" "$4" "$5" --timeout 2500)
  checks=$((checks + 1))
  [[ $answer =~ ^ok\ (${6:-[^ ]+})\ (${7:-[^ ]+})\ .*from\ $4\ $5$ ]] && return 0
  depth=2 fail "$what: $2 to $3 $4 $5: '$answer', expected ok (${6:-any}) from client (${7:-any})"
  return 1
}
# not_reached WHAT WANTED WHERE tcp|udp ADDRESS PORT: refused or timeout.
not_reached() {
  local answer
  answer=$(ask "$3" "$4" "$5" "$6" --timeout 900)
  checks=$((checks + 1))
  [[ $answer =~ ^($2)$ ]] || depth=2 fail "$1: $3 to $4 $5 $6: '$answer', expected $2"
}
answers() { [[ $(ask "$@" --timeout 1000) == ok* ]]; }
refuses() { [[ $(ask "$@" --timeout 1000) == refused ]]; }
# load NAME WHERE tcp|udp ADDRESS PORT [options]: its JSON object is in $work/load.NAME.
load() {
  local name=$1
  inside "$2" "$traffic" load "${@:3}" >"$work/load.$name" 2>&1
}
# The same in the background; ended_load waits for it, with its exit code.
declare -A loads=()
begin_load() {
  local name=$1 where
  where=$(netns_of "$2")
  : >"$work/load.$name"
  ip netns exec "$where" "$traffic" load "${@:3}" >"$work/load.$name" 2>&1 &
  loads[$name]=$!
  pids+=($!)
}
ended_load() { wait "${loads[$1]}"; }
stop_load() {
  kill -TERM "${loads[$1]}" 2>/dev/null
  wait "${loads[$1]}"
}
loaded() { jq -r "$2" "$work/load.$1" 2>/dev/null || cat "$work/load.$1"; }  # NAME FILTER
servers_of() { loaded "$1" '.servers | keys | join(" ")'; }
# lossless WHAT NAME [LONGEST_MS]: nothing failed, and nothing waited for a lost packet to be sent again.
lossless() {
  checks=$((checks + 1))
  local failed good longest
  read -r good failed longest <<<"$(loaded "$2" '"\(.good) \(.failed) \(.longest_ms)"')"
  if [[ ${failed:-x} != 0 || ${good:-0} -eq 0 || ${longest:-99999} -ge ${3:-950} ]]; then
    depth=2 fail "$1: $(jq -c 'del(.ports)' "$work/load.$2" 2>/dev/null || tail -n 3 "$work/load.$2")"
  else
    say "         $1: $good asked and answered, the slowest in $longest ms"
  fi
}
# lab_apply: as apply, but waits for the pods.
lab_apply() { "$weft" lab apply --name "$lab" -f - >"$work/apply" 2>&1 || stop_test "apply: $(cat "$work/apply")"; }
# Which path outside clients take: where XDP runs.
xdp_mode() { weft status -o json | jq -r '.uplinks[0].xdp | "\(.mode) \(.detail)"'; }
