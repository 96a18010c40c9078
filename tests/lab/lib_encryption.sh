# What the tests of encryption between nodes share; sourced after lib.sh, and with what all tests of several nodes share.
# shellcheck shell=bash disable=SC2154
# shellcheck source=tests/lab/lib_nodes.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib_nodes.sh"
[[ -x $(command -v wireguard-go) || -n $(modinfo -n wireguard 2>/dev/null) ]] || { echo "skipped: there is no WireGuard"; exit 77; }

policy_from_web() {
  cat <<'YAML'
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}
YAML
}
on() { ip netns exec "weft-$lab-$1" "${@:2}"; }
encrypted() { [[ $(at "$1" encryption status -o json | jq '[.items[] | select(.state == "encrypted")] | length') == "$2" ]]; }
way_is() { [[ $(at "$1" node list -o json | jq -r --arg n "$2" '(.items? // .)[] | select(.name == $n) | .way') == "$3" ]]; }
generation() { at "$1" encryption status -o json | jq '[.devices[].generation] | max'; }
device_of() { at "$1" encryption status -o json | jq -r '.devices[-1].name'; }
program_of() { at "$1" encryption status -o json | jq -r '.devices[-1].pid'; }

# Pods say this by UDP and TCP; what is seen of it, and of WireGuard, is counted at a device.
pattern=weft-says-this-in-clear
speak() { # FROM ADDRESS
  inside "$1" python3 - "$2" "$pattern" <<'PYTHON'
import socket, sys
address, pattern = sys.argv[1], sys.argv[2].encode()
family = socket.AF_INET6 if ":" in address else socket.AF_INET
udp = socket.socket(family, socket.SOCK_DGRAM)
for _ in range(20):
    udp.sendto(b"size=100 " + pattern * 8, (address, 7000))
try:
    with socket.create_connection((address, 7000), 1) as tcp:
        tcp.sendall(pattern * 200)
except TimeoutError:  # who is not to be reached in clear
    pass
PYTHON
}
watch_wire() { # NODE DEVICE NAME: until end_wire
  ip netns exec "weft-$lab-$1" python3 - "$2" "$pattern" "$work/wire.$3" >"$work/wire.$3.log" 2>&1 <<'PYTHON' &
import os, socket, sys
device, pattern, file = sys.argv[1], sys.argv[2].encode(), sys.argv[3]
tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
tap.bind((device, 3))
seen = wireguard = 0
def tell():
    with open(file + ".new", "w") as out:
        out.write(f"{seen} {wireguard}\n")
    os.rename(file + ".new", file)
tell()
while True:
    packet = tap.recv(65536)
    header = 40 if packet[0] >> 4 == 6 else (packet[0] & 15) * 4
    protocol = packet[6] if packet[0] >> 4 == 6 else packet[9]
    ports = {int.from_bytes(packet[header:header + 2], "big"), int.from_bytes(packet[header + 2:header + 4], "big")}
    seen += pattern in packet
    # WireGuard's data: a message of type 4
    wireguard += protocol == 17 and bool(ports & {51871, 51872}) and packet[header + 8:header + 12] == b"\4\0\0\0"
    tell()
PYTHON
  watchers[$3]=$!
  pids+=($!)
  until_true 5 test -s "$work/wire.$3" || stop_test "the wire cannot be watched: $(cat "$work/wire.$3.log")"
}
declare -A watchers=()
wire_count() { # NAME pattern|wireguard
  if [[ $2 == pattern ]]; then awk '{print $1}' "$work/wire.$1"; else awk '{print $2}' "$work/wire.$1"; fi
}
end_wire() { # NAME: "PATTERN WIREGUARD"
  kill "${watchers[$1]}" 2>/dev/null
  cat "$work/wire.$1"
}

# What others read of the node's keys is taken away, as if it had none, until tells_its_key; it does not know, and writes
# them again with whatever else it has to tell.
etcdctl_of_lab() { on world env ETCDCTL_API=3 etcdctl --endpoints http://127.0.0.1:2379 "$@"; }
without_key() { # NODE
  local key="/weft/v1/$lab/nodes/$1" record
  record=$(etcdctl_of_lab get "$key" --print-value-only)
  jq -e '.wireguard | length > 0' <<<"$record" >/dev/null || fail "$1 tells no key: $record"
  take_key "$key" "$record" || fail "etcd"
  while sleep 0.1; do
    record=$(etcdctl_of_lab get "$key" --print-value-only)
    jq -e '.wireguard | length > 0' <<<"$record" >/dev/null && take_key "$key" "$record"
  done 2>/dev/null &
  taker=$!
  pids+=($!)
}
take_key() { jq -c 'del(.wireguard, .settled)' <<<"$2" | tr -d '\n' | etcdctl_of_lab put "$1" >/dev/null; } # KEY RECORD
tells_its_key() { # NODE: a new agent of it does
  kill "$taker"
  wait "$taker" 2>/dev/null
  kill -9 "$(process_of "$1/weftd")"
}
holds_quiet() { answers default/web-1 tcp "$(pod_address web-3 node3 v4)" 7000; }
