#!/usr/bin/env bash
# ClusterIP services: once with sockets translated by the hook, once with packets translated in tc,
# which a lab gets whose hook hangs on a cgroup nobody is in.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

manifest() { # REPLICAS
  cat <<YAML
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: default, labels: {app: client}}
spec: {containers: [{name: c, image: none}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: default, labels: {app: client}}
spec: {containers: [{name: c, image: none}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: $1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {weft.dev/run: "true"}}
    spec:
      containers:
        - name: c
          image: none
          command: [$traffic, serve, "7000"]
          ports: [{name: main, containerPort: 7000}, {name: datagrams, containerPort: 7000, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  selector: {app: web}
  clusterIPs: [10.96.0.10, "fd00:10:96::10"]
  clusterIP: 10.96.0.10
  ipFamilyPolicy: RequireDualStack
  ports:
    - {name: http, port: 80, targetPort: main}
    - {name: alt, port: 7000}
    - {name: dns, port: 53, targetPort: datagrams, protocol: UDP}
---
apiVersion: v1
kind: Service
metadata: {name: sticky, namespace: default}
spec:
  selector: {app: web}
  clusterIP: 10.96.0.11
  sessionAffinity: ClientIP
  ports: [{name: http, port: 80, targetPort: main}, {name: dns, port: 53, targetPort: datagrams, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: default}
spec:
  selector: {app: nobody}
  clusterIPs: [10.96.0.12, "fd00:10:96::12"]
  clusterIP: 10.96.0.12
  ipFamilyPolicy: RequireDualStack
  ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]
YAML
}

backend_of() { sed -n 's/^ok \([^ ]*\) .*/\1/p'; }
answers() { [[ $(ask "$@") == ok* ]]; }
backends_seen() { # COUNT WHERE PROTOCOL ADDRESS PORT
  local count=$1 i
  shift
  for ((i = 0; i < count; i++)); do ask "$@" | backend_of; done | sort | uniq -c | sort -rn
}
translated() { weft status -o json | jq --arg n "$1" '[.datapath.stats[] | select(.name == $n) | .value] | add // 0'; }
check_lab() { # hook|tc: what translates
  local how=$1 address port client i name died
  weft lab apply -f - <<<"$(manifest 3)" >/dev/null 2>&1
  for name in web-0 web-1 web-2; do eventually 5 "$name serves" answers default/one tcp "$(address_v4 default/$name)" 7000; done

  step "$how: every port, family and protocol, from pods and the host; peers show the ClusterIP"
  local clients=(default/one default/two)
  [[ $how == hook ]] && clients+=(host)
  for client in "${clients[@]}"; do
    for address in 10.96.0.10 fd00:10:96::10; do
      for port in "tcp 80" "tcp 7000" "udp 53" "udp 53 --unconnected"; do
        # shellcheck disable=SC2086
        like "$how: $client to $address $port" "$(ask "$client" ${port%% *} $address ${port#* })" \
          "^ok default.web-[012] .* from $address $(awk '{print $2}' <<<"$port")$"
      done
    done
  done
  is "$how: backends used by TCP" "$(backends_seen 40 default/one tcp 10.96.0.10 80 | wc -l)" 3
  is "$how: backends used by UDP" "$(backends_seen 40 default/one udp 10.96.0.10 53 | wc -l)" 3
  is "$how: backends used over IPv6" "$(backends_seen 40 default/one tcp fd00:10:96::10 80 | wc -l)" 3
  like "$how: UDP 4000 both ways" "$(ask default/one udp 10.96.0.10 53 --size 4000 --reply 4000)" "4000 ok from 10.96.0.10 53"
  like "$how: UDP 4000 both ways v6" "$(ask default/one udp fd00:10:96::10 53 --size 4000 --reply 4000)" "4000 ok from fd00:10:96::10 53"
  succeeds "$how: 50 MB through the service" inside default/one "$traffic" stream 10.96.0.10 80 --bytes 50000000
  succeeds "$how: 50 MB through the service v6" inside default/one "$traffic" stream fd00:10:96::10 80 --bytes 50000000
  if [[ $how == hook ]]; then
    [[ $(translated socket-translated) -gt 0 ]] || fail "hook: no socket was translated"
    is "hook: packets translated" "$(translated packet-translated)" 0
  else
    is "tc: sockets translated" "$(translated socket-translated)" 0
    [[ $(translated packet-translated) -gt 0 ]] || fail "tc: no packet was translated"
  fi

  step "$how: affinity"
  is "$how: backends of one client" "$(backends_seen 12 default/one tcp 10.96.0.11 80 | wc -l)" 1
  is "$how: the same backend for UDP" "$(ask default/one udp 10.96.0.11 53 | backend_of)" \
    "$(ask default/one udp 10.96.0.11 53 | backend_of)"
  is "$how: backends of the other client" "$(backends_seen 12 default/two tcp 10.96.0.11 80 | wc -l)" 1

  step "$how: nobody there, and ports nobody serves"
  # The hook refuses at once; in tc the packets are answered.
  for address in 10.96.0.12 fd00:10:96::12; do
    is "$how: TCP $address without backends" "$(ask default/one tcp $address 80 --timeout 700)" refused
    is "$how: UDP $address without backends" "$(ask default/one udp $address 53 --timeout 700)" refused
  done
  [[ $how == hook ]] && like "hook: host, without backends" "$(ask host tcp 10.96.0.12 80 --timeout 700)" "^refused$"
  like "$how: a port the service has not" "$(ask default/one tcp 10.96.0.10 81 --timeout 700)" "^(refused|timeout|unreachable)$"
  like "$how: an address of no service" "$(ask default/one tcp 10.96.77.77 80 --timeout 700)" "^(refused|timeout|unreachable)$"
  is "$how: seen without a backend" "$(weft observe --last 300 -o json | jq -r 'select(.drop_reason == "no-backend") | .drop_reason' | sort -u)" no-backend
  is "$how: both seen with their reason" "$(weft observe --last 300 -o json |
    jq -r 'select(.type == "denied" and (.destination.address == "10.96.77.77" or (.destination.address == "10.96.0.10" and .destination.port == 81))) | .drop_reason' |
    sort | uniq -c | awk '{print $2}' | xargs)" "unknown-endpoint"

  step "$how: a pod reaches itself through its service"
  serving=0
  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [[ $(ask default/web-0 tcp 10.96.0.10 80 --timeout 1000 | backend_of) == default.web-0 ]] && serving=$((serving + 1))
    answer=$(ask default/web-0 tcp 10.96.0.10 80 --timeout 1000)
    [[ $answer == ok* ]] || { fail "$how: from a backend to its service: $answer"; break; }
    answer=$(ask default/web-0 udp fd00:10:96::10 53 --timeout 1000)
    [[ $answer == ok* ]] || { fail "$how: from a backend to its service, UDP v6: $answer"; break; }
  done
  [[ $serving -gt 0 ]] || fail "$how: in 20 connections a pod never reached itself"

  step "$how: scaled down and up under load"
  for i in 1 2 3 4 5 6 7 8 9; do begin "$how$i" default/one 10.96.0.10 80 --rate 1000000; done
  for i in 1 2 3 4 5 6 7 8 9; do until_true 3 server_of "$how$i"; done
  sleep 0.2
  manifest 2 | weft apply -f - >/dev/null
  until_true 5 sh -c "! test -e /run/netns/weft-$lab.default.web-2" || fail "$how: web-2 is still there"
  is "$how: new connections after scaling down" "$(backends_seen 20 default/one tcp 10.96.0.10 80 | awk '{print $2}' | sort | xargs)" \
    "default.web-0 default.web-1"
  manifest 4 | "$weft" lab apply --name "$lab" -f - >/dev/null 2>&1
  for name in web-2 web-3; do eventually 5 "$name serves" answers default/one tcp "$(address_v4 default/$name)" 7000; done
  is "$how: backends after scaling up" "$(backends_seen 60 default/one tcp 10.96.0.10 80 | wc -l)" 4
  died=0
  for i in 1 2 3 4 5 6 7 8 9; do
    name=$how$i
    [[ $(server_of "$name") == default.web-2 ]] && { died=$((died + 1)); kill "${streams[$name]}" 2>/dev/null; continue; }
    end_stream "$name" || fail "$how: a stream to $(server_of "$name"), which stayed: $(cat "$work/stream.$name")"
    [[ $(jq .longest_stall_ms "$work/stream.$name") -lt 1000 ]] || fail "$how: it stalled: $(cat "$work/stream.$name")"
  done
  say "         $died of 9 streams were on the backend that went away"
}

step "a lab with the socket hook"
manifest 3 | lab_up "$lab"
is "coverage of sockets" "$(weft endpoint list -o json | jq -r '[.[].socket_lb.covered] | unique | map(tostring) | join(" ")')" true
check_lab hook
"$weft" lab down --name "$lab" >/dev/null

step "a lab whose sockets bypass the hook"
cgroups=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
aside=$cgroups/weft-test-$$
mkdir "$aside" || stop_test "no cgroup can be made in $cgroups"
cleanup_hooks+=("while ! rmdir $aside; do sleep 0.1; [[ \$((tries++)) -lt 30 ]] || break; done")
mkdir "$work/bin"
ln -s "$bin/weft-cni" "$work/bin/weft-cni"
cat >"$work/bin/weftd" <<SH
#!/bin/sh
# \$2 is the lab's configuration file.
grep -q cgroup_root "\$2" || echo "cgroup_root: $aside" >>"\$2"
exec "$bin/weftd" "\$@"
SH
chmod +x "$work/bin/weftd"
lab=$lab-tc
export WEFT_BIN_DIR=$work/bin
manifest 3 | lab_up "$lab"
is "coverage of sockets outside the hook's cgroup" \
  "$(weft endpoint list -o json | jq -r '[.[] | select(.workload == "web") | .socket_lb.covered] | unique | map(tostring) | join(" ")')" false
check_lab tc
finish
