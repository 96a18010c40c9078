#!/usr/bin/env bash
# weft install, status, uninstall against an API server: the double, where the test is the controllers; and a real one with
# its controller manager, where WEFT_TEST_K8S_BIN names the directory of its binaries.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$0")/lib.sh"

exec 2>"$work/stderr"
[[ -x $bin/lab_api_server ]] || { echo "$bin/lab_api_server is not built"; exit 2; }
space=winstall-$$
kubeconfig=$work/kubeconfig
crds=("$(dirname "$0")"/../../deploy/kubernetes/crds/*.yaml)
ip netns add "$space" && ip -n "$space" link set lo up || stop_test "no namespace $space"
take_down() {
  kill "${pids[@]}"
  wait
  ip netns delete "$space"
}
cleanup_hooks+=(take_down)
in_space() { ip netns exec "$space" "$@"; }
weft_at() { in_space "$weft" "$@" --kubeconfig "$kubeconfig"; }

# --- The double
resources=()
for kind in admissionregistration.k8s.io/v1/{validatingadmissionpolicies=ValidatingAdmissionPolicy,validatingadmissionpolicybindings=ValidatingAdmissionPolicyBinding} \
  apps/v1/daemonsets=DaemonSet apps/v1/deployments=Deployment policy/v1/poddisruptionbudgets=PodDisruptionBudget \
  rbac.authorization.k8s.io/v1/{clusterroles=ClusterRole,clusterrolebindings=ClusterRoleBinding,roles=Role,rolebindings=RoleBinding}; do
  resources+=(--resource "/apis/$kind")
done
in_space "$bin/lab_api_server" --kubeconfig "$kubeconfig" --port 6443 "${resources[@]}" >"$work/server.log" 2>&1 &
pids+=($!)
until_true 10 test -s "$kubeconfig" || stop_test "no API server: $(cat "$work/server.log")"
api() { # METHOD PATH [JSON [TYPE]]
  in_space curl -sS --fail --max-time 5 -X "$1" ${3:+-H "content-type: ${4:-application/json}" -d "$3"} "http://127.0.0.1:6443$2"
}
status_of() { api PATCH "$1/status" "{\"status\": $2}" application/merge-patch+json; } # PATH STATUS
controllers() { # what makes resources served and pods run
  local name
  while sleep 0.1; do
    for name in "${crds[@]}"; do
      status_of "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/$(basename "$name" .yaml)" '{"conditions": [{"type": "Established", "status": "True"}]}'
    done
    status_of /apis/apps/v1/namespaces/weft-system/daemonsets/weft \
      '{"observedGeneration": 1, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberReady": 1}'
    status_of /apis/apps/v1/namespaces/weft-system/deployments/weft-operator '{"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": 1}'
    status_of /api/v1/namespaces/weft-system/pods/weft-cleanup-n1 '{"phase": "Succeeded"}'
  done >"$work/controllers" 2>&1
}
controllers &
pids+=($!)
api POST /api/v1/nodes '{"metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux"}}, "status": {"nodeInfo": {"kernelVersion": "6.1.0"}}}' >/dev/null

step "against the double of an API server"
exits 1 "status before" weft_at status --kubernetes
like "it says so" "$output" 'is not installed: weft install'
exits 1 "ranges that nobody knows" weft_at install
like "how to give them" "$output" '--set podCIDRs='
succeeds "install" weft_at install --set podCIDRs=10.7.0.0/16 --set serviceCIDRs=10.8.0.0/16 --set tunnel=geneve --timeout 60
like "it waits for the agents" "$output" 'agents: 1 of 1 ready'
like "one operator for one node" "$output" 'operator.replicas=1'
configuration=$(api GET /api/v1/namespaces/weft-system/configmaps/weft-config)
like "the agents' configuration" "$(jq -r '.data["weftd.yaml"]' <<<"$configuration")" 'tunnel: geneve'
succeeds "again" weft_at install --timeout 60
like "with what was given" "$output" 'tunnel=geneve, as before'
is "the same configuration" "$(api GET /api/v1/namespaces/weft-system/configmaps/weft-config | jq -c .data)" "$(jq -c .data <<<"$configuration")"
like "status names the node" "$(weft_at status --kubernetes -o json | jq -r '.nodes[0].node')" n1
output=$(weft_at uninstall </dev/null)
like "nobody says yes" "$output" 'Go on\?'
like "nothing is gone" "$(api GET /api/v1/namespaces/weft-system)" weft-system
succeeds "uninstall" weft_at uninstall --yes --purge --timeout 20
like "the node is cleaned" "$output" 'node n1 is clean'
exits 22 "its namespace is gone" api GET /api/v1/namespaces/weft-system
exits 2 "a wrong option" "$weft" install --tunel none
exits 1 "no kubeconfig" env -u KUBECONFIG HOME="$work" "$weft" install
like "where it was looked for" "$output" "$work/.kube/config"
is "what is printed is what is shipped" "$("$weft" install --print | sha256sum)" "$(sha256sum <"$(dirname "$0")/../../deploy/kubernetes/weft.yaml")"

# --- The real one
if [[ ! -x ${WEFT_TEST_K8S_BIN:-}/kube-apiserver ]]; then
  say "skipped: a real API server (WEFT_TEST_K8S_BIN is not the directory of kube-apiserver and kube-controller-manager)"
  finish
fi
step "against Kubernetes' own API server"
mkdir "$work/k8s"
kubeconfig=$work/k8s/kubeconfig
etcd=$WEFT_TEST_K8S_BIN/etcd
[[ -x $etcd ]] || etcd=$(command -v etcd) || stop_test "no etcd (tools/bootstrap test)"
openssl genrsa -out "$work/k8s/sa.key" 2048 2>/dev/null
echo 'secret,admin,admin,"system:masters"' >"$work/k8s/tokens"
in_space "$etcd" --data-dir "$work/k8s/etcd" --log-level error >"$work/k8s/etcd.log" 2>&1 &
pids+=($!)
ip -n "$space" address add 192.0.2.1/32 dev lo
in_space "$WEFT_TEST_K8S_BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --bind-address=127.0.0.1 --advertise-address=192.0.2.1 \
  --secure-port=16443 --cert-dir="$work/k8s" --token-auth-file="$work/k8s/tokens" --authorization-mode=RBAC --allow-privileged=true \
  --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$work/k8s/sa.key" \
  --service-account-signing-key-file="$work/k8s/sa.key" --service-cluster-ip-range=10.96.0.0/16 >"$work/k8s/apiserver.log" 2>&1 &
pids+=($!)
cat >"$kubeconfig" <<'YAML'
apiVersion: v1
kind: Config
current-context: real
clusters: [{name: real, cluster: {server: "https://127.0.0.1:16443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: secret}}]
contexts: [{name: real, context: {cluster: real, user: admin}}]
YAML
real() { # METHOD PATH [JSON]
  in_space curl -sSk --fail --max-time 5 -X "$1" -H 'authorization: Bearer secret' ${3:+-H 'content-type: application/json' -d "$3"} "https://127.0.0.1:16443$2"
}
until_true 120 real GET /readyz || stop_test "the API server does not start: $(tail -n 3 "$work/k8s/apiserver.log")"
in_space "$WEFT_TEST_K8S_BIN/kube-controller-manager" --kubeconfig="$kubeconfig" --leader-elect=false --cert-dir="$work/k8s/kcm" \
  --bind-address=127.0.0.1 --service-account-private-key-file="$work/k8s/sa.key" --use-service-account-credentials=true >"$work/k8s/kcm.log" 2>&1 &
pids+=($!)
succeeds "install" weft_at install --no-wait --set podCIDRs=10.7.0.0/16
like "Services' range is asked of the server" "$output" 'serviceCIDRs=10.96.0.0/16'
succeeds "again" weft_at install --no-wait
[[ $output == *configured* ]] && fail "a second install changes something: $output"
like "nothing is changed" "$output" 'DaemonSet weft-system/weft unchanged'
for ask in 'list pods true' 'patch nodes/status true' 'get secrets false' 'delete nodes false'; do # what RBAC makes of the Roles
  read -r verb resource allowed <<<"$ask"
  review="{\"apiVersion\": \"authorization.k8s.io/v1\", \"kind\": \"SubjectAccessReview\", \"spec\": {\"user\": \"system:serviceaccount:weft-system:weft\",
    \"resourceAttributes\": {\"verb\": \"$verb\", \"resource\": \"${resource%/*}\"$([[ $resource == */* ]] && echo ", \"subresource\": \"${resource#*/}\"")}}}"
  is "agents may $verb $resource" "$(real POST /apis/authorization.k8s.io/v1/subjectaccessreviews "$review" | jq .status.allowed)" "$allowed"
done
pools=/apis/weft.io/v1alpha1/podaddresspools
exits 22 "a block larger than its CIDR" real POST $pools '{"apiVersion": "weft.io/v1alpha1", "kind": "PodAddressPool", "metadata": {"name": "a"}, "spec": {"cidrs": [{"cidr": "10.0.0.0/16", "blockLength": 8}]}}'
succeeds "a pool" real POST $pools '{"apiVersion": "weft.io/v1alpha1", "kind": "PodAddressPool", "metadata": {"name": "a", "finalizers": ["weft.io/pool"]}, "spec": {"cidrs": [{"cidr": "10.0.0.0/16"}]}}'
succeeds "uninstall" weft_at uninstall --yes --purge --timeout 60
like "what is lost" "$output" 'lost for good: PodAddressPool: a'
exits 22 "its namespace is gone" real GET /api/v1/namespaces/weft-system
exits 22 "its definitions are gone" real GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions/podaddresspools.weft.io
finish
