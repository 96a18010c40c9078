#!/usr/bin/env bash
# weftd --cleanup: refused while the agent runs; afterwards nothing of it is in the kernel, and the
# next start finds its objects.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
root=$(cd "$(dirname "$0")/../.." && pwd)

lab_up "$lab" -f "$root/examples/minimal"
node=/run/weft/lab/$lab/node1
pins=/sys/fs/bpf/weft/lab-$lab-node1
# Not by `ip netns exec`, which hides the bpffs behind a fresh /sys.
on_node() { nsenter --net="/run/netns/weft-$lab-node1" "$@"; }
clean() { on_node "$bin/weftd" --config "$node/weftd.yaml" --cleanup; }
dead() { [[ ! -e /proc/$1 || $(awk '{print $3}' "/proc/$1/stat") == Z ]]; }

step "while the agent runs"
is "reserved ports" "$(on_node cat /proc/sys/net/ipv4/ip_local_reserved_ports)" 45056-65535
on_node sh -c 'echo 8080,45056-65535 >/proc/sys/net/ipv4/ip_local_reserved_ports'

step "refused while the agent runs"
exits 1 "cleanup" clean
like "it says why" "$output" "weftd: .*weft\\.db"
is "the pins are there" "$(find "$pins/maps" -type f | wc -l | sed 's/^[1-9].*/some/')" some

step "after it was stopped"
supervisor=$(awk '{print $1; exit}' "/run/weft/lab/$lab/supervisor.pid")
agent=$(awk '{print $1; exit}' "$node/weftd.pid")
kill -9 "$supervisor" "$agent"
until_true 5 dead "$supervisor"
until_true 5 dead "$agent"
# As in a cluster.
on_node ip link add weft-vxlan type vxlan external dstport 8472
on_node ip route add 10.99.0.0/24 dev uplink0 proto 87
exits 0 "cleanup" clean
like "what it removed" "$output" "removed device [a-z0-9]* of default/client-0"
like "the route to another node's pods" "$output" "removed the route to 10.99.0.0/24"
is "the tunnel's device" "$(on_node ip -o link | grep -c weft-vxlan)" 0
is "that route" "$(on_node ip route | grep -c '^10.99.0.0/24')" 0
is "pins" "$(find "$pins" -maxdepth 0 2>/dev/null)" ""
is "devices" "$(on_node ip -o link | grep -cE 'weft0|weft[0-9a-f]+@')" 0
is "routes to pods" "$(on_node ip route | grep -c '^10\.244\.')" 0
is "reserved ports: another's stay" "$(on_node cat /proc/sys/net/ipv4/ip_local_reserved_ports)" 8080
is "filters and programs" "$(on_node tc filter show dev uplink0 ingress | wc -l)" 0
exits 0 "cleanup again" clean
is "says only what it keeps" "$(grep -v '^kept ' <<<"$output")" ""

step "the next start"
exits 0 "lab up" "$weft" lab up --name "$lab"
exits 0 "probes agree" "$weft" lab probe --name "$lab"
is "the objects are there" "$(weft get networkpolicy web-from-client -o name)" networkpolicy/default/web-from-client

step "with the objects"
kill -9 "$(awk '{print $1; exit}' "/run/weft/lab/$lab/supervisor.pid")" "$(awk '{print $1; exit}' "$node/weftd.pid")"
purged() { on_node "$bin/weftd" --config "$node/weftd.yaml" --cleanup --purge; }
eventually 5 "purge" purged
is "what the agent kept" "$(find "/var/lib/weft/lab/$lab/node1" -name 'weft.db*' -o -name 'wireguard*' 2>/dev/null)" ""
exits 2 "purge without cleanup" "$bin/weftd" --purge
finish
