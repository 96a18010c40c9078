#!/usr/bin/env bash
# What encryption between two nodes costs: pods of two nodes of a lab with WireGuard and without, and plain wireguard-go
# between two network namespaces, measured by the same program, round by round in turn. Ratios are what counts.
#
#   tests/bench/nodes_encryption.sh [BIN_DIR [ROUNDS [SECONDS]]]       prints a JSON object
set -euo pipefail
bin=$(cd "${1:-build/bin}" && pwd)
rounds=${2:-5}
seconds=${3:-1}
[[ $(id -u) -eq 0 ]] || { echo "needs root" >&2; exit 1; }
command -v wireguard-go >/dev/null || { echo "wireguard-go is not installed (tools/bootstrap bench)" >&2; exit 1; }

name=enc-bench-$$
work=$(mktemp -d "/tmp/weft-$name.XXXXXX")
pids=()
clean_up() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for lab in "$name-on" "$name-off"; do "$bin/weft" lab down --name "$lab" >/dev/null 2>&1 || true; done
  for side in a b; do ip netns delete "$name-$side" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# The peer: a veth as wire, a wireguard-go at each end, told at its socket.
plain() {
  local side other keys=() shown=()
  for side in a b; do
    ip netns add "$name-$side"
    ip -n "$name-$side" link set lo up
    mkdir -p "$work/$side" /var/run/wireguard
    openssl genpkey -algorithm X25519 -out "$work/$side.pem" 2>/dev/null
    keys+=("$(openssl pkey -in "$work/$side.pem" -outform DER | tail -c 32 | od -An -tx1 | tr -d ' \n')")
    shown+=("$(openssl pkey -in "$work/$side.pem" -pubout -outform DER | tail -c 32 | od -An -tx1 | tr -d ' \n')")
  done
  ip link add wire netns "$name-a" type veth peer name wire netns "$name-b"
  ip -n "$name-a" address add 192.0.2.1/24 dev wire
  ip -n "$name-b" address add 192.0.2.2/24 dev wire
  for side in a b; do
    ip -n "$name-$side" link set wire up
    WG_PROCESS_FOREGROUND=1 ip netns exec "$name-$side" unshare -m sh -c \
      "mount --make-rprivate / && mount --bind '$work/$side' /var/run/wireguard && exec wireguard-go -f plain" &
    pids+=($!)
  done
  for i in 0 1; do
    side=$([[ $i -eq 0 ]] && echo a || echo b)
    other=$((1 - i))
    until python3 - "$work/$side/plain.sock" "${keys[$i]}" "${shown[$other]}" "192.0.2.$((other + 1)):7777" "10.9.0.$((other + 1))/32" <<'PYTHON'
import socket, sys
path, key, peer, endpoint, allowed = sys.argv[1:]
try:
    control = socket.socket(socket.AF_UNIX)
    control.connect(path)
except OSError:
    sys.exit(1)
control.sendall(f"set=1\nprivate_key={key}\nlisten_port=7777\npublic_key={peer}\nendpoint={endpoint}\nallowed_ip={allowed}\n\n".encode())
assert control.recv(100) == b"errno=0\n\n"
PYTHON
    do sleep 0.02; done
    ip -n "$name-$side" address add "10.9.0.$((i + 1))/24" dev plain
    ip -n "$name-$side" link set plain mtu 1440 up
  done
}

lab() { # NAME [OPTIONS]
  local lab=$1 node
  shift
  for node in 1 2; do
    cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: p-$node, namespace: default, annotations: {weft.dev/run: "true"}}
spec: {nodeName: node$node, containers: [{name: c, image: none, command: [sleep, "100000"]}]}
YAML
  done | "$bin/weft" lab up --name "$lab" --nodes 2 -f - "$@" >"$work/$lab" 2>&1 || { cat "$work/$lab" >&2; exit 1; }
}
address_in() { "$bin/weft" --lab "$1" --node node2 get pod default/p-2 -o json | jq -r '.status.podIPs[].ip | select(contains(":") | not)'; }

plain
lab "$name-off"
lab "$name-on" --encryption wireguard
declare -A client=([plain]=$name-a [off]=weft-$name-off.default.p-1 [on]=weft-$name-on.default.p-1)
declare -A server=([plain]=$name-b [off]=weft-$name-off.default.p-2 [on]=weft-$name-on.default.p-2)
declare -A address=([plain]=10.9.0.2 [off]=$(address_in "$name-off") [on]=$(address_in "$name-on"))
variants=(plain off on)
for variant in "${variants[@]}"; do
  "$bin/netbench" server --netns "/run/netns/${server[$variant]}" --cpu 1 --port 5201 >"$work/server.$variant" 2>&1 &
  pids+=($!)
done
measure() { "$bin/netbench" "$2" --netns "/run/netns/${client[$1]}" --seconds "$seconds" --cpu 0 --address "${address[$1]}" --port 5201; }
for variant in "${variants[@]}"; do until measure "$variant" rr >/dev/null 2>&1; do sleep 0.1; done; done
for ((round = 0; round < rounds; ++round)); do
  for variant in "${variants[@]}"; do
    measure "$variant" stream | jq -r --arg v "$variant" '[$v, "stream", .gbit_per_second] | @tsv'
    measure "$variant" rr | jq -r --arg v "$variant" '[$v, "rr", .p50_us] | @tsv'
  done
done >"$work/samples"
jq -R -s 'def median: sort | .[length / 2 | floor];
  [split("\n")[] | select(. != "") | split("\t")] | group_by(.[0])
  | map({key: .[0][0], value: (group_by(.[1]) | map({key: .[0][1], value: (map(.[2] | tonumber) | median)}) | from_entries)}) | from_entries
  | {stream_gbit: map_values(.stream), rr_p50_us: map_values(.rr),
     stream_of_plain: (.on.stream / .plain.stream), rr_of_plain: (.on.rr / .plain.rr), stream_of_clear: (.on.stream / .off.stream)}' "$work/samples"
