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
  ip netns pids "$space" | xargs -r kill -9  # a server is its shell's child
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
    status_of /api/v1/namespaces/weft-system/pods/weft-purge-n1 '{"phase": "Succeeded"}'
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

step "what is configured is what weftd and weft-operator take"
config_of() { # FILE SETTING...
  "$weft" install --print "${@:2}" | awk -v key="  $1: |" '$0 == key { on = 1; next } on && !/^    / { exit } on { print substr($0, 5) }' |
    sed "s#/usr/share/weft/crds#$(realpath "$(dirname "${crds[0]}")")#; s#/etc/weft-etcd#$work/etcd#"
}
mkdir "$work/etcd"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=test -keyout "$work/etcd/tls.key" -out "$work/etcd/tls.crt" 2>/dev/null
cp "$work/etcd/tls.crt" "$work/etcd/ca.crt"
while read -r settings; do
  set --
  for setting in $settings operatorConfig.kubeconfig="$kubeconfig"; do set -- "$@" --set "$setting"; done
  config_of weftd.yaml "$@" >"$work/weftd.yaml"
  config_of weft-operator.yaml "$@" >"$work/weft-operator.yaml"
  succeeds "weftd takes ${settings:-the defaults}" env NODE_NAME=n1 "$bin/weftd" --check --config "$work/weftd.yaml"
  succeeds "weft-operator takes ${settings:-the defaults}" "$bin/weft-operator" --check --config "$work/weft-operator.yaml"
done <<'SETS'

tunnel=none
tunnel=geneve tunnelScope=cross-subnet podCIDRs=10.7.0.0/16,fd00:7::/48 serviceCIDRs=10.8.0.0/16,fd00:8::/112
kubernetesServers=https://192.0.2.10:6443,https://192.0.2.11:6443
agentConfig.encryption=wireguard agentConfig.mtu=1400 agentConfig.log_level=debug operatorConfig.log_level=debug
store=etcd etcd.endpoints=http://192.0.2.9:2379
store=etcd etcd.endpoints=https://192.0.2.9:2379,https://192.0.2.10:2379 etcd.secret=etcd
nodeRestriction=false agent.maxUnavailable=2 operator.replicas=3
SETS
exits 1 "what weftd does not know" "$weft" install --print --set agentConfig.tunel=none
like "is named as it was given" "$output" 'agentConfig.tunel: weftd.yaml:'

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

step "agents are held to their node"
as_agent() { # TOKEN METHOD PATH BODY: "200", or "403 why"
  local answer kind=application/json
  [[ $2 == PATCH ]] && kind=application/merge-patch+json
  answer=$(in_space curl -sSk --max-time 5 -w '\n%{http_code}' -X "$2" -H "authorization: Bearer $1" -H "content-type: $kind" -d "$4" "https://127.0.0.1:16443$3")
  local code=${answer##*$'\n'}
  [[ $code == 20? ]] && echo "$code" || echo "$code $(jq -r .message <<<"${answer%$'\n'*}")"
}
refuses() { [[ $(as_agent "$@") == 403\ * ]]; }
allows() { [[ $(as_agent "$@") == 20? ]]; }
new_token() { # what the pod is given by its kubelet, and one of no pod
  real POST /api/v1/namespaces/weft-system/serviceaccounts/weft/token "{\"apiVersion\": \"authentication.k8s.io/v1\", \"kind\": \"TokenRequest\", \"spec\": {$1}}" | jq -r .status.token
}
rest_of_taints() { # without those of the key; a controller adds some of its own meanwhile
  real GET /api/v1/nodes/n1 | jq --arg key "$1" '{metadata: {resourceVersion: .metadata.resourceVersion}, spec: {taints: [.spec.taints[] | select(.key != $key)]}}'
}
not_ready=node.weft.io/agent-not-ready
condition() { real GET /api/v1/nodes/n1 | jq --arg type "$1" '{metadata: {resourceVersion: .metadata.resourceVersion}, status: {conditions: ([.status.conditions[]? | select(.type != $type)] + [{type: $type, status: "False", reason: "Test"}])}}'; }
may_take() { allows "$token" PATCH /api/v1/nodes/n1 "$(rest_of_taints $not_ready)"; }
may_not_take() { refuses "$token" PATCH /api/v1/nodes/n1 "$(rest_of_taints test)"; }
may_tell() { allows "$token" PATCH /api/v1/nodes/n1/status "$(condition NetworkUnavailable)"; }
may_not_tell() { refuses "$token" PATCH /api/v1/nodes/n1/status "$(condition Ready)"; }
if real GET /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/weft-node-restriction >/dev/null; then
  for node in n1 n2; do
    real POST /api/v1/nodes "{\"metadata\": {\"name\": \"$node\"}, \"spec\": {\"taints\": [{\"key\": \"$not_ready\", \"effect\": \"NoSchedule\"}, {\"key\": \"test\", \"effect\": \"NoSchedule\"}]}}" >/dev/null
  done
  real POST /api/v1/namespaces/weft-system/pods '{"metadata": {"name": "agent"}, "spec": {"nodeName": "n1", "serviceAccountName": "weft", "containers": [{"name": "c", "image": "none"}]}}' >/dev/null
  token=$(new_token '"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "agent"}')
  anywhere=$(new_token '')
  label='{"metadata": {"labels": {"a": "b"}}}'
  eventually 20 "the policy is in force" refuses "$token" PATCH /api/v1/nodes/n2 "$label"
  like "whose node it is" "$(as_agent "$token" PATCH /api/v1/nodes/n2 "$label")" 'the agent of node n1 may not change node n2'
  succeeds "no label of its own node" refuses "$token" PATCH /api/v1/nodes/n1 "$label"
  succeeds "nor by its status" refuses "$token" PATCH /api/v1/nodes/n1/status "$label"
  succeeds "it may not be unschedulable" refuses "$token" PATCH /api/v1/nodes/n1 '{"spec": {"unschedulable": true}}'
  succeeds "nor have another's capacity" refuses "$token" PATCH /api/v1/nodes/n1/status '{"status": {"capacity": {"cpu": "64"}}}'
  eventually 5 "the condition is its own" may_tell
  eventually 5 "another is not" may_not_tell
  eventually 5 "another's taint stays" may_not_take
  eventually 5 "its own goes" may_take
  succeeds "and does not come back" refuses "$token" PATCH /api/v1/nodes/n1 '{"spec": {"taints": [{"key": "'$not_ready'", "effect": "NoExecute"}]}}'
  succeeds "a token of no pod passes" allows "$anywhere" PATCH /api/v1/nodes/n2 "$label"
  state() { # KIND NAME
    jq -n --arg kind "$1" --arg name "$2" '{apiVersion: "weft.io/v1alpha1", kind: $kind, metadata: {name: $name}, spec: {version: 1}}'
  }
  for kind in WeftNode WeftEndpoints WeftIdentityUsers; do
    resource=${kind,,}
    at=/apis/weft.io/v1alpha1/${resource%s}s
    succeeds "its own $kind" allows "$token" POST $at "$(state $kind n1)"
    succeeds "no $kind of another" refuses "$token" POST $at "$(state $kind n2)"
    succeeds "another has one" real POST $at "$(state $kind n2)"
    succeeds "it stays" refuses "$token" PATCH $at/n2 '{"spec": {"version": 2}}'
    real DELETE $at/n2 >/dev/null
  done
  pods=/apis/weft.io/v1alpha1/weftendpoints
  succeeds "several of its own" allows "$token" POST $pods "$(state WeftEndpoints n1.slice-2)"
  for name in n2.slice-2 n12 n1.a; do succeeds "$name is not its own" refuses "$token" POST $pods "$(state WeftEndpoints $name)"; done
  real DELETE "/api/v1/namespaces/weft-system/pods/agent?gracePeriodSeconds=0" >/dev/null
  for node in n1 n2; do real DELETE /api/v1/nodes/$node >/dev/null; done
  succeeds "without it" weft_at install --no-wait --set nodeRestriction=false
  exits 22 "there is no policy" real GET /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/weft-node-restriction
else
  say "skipped: this API server has no ValidatingAdmissionPolicies"
fi

step "it is taken away"
real POST /apis/weft.io/v1alpha1/weftnodes '{"apiVersion": "weft.io/v1alpha1", "kind": "WeftNode", "metadata": {"name": "gone"}, "spec": {"version": 1}}' >/dev/null
exits 1 "uninstall, with a machine that may have Weft still" weft_at uninstall --yes --purge --timeout 60
like "what is lost" "$output" 'lost for good: PodAddressPool: a'
like "which machine it is" "$output" 'gone: it has no Node any more'
exits 22 "its namespace is gone" real GET /api/v1/namespaces/weft-system
exits 22 "its definitions are gone" real GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions/podaddresspools.weft.io

if [[ -x $WEFT_TEST_K8S_BIN/kubectl ]]; then
  step "what kubectl has applied is no conflict"
  succeeds "kubectl apply" in_space "$WEFT_TEST_K8S_BIN/kubectl" --kubeconfig "$kubeconfig" apply --server-side -f "$(dirname "$0")/../../deploy/kubernetes/weft.yaml"
  succeeds "install" weft_at install --no-wait --set podCIDRs=10.244.0.0/16 --set serviceCIDRs=10.96.0.0/12 --set kubernetesServers=
fi
finish
