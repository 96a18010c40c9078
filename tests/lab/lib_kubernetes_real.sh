# A real Kubernetes in namespaces: etcd, API server, controllers and scheduler in one, and nodes with a kubelet and a
# containerd each in their own network, mounts, processes and host name. Sourced after lib.sh. The programs are those in
# the directory that WEFT_TEST_K8S_BIN names; etcd and runc are Debian's.
# shellcheck shell=bash disable=SC2154,SC2034

if [[ -z ${WEFT_TEST_K8S_BIN:-} ]]; then
  echo "skipped: WEFT_TEST_K8S_BIN names no directory with kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kubectl and containerd"
  exit 77
fi
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl containerd containerd-shim-runc-v2 ctr; do
  [[ -x $WEFT_TEST_K8S_BIN/$program ]] || { echo "skipped: no $program in WEFT_TEST_K8S_BIN ($WEFT_TEST_K8S_BIN)"; exit 77; }
done
for program in etcd runc podman openssl busybox; do
  command -v $program >/dev/null || { echo "$program is missing (tools/bootstrap test)"; exit 2; }
done
k8s=$WEFT_TEST_K8S_BIN
etcd_program=$(command -v etcd)
[[ -x $k8s/etcd ]] && etcd_program=$k8s/etcd # the API server of 1.36 asks for 3.5
control=wkr-$$-control
bridge_address=192.0.2.1
pki=$work/pki
nodes=()
declare -A node_init
server=https://$bridge_address:6443
cgroup_name=weft-kubernetes-$$

take_kubernetes_down() {
  local node
  for node in "${nodes[@]}"; do kill -9 "${node_init[$node]}"; done
  ip netns pids "$control" | xargs -r kill -9
  wait
  for node in "${nodes[@]}"; do ip netns delete "wkr-$$-$node"; done
  ip netns delete "$control"
  # The pods' control groups outlive their processes; the deepest go first.
  local tries
  for tries in 1 2 3 4 5; do
    find /sys/fs/cgroup/*/"$cgroup_name" -depth -type d -exec rmdir {} +
    sleep 0.2
  done
}
cleanup_hooks+=(take_kubernetes_down)

in_control() { ip netns exec "$control" "$@"; }
kubectl() { in_control "$k8s/kubectl" --kubeconfig "$work/admin.kubeconfig" "$@"; }
# in_node NODE COMMAND...
# Its processes are below its control group, as those of a machine are below the root.
in_node() {
  local node=$1
  shift
  (
    echo "$BASHPID" >"/sys/fs/cgroup/unified/$cgroup_name/$node/cgroup.procs"
    exec nsenter -t "${node_init[$node]}" -n -m -u -p -- "$@"
  )
}
in_pod_of() { kubectl exec -n "$1" "$2" -- "${@:3}"; }

new_authority() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$pki/$1.key"
  openssl req -x509 -new -key "$pki/$1.key" -sha256 -days 30 -subj "/CN=$1" -addext keyUsage=critical,digitalSignature,keyCertSign -out "$pki/$1.crt"
}
# new_certificate NAME SUBJECT USAGE [ALTERNATIVES]
new_certificate() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$pki/$1.key"
  openssl req -new -key "$pki/$1.key" -subj "$2" -out "$pki/$1.csr"
  openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 30 -sha256 -out "$pki/$1.crt" \
    -extfile <(printf '%s\n' "keyUsage=critical,digitalSignature" "extendedKeyUsage=$3" ${4:+"subjectAltName=$4"}) 2>/dev/null
}
write_kubeconfig() { # NAME
  cat >"$work/$1.kubeconfig" <<K
apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "$server", certificate-authority: "$pki/ca.crt"}}]
users: [{name: $1, user: {client-certificate: "$pki/$1.crt", client-key: "$pki/$1.key"}}]
contexts: [{name: test, context: {cluster: test, user: $1}}]
K
}
# write_token_kubeconfig FILE TOKEN
write_token_kubeconfig() {
  cat >"$1" <<K
apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "$server", certificate-authority: "$pki/ca.crt"}}]
users: [{name: test, user: {token: "$2"}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
K
}

start_control_plane() {
  mkdir -p "$pki" "$work/logs"
  ip netns add "$control"
  ip -n "$control" link set lo up
  ip -n "$control" link add br0 type bridge
  ip -n "$control" address add "$bridge_address/24" dev br0
  ip -n "$control" link set br0 up
  # The world outside, from which clients come.
  new_authority ca
  new_certificate apiserver /CN=kube-apiserver serverAuth "IP:$bridge_address,IP:10.96.0.1,DNS:kubernetes.default.svc"
  new_certificate admin /O=system:masters/CN=admin clientAuth
  new_certificate controllers /CN=system:kube-controller-manager clientAuth
  new_certificate scheduler /CN=system:kube-scheduler clientAuth
  openssl genrsa -out "$pki/sa.key" 2048 2>/dev/null
  openssl rsa -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2>/dev/null
  for name in admin controllers scheduler; do write_kubeconfig $name; done
  in_control "$etcd_program" --data-dir "$work/etcd" --listen-client-urls "http://$bridge_address:2379" --advertise-client-urls "http://$bridge_address:2379" \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync >"$work/logs/etcd" 2>&1 &
  pids+=($!)
  start_api_server
  in_control "$k8s/kube-controller-manager" --kubeconfig "$work/controllers.kubeconfig" --leader-elect=false --use-service-account-credentials=true \
    --service-account-private-key-file "$pki/sa.key" --root-ca-file "$pki/ca.crt" --cluster-signing-cert-file "$pki/ca.crt" \
    --cluster-signing-key-file "$pki/ca.key" --node-monitor-grace-period 16s ${KUBERNETES_CONTROLLER_ARGS:-} >"$work/logs/controllers" 2>&1 &
  pids+=($!)
  in_control "$k8s/kube-scheduler" --kubeconfig "$work/scheduler.kubeconfig" --leader-elect=false >"$work/logs/scheduler" 2>&1 &
  pids+=($!)
  until_true 60 kubectl get serviceaccount default || stop_test "no controllers: $(tail -n 3 "$work/logs/controllers")"
}
start_api_server() {
  in_control "$k8s/kube-apiserver" --etcd-servers "http://$bridge_address:2379" --bind-address "$bridge_address" --advertise-address "$bridge_address" \
    --secure-port 6443 --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
    --authorization-mode Node,RBAC --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$pki/sa.pub" \
    --service-account-signing-key-file "$pki/sa.key" --service-cluster-ip-range 10.96.0.0/16 --allow-privileged=true \
    --kubelet-client-certificate "$pki/admin.crt" --kubelet-client-key "$pki/admin.key" --kubelet-preferred-address-types InternalIP \
    >>"$work/logs/apiserver" 2>&1 &
  api_server=$!
  pids+=($!)
  until_true 90 api_server_ready || stop_test "no API server: $(tail -n 3 "$work/logs/apiserver")"
}
api_server_ready() { [[ $(kubectl get --raw /readyz 2>/dev/null) == ok ]]; }

# One image for all: busybox, the traffic tool with its libraries, and a command that waits.
make_image() {
  local root=$work/image library
  mkdir -p "$root/bin" "$root/lib64" "$root/etc" "$root/tmp"
  cp "$(command -v busybox)" "$root/bin/busybox"
  for library in sh sleep cat nslookup wget ip hostname; do ln -s busybox "$root/bin/$library"; done
  cp "$traffic" "$root/bin/lab_traffic"
  ldd "$traffic" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp "$library" "$root$library"
  done
  tar -C "$root" -c . | podman --root "$work/podman" --runroot "$work/podman-run" import --change 'CMD ["/bin/sleep", "1000000"]' - localhost/weft-test:1 >/dev/null 2>&1 ||
    stop_test "no image"
  podman --root "$work/podman" --runroot "$work/podman-run" save --format oci-archive -o "$work/image.tar" localhost/weft-test:1 >/dev/null 2>&1 || stop_test "no image"
}

# start_node NAME ADDRESS [KUBELET_LINE...]
start_node() {
  local node=$1 address=$2 space=wkr-$$-$1 home=$work/$1
  shift 2
  nodes+=("$node")
  mkdir -p "$home"/{containerd,kubelet,cni,cni-bin,run,weft,etc}
  ip netns add "$space"
  ip -n "$space" link set lo up
  ip -n "$space" link add eth0 type veth peer name "to-$node" netns "$control"
  ip -n "$control" link set "to-$node" master br0 up
  ip -n "$space" address add "$address/24" dev eth0
  ip -n "$space" link set eth0 up
  ip -n "$space" route add default via "$bridge_address"
  ip netns exec "$space" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  cat >"$home/containerd.toml" <<T
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "localhost/weft-test:1"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "$(command -v runc)"
      SystemdCgroup = false
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/opt/cni/bin"]
    conf_dir = "/etc/cni/net.d"
T
  cat >"$home/kubelet.yaml" <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup_name/$node
enforceNodeAllocatable: []
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: AlwaysAllow}
localStorageCapacityIsolation: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "1Mi", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
clusterDomain: cluster.local
clusterDNS: [10.96.0.10]
nodeStatusUpdateFrequency: 4s
staticPodPath: /etc/kubernetes/manifests
registerWithTaints: [{key: node.weft.io/agent-not-ready, effect: NoSchedule}]
$(printf '%s\n' "$@")
K
  cat >"$home/init" <<I
mount --make-rprivate / && mount --make-rshared / # of this node's own, as systemd has it
hostname $node
mount -t tmpfs tmpfs /run
mkdir -p /run/containerd /run/netns /run/weft /var/lib/kubelet /var/lib/containerd /var/lib/weft /etc/cni/net.d /opt/cni/bin /etc/kubernetes/manifests
mount --bind $home/containerd /var/lib/containerd
mount --bind $home/kubelet /var/lib/kubelet
mount --bind $home/weft /var/lib/weft
mount --bind $home/cni /etc/cni/net.d
mount --bind $home/cni-bin /opt/cni/bin
mount -t tmpfs tmpfs /etc/kubernetes/manifests
mount -t tmpfs tmpfs /var/log
mount -t bpf bpf /sys/fs/bpf
for controller in /sys/fs/cgroup/*/; do mkdir -p "\$controller/$cgroup_name/$node"; done
# A cpuset without processors takes nobody.
for file in cpuset.cpus cpuset.mems; do
  for at in $cgroup_name $cgroup_name/$node; do cat /sys/fs/cgroup/cpuset/\$file >/sys/fs/cgroup/cpuset/\$at/\$file; done
done 2>/dev/null
echo \$\$ >/sys/fs/cgroup/unified/$cgroup_name/$node/cgroup.procs
PATH=$k8s:\$PATH $k8s/containerd --config $home/containerd.toml >$work/logs/$node.containerd 2>&1 &
until $k8s/ctr version >/dev/null 2>&1; do sleep 0.1; done
$k8s/ctr -n k8s.io images import $work/image.tar >$work/logs/$node.image 2>&1
$k8s/kubelet --config $home/kubelet.yaml --kubeconfig $work/admin.kubeconfig --hostname-override $node --node-ip $address >$work/logs/$node.kubelet 2>&1 &
while :; do wait; sleep 1; done
I
  nsenter --net="/run/netns/$space" unshare --mount --pid --uts --fork --kill-child --mount-proc bash "$home/init" >"$work/logs/$node.init" 2>&1 &
  pids+=($!)
  local parent=$!
  until_true 5 pgrep -P "$parent" || stop_test "node $node does not start: $(cat "$work/logs/$node.init")"
  node_init[$node]=$(pgrep -P "$parent" | head -n 1)
  until_true 60 kubectl get node "$node" || stop_test "the kubelet of $node does not register: $(tail -n 5 "$work/logs/$node.kubelet" "$work/logs/$node.containerd")"
}

# The image as users make it, or the archive that WEFT_TEST_IMAGE names (of the Dockerfile), onto every node, and `weft install` with further options.
install_weft() {
  local node
  if [[ -n ${WEFT_TEST_IMAGE:-} ]]; then
    cp "$WEFT_TEST_IMAGE" "$work/weft.tar"
  else
    (cd "$(dirname "${BASH_SOURCE[0]}")/../.." && tools/image --build "$(dirname "$bin")" --output "$work/weft.tar") >"$work/logs/image" 2>&1 ||
      stop_test "no image of Weft: $(tail -n 3 "$work/logs/image")"
  fi
  for node in "${nodes[@]}"; do
    in_node "$node" "$k8s/ctr" -n k8s.io images import "$work/weft.tar" >>"$work/logs/image" 2>&1 || stop_test "the image does not come to $node"
  done
  checks=$((checks + 1))
  in_control "$weft" install --kubeconfig "$work/admin.kubeconfig" --set podCIDRs=10.244.0.0/16 \
    --set "cgroupRoot=/sys/fs/cgroup/unified/$cgroup_name" --timeout 120 "$@" >"$work/logs/install" 2>&1 ||
    stop_test "weft install: $(tail -n 20 "$work/logs/install")"
}
