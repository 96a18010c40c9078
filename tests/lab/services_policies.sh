#!/usr/bin/env bash
# Which endpoints are chosen, and what becomes of clients when there is none: traffic policies, health check
# ports, affinity, readiness, termination, deletion. Endpoints elsewhere are servers on host1.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/lib_services.sh
source "$(dirname "$0")/lib_services.sh"

web='default.web-[01]'
elsewhere() { # SERVICE META SPEC: with a local and a remote endpoint in slices
  service "$1" "$2" "$3"
  slice "$1-4" "$1" IPv4 "{addresses: [$local4], conditions: {ready: true}, nodeName: node1}, {addresses: [$neighbour4], conditions: {ready: true}, nodeName: host1}"
  slice "$1-6" "$1" IPv6 "{addresses: [\"$local6\"], conditions: {ready: true}, nodeName: node1}, {addresses: [\"$neighbour6\"], conditions: {ready: true}, nodeName: host1}"
}
only_elsewhere() {
  service "$1" "$2" "$3"
  slice "$1-4" "$1" IPv4 "{addresses: [$neighbour4], conditions: {ready: true}, nodeName: host1}"
  slice "$1-6" "$1" IPv6 "{addresses: [\"$neighbour6\"], conditions: {ready: true}, nodeName: host1}"
}
seen_by() { # COUNT WHERE PROTOCOL ADDRESS PORT: the servers that answered
  local count=$1 i
  shift
  for ((i = 0; i < count; i++)); do ask "$@" | backend_of; done | sort -u | xargs
}

step "a lab with two servers, and one on host1"
{
  pool_and_announcement
  pod one 'app: client'
  deployment web 2 'app: web'
  service cluster '' 'selector: {app: web}'
} | lab_up "$lab"
serve host1 7000 far
for name in web-0 web-1; do eventually 10 "$name serves" answers default/one tcp "$(address_v4 "default/$name")" 7000; done
local4=$(address_v4 default/web-0) local6=$(address_v6 default/web-0)

step "endpoints elsewhere, and externalTrafficPolicy"
{
  elsewhere both '' 'type: NodePort, ports: [{name: http, port: 80, nodePort: 30180}, {name: dns, port: 53, nodePort: 30153, protocol: UDP}]'
  elsewhere near '' 'type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 32222,
    ports: [{name: http, port: 80, nodePort: 30280}, {name: dns, port: 53, nodePort: 30253, protocol: UDP}]'
  only_elsewhere far '' 'type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 32223,
    ports: [{name: http, port: 80, nodePort: 30380}, {name: dns, port: 53, nodePort: 30353, protocol: UDP}]'
} | apply
for address in $node4 $node6; do
  is "Cluster: both answer" "$(seen_by 24 world tcp "$address" 30180)" "default.web-0 far"
  is "Cluster: both answer, UDP" "$(seen_by 24 world udp "$address" 30153)" "default.web-0 far"
  is "Cluster: both answer a pod" "$(seen_by 24 default/one tcp "$address" 30180)" "default.web-0 far"
  is "Local: only the local one answers outside" "$(seen_by 16 world tcp "$address" 30280)" "default.web-0"
  is "Local: UDP" "$(seen_by 16 world udp "$address" 30253)" "default.web-0"
  is "Local: clients on the node reach all" "$(seen_by 24 default/one tcp "$address" 30280)" "default.web-0 far"
  is "Local: the node itself too" "$(seen_by 24 host tcp "$address" 30280)" "default.web-0 far"
  not_reached "Local without a local endpoint" timeout world tcp "$address" 30380
  not_reached "Local without a local endpoint, UDP" timeout world udp "$address" 30353
  reached "but from a pod" default/one tcp "$address" 30380 far
done
reached "Local: the client's address" world tcp $node4 30280 "default.web-0" 192.0.2.1
reached "Local: the client's address" world tcp $node6 30280 "default.web-0" 2001:db8:0:1::1
# Towards host1 clients outside wear the node's address, so that the answers come by here again.
far_client() { [[ $(ask world "$1" "$2" "$3") =~ ^ok\ far\ $4\ .*from\ $2\ $3$ ]]; }
eventually 5 "a remote endpoint sees the node" far_client tcp $node4 30180 192.0.2.2
eventually 5 "a remote endpoint sees the node, v6" far_client tcp $node6 30180 2001:db8:0:1::2
eventually 5 "a remote endpoint sees the node, UDP" far_client udp $node4 30153 192.0.2.2
lb4=$(balancer_ip near 4) lb6=$(balancer_ip near 6)
reached "Local by the balancer's address" world tcp "$lb4" 80 "default.web-0" 192.0.2.1
reached "Local by the balancer's address" world udp "$lb6" 53 "default.web-0" 2001:db8:0:1::1
is "Local: a pod by the balancer's address" "$(seen_by 24 default/one tcp "$lb4" 80)" "default.web-0 far"

step "the health check ports"
health() { # PORT [ADDRESS]: status and body, without a client that may be missing
  inside world bash -c "exec 3<>/dev/tcp/${2:-$node4}/$1 && printf 'GET / HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n' >&3 && cat <&3" 2>/dev/null | tr -d '\r'
}
healthy() { health "$1" | head -n 1 | grep -q " $2 "; }
eventually 5 "a local endpoint: 200" healthy 32222 200
eventually 5 "none: 503" healthy 32223 503
body=$(health 32222 | sed '1,/^$/d')
is "the body" "$(jq -c '[.service.namespace, .service.name, .localEndpoints, .serviceProxyHealthy]' <<<"$body")" '["default","near",1,true]'
is "by IPv6" "$(health 32222 $node6 | head -n 1 | grep -c ' 200 ')" 1
# A port that is taken degrades the node's health for as long as it is.
health_is() { [[ $(weft status -o json | jq -r '"\(.health) \(.problems | map(select(contains("32224"))) | length)"') == "$1" ]]; }
serve host 32224 thief
only_elsewhere taken '' 'type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 32224' | apply
eventually 5 "a taken port is told" health_is "degraded 1"
kill "${pids[-1]}"
eventually 5 "no longer once it is free" health_is "ok 0"
eventually 5 "and answers" healthy 32224 503
like "nobody here" "$(weft service get taken)" "no endpoint on this node, so it turns clients outside away"

step "internalTrafficPolicy: Local"
{
  elsewhere inside '' 'internalTrafficPolicy: Local'
  only_elsewhere outside '' 'internalTrafficPolicy: Local'
  elsewhere anyone '' 'type: ClusterIP'
} | apply
for family in 4 6; do
  is "Local: only the local one" "$(seen_by 16 default/one tcp "$(cluster_ip inside $family)" 80)" "default.web-0"
  is "Cluster: both" "$(seen_by 24 default/one tcp "$(cluster_ip anyone $family)" 80)" "default.web-0 far"
  not_reached "Local without a local endpoint" "refused" default/one tcp "$(cluster_ip outside $family)" 80
  not_reached "Local without a local endpoint, the node" "refused" host udp "$(cluster_ip outside $family)" 53
done

step "session affinity, and its end"
service sticky '' 'type: NodePort, sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 3}}, selector: {app: web},
  ports: [{name: http, port: 80, targetPort: 7000, nodePort: 30480}, {name: dns, port: 53, targetPort: 7000, nodePort: 30453, protocol: UDP}]' | apply
for address in $node4 $node6; do
  for client in world default/one; do
    is "affinity of $client at $address" "$(seen_by 12 $client tcp "$address" 30480 | wc -w)" 1
    is "affinity of $client at $address, UDP" "$(seen_by 12 $client udp "$address" 30453 | wc -w)" 1
  done
done
# After three silent seconds the choice is free again: not the same one every time.
first=$(seen_by 1 world tcp $node4 30480)
changed=0
for _ in {1..15}; do
  sleep 3.3
  [[ $(seen_by 1 world tcp $node4 30480) == "$first" ]] || { changed=1; break; }
done
is "affinity ends with its timeout (fifteen tries)" $changed 1

step "no endpoint: refused at once"
service empty '' 'type: LoadBalancer, selector: {app: nobody}, ports: [{name: http, port: 80, nodePort: 30580}, {name: dns, port: 53, nodePort: 30553, protocol: UDP}]' | apply
before=$EPOCHREALTIME
for family in 4 6; do
  [[ $family == 4 ]] && address=$node4 || address=$node6
  for client in default/one host; do
    not_reached "the ClusterIP" "refused" $client tcp "$(cluster_ip empty $family)" 80
    not_reached "the ClusterIP, UDP" "refused" $client udp "$(cluster_ip empty $family)" 53
  done
  for client in world default/one host; do
    not_reached "the NodePort" "refused" $client tcp $address 30580
    not_reached "the NodePort, UDP" "refused" $client udp $address 30553
  done
  not_reached "the balancer's address" "refused" world tcp "$(balancer_ip empty $family)" 80
  not_reached "the balancer's address, UDP" "refused" world udp "$(balancer_ip empty $family)" 53
done
took=$(seconds_since "$before")
awk -v t="$took" 'BEGIN { exit t > 18 * 0.9 }' || fail "24 refusals took $took s"

step "readiness, and endpoints that end"
ending() { # READY SERVING TERMINATING: web-0 is so, web-1 is ready
  service ends '' 'type: NodePort, ports: [{name: http, port: 80, nodePort: 30680}, {name: dns, port: 53, nodePort: 30653, protocol: UDP}]'
  local rest
  rest=", {addresses: [$(address_v4 default/web-1)], conditions: {ready: true}, nodeName: node1}"
  [[ ${4:-} == alone ]] && rest=''
  slice ends-4 ends IPv4 "{addresses: [$local4], conditions: {ready: $1, serving: $2, terminating: $3}, nodeName: node1}$rest"
}
ending true true false | apply
is "both are chosen" "$(seen_by 24 world tcp $node4 30680)" "default.web-0 default.web-1"
# Streams on both, then web-0 terminates: those go on, new ones avoid it.
for i in 1 2 3 4 5 6; do begin "drain$i" "$([[ $i -gt 3 ]] && echo world || echo default/one)" $node4 30680 --rate 500000; done
for i in 1 2 3 4 5 6; do until_true 3 server_of "drain$i"; done
ending false true true | apply
is "terminating: new flows elsewhere" "$(seen_by 16 world tcp $node4 30680)" "default.web-1"
is "terminating: new flows of pods elsewhere" "$(seen_by 16 default/one tcp $node4 30680)" "default.web-1"
for i in 1 2 3 4 5 6; do moving "drain$i" || fail "the stream drain$i to $(server_of "drain$i") stood still while draining"; done
ending false true true alone | apply
is "terminating and serving, and no other: chosen" "$(seen_by 6 world tcp $node4 30680)" "default.web-0"
ending false false true alone | apply
not_reached "terminating and not serving" refused world tcp $node4 30680
not_reached "terminating and not serving" refused default/one tcp "$(cluster_ip ends 4)" 80
ending true true false | apply
for i in 1 2 3 4 5 6; do
  [[ $(server_of "drain$i") == default.web-0 ]] || { kill "${streams[drain$i]}" 2>/dev/null; continue; }
  end_stream "drain$i" || fail "a stream to the endpoint that drained was cut: $(cat "$work/stream.drain$i")"
done

step "publishNotReadyAddresses"
{
  service hidden '' 'type: ClusterIP'
  slice hidden-4 hidden IPv4 "{addresses: [$local4], conditions: {ready: false}, nodeName: node1}"
  service shown '' 'publishNotReadyAddresses: true'
  slice shown-4 shown IPv4 "{addresses: [$local4], conditions: {ready: false}, nodeName: node1}"
} | apply
not_reached "not ready" refused default/one tcp "$(cluster_ip hidden 4)" 80
reached "not ready, published" default/one tcp "$(cluster_ip shown 4)" 80 "default.web-0"

step "an endpoint that is deleted: TCP is reset, datagrams move"
service gone '' 'type: NodePort, ports: [{name: http, port: 80, nodePort: 30780}, {name: dns, port: 53, nodePort: 30753, protocol: UDP}]' | apply
slice gone-4 gone IPv4 "{addresses: [$local4], nodeName: node1}" | apply
ports=41000
for client in world default/one; do
  for address in $node4 $([[ $client == default/one ]] && cluster_ip gone 4); do
    port=30780 datagrams=30753
    [[ $address == 10.96.* ]] && port=80 datagrams=53
    slice gone-4 gone IPv4 "{addresses: [$local4], nodeName: node1}" | apply
    ask $client tcp "$address" $port --count 200 --interval 50 --timeout 3000 >"$work/gone.tcp" &
    tcp=$!
    # A port of its own each time: a flow of the round before is another matter.
    ports=$((ports + 1))
    ask $client udp "$address" $datagrams --count 60 --interval 50 --timeout 1000 --unconnected --source-port $ports >"$work/gone.udp" &
    udp=$!
    sleep 0.6
    slice gone-4 gone IPv4 "{addresses: [$(address_v4 default/web-1)], nodeName: node1}" | apply
    before=$EPOCHREALTIME
    wait $tcp
    is "$client to $address: TCP" "$(cat "$work/gone.tcp")" reset
    awk -v t="$(seconds_since "$before")" 'BEGIN { exit t > 2 }' || fail "$client to $address: the reset took $(seconds_since "$before") s"
    wait $udp
    like "$client to $address: UDP goes on with the other" "$(cat "$work/gone.udp")" "^ok default.web-1 "
  done
done
step "local redirect: the node's own DNS takes the cluster's address, and asks what is behind it"
{
  server cache 'app: cache'
  service dns 'annotations: {weft.io/local-redirect: "app=cache"}' 'selector: {app: web}'
} | lab_apply
eventually 10 "the cache serves" answers default/one tcp "$(address_v4 default/cache)" 7000
for family in 4 6; do
  address=$(cluster_ip dns $family)
  for client in default/one host; do
    is "$client asks the cache" "$(seen_by 10 $client udp "$address" 53)" cache
    is "$client asks the cache, TCP" "$(seen_by 10 $client tcp "$address" 80)" cache
  done
  like "the cache asks what is behind" "$(seen_by 10 default/cache udp "$address" 53)" "^($web ?)+$"
done
weft delete pod cache >/dev/null
behind() { [[ $(ask default/one udp "$(cluster_ip dns 4)" 53 | backend_of) =~ ^$web$ ]]; }
eventually 5 "without the cache all ask what was behind it" behind

# A server that is killed with its pod, as a Deployment does when it shrinks.
begin shrink world $node4 30480 --rate 500000
until_true 3 server_of shrink
deployment web 1 'app: web' | weft apply -f - >/dev/null
until_true 5 sh -c "! test -e /run/netns/weft-$lab.default.web-1" || fail "web-1 is still there"
if [[ $(server_of shrink) == default.web-1 ]]; then
  wait "${streams[shrink]}"
  like "the stream to the deleted pod" "$(cat "$work/stream.shrink")" "reset|closed|refused"
else
  end_stream shrink || fail "the stream to web-0, which stayed: $(cat "$work/stream.shrink")"
fi
reached "and the rest serves" world tcp $node4 30480 "default.web-0"
finish
