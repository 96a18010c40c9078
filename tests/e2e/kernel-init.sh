#!/bin/sh
# The first process of the machine tools/test-kernel boots. Every line it reports begins with WEFT.
export PATH=/weft:/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /run/netns /sys/fs/bpf /dev/shm
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
modprobe tun  # makes /dev/net/tun; other modules are loaded when they are asked for
# The tests look for the objects where they were built; here, after /tmp has been mounted over.
built=$(cat /weft/built-in)
mkdir -p "$built"
[ -e "$built/bpf" ] || ln -s /weft/bpf "$built/bpf"
mkdir -p "$built/tests"
[ -e "$built/tests/bpf" ] || ln -s /weft/tests "$built/tests/bpf"
echo "WEFT kernel $(uname -r) $(uname -v)"

# report NAME COMMAND...: the last lines of what a failure said.
report() {
  name=$1
  shift
  if "$@" >/tmp/output 2>&1; then
    echo "WEFT ok $name"
  else
    # What the verifier or a test ends with, for the table.
    reason=$(awk '/^processed [0-9]+ insns/ { print last; exit } { last = $0 }' /tmp/output)
    [ -n "$reason" ] || reason=$(grep -E 'FAILED|rror' /tmp/output | head -n 1)
    echo "WEFT FAILED $name: $reason"
    tail -n 12 /tmp/output
  fi
}

for object in /weft/bpf/*.bpf.o; do
  hook=$(basename "$object" .bpf.o)
  mkdir -p /sys/fs/bpf/load
  report "load $hook" bpftool prog loadall "$object" "/sys/fs/bpf/load/$hook"
  # Maps that pin themselves by name would be shared with the next object otherwise.
  find /sys/fs/bpf -type f -exec rm -f {} + 2>/dev/null
  rm -rf /sys/fs/bpf/load
done

if [ -x /weft/bpf_test ]; then
  report "packet fixtures" bpf_test
  grep -E '^\[  (PASSED|FAILED)|passed, ' /tmp/output | sed 's/^/WEFT note /'
fi

if [ -x /weft/weft ] && [ -x /weft/weftd ] && [ -x /weft/weft-cni ]; then
  report "lab up" weft lab up --name smoke -f /weft/examples/minimal --timeout 300s
  report "lab status" weft --lab smoke status
  sed -n '1,25p' /tmp/output
  report "lab probe" weft lab probe --name smoke --timeout 20s
  report "lab observe" weft --lab smoke observe --last 5
  report "lab down" weft lab down --name smoke
fi
echo "WEFT end"
poweroff -f
