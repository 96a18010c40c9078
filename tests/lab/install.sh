#!/usr/bin/env bash
# What `make install` lays out works from where it is: the lab finds weftd and the plugin.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
root=$(cd "$(dirname "$0")/../.." && pwd)
[[ -f $bin/../cmake_install.cmake ]] || { echo "skipped: $bin/.. is no build directory"; exit 77; }

step "install below a directory"
exits 0 "cmake --install" env DESTDIR="$work/root" cmake --install "$bin/.."
installed=$(find "$work/root" -path '*/bin/weft' -print -quit)
is "weft is there" "$([[ -x $installed ]] && echo yes)" yes
is "weftd is elsewhere" "$([[ -e $(dirname "$installed")/weftd ]] && echo beside)" ""

operator=$(find "$work/root" -name weft-operator -type f -print -quit)
like "the operator tells how it is used" "$("$operator" --help)" "weft operator status"
exits 1 "its configuration needs an etcd" "$operator" --check --config "$(find "$work/root" -name weft-operator.yaml -print -quit)"
like "and says so" "$output" "etcd_endpoints is empty"

step "a lab of the installed programs"
labs+=("$lab")
exits 0 "lab up" env -u WEFT_BIN_DIR "$installed" lab up --name "$lab" -f "$root/examples/minimal"
like "all pods" "$output" "4/4 pods attached"
like "its agent is the installed one" "$(readlink "/proc/$(awk '{print $1; exit}' "/run/weft/lab/$lab/node1/weftd.pid")/exe")" "^$work/root/"
exits 0 "lab probe" "$installed" lab probe --name "$lab"
exits 0 "lab down" "$installed" lab down --name "$lab"
finish
