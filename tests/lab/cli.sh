#!/usr/bin/env bash
# Every command of docs/cli.md against a lab: words for people, JSON for programs, exit codes; and
# manifests: refused with file and line, all or none, deleted by file and by name.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
root=$(cd "$(dirname "$0")/../.." && pwd)
export NO_COLOR=1

lab_up "$lab" -f "$root/examples/minimal"
serve_answers() { [[ $("$weft" lab probe --name "$lab" -o json | jq -r '[.[].agrees != false] | all') == true ]]; }
eventually 5 "probes agree" serve_answers

# Its output is words for people in each of the formats, and JSON that jq's FILTER finds true.
shows() { # PATTERN FILTER COMMAND...
  local pattern=$1 filter=$2
  shift 2
  checks=$((checks + 1))
  if output=$(weft "$@" 2>&1); then
    [[ $output =~ $pattern ]] || depth=2 fail "weft $*: no /$pattern/ in: $(head -n 4 <<<"$output")"
  else
    depth=2 fail "weft $*: exit code $?: $output"
  fi
  [[ -z $filter ]] && return
  output=$(weft "$@" -o json 2>&1) || depth=2 fail "weft $* -o json: exit code $?: $output"
  jq -se "$filter" <<<"$output" >/dev/null 2>&1 || depth=2 fail "weft $* -o json: not ($filter): $(head -c 400 <<<"$output")"
}

step "every command, in words and in JSON"
shows "0\.1\.0" '.[0] | tostring | contains("0.1.0")' version
shows "Health +ok" '.[0] | .health == "ok" and .pods.attached == 4 and (.datapath.maps | length > 5)' status
shows "weft_" '' status -o wide
shows "default/web-0 +ready" '.[0] | length == 4 and all(.state == "ready" and (.addresses | length == 2) and .socket_lb.covered == true)' endpoint list
shows "app=web" '.[0] | any(.labels | index("k8s:app=web"))' identity list
shows "10\.96\.0\.10" '.[0] | any(.name == "web" and .port == 80 and (.backends | length == 2))' service list
shows "web-from-client" '.[0] | any(.name == "web-from-client" and .ingress_rules == 1 and (.selects | length == 2))' policy list
shows "10\.244\.0\.0/24" '.[0] | (.pools | length == 2) and (.allocations | length >= 8)' ipam list
shows "weft_policy_v1" '.[0] | any(.name == "weft_flow4_v2" and .max_entries > 0)' bpf list
shows "." '.[0] | length > 0' bpf stats
for map in policy endpoints services backends identities remotes nodes path-mtus egress next-hops netns devices config flows affinity; do
  shows "" '.[0] | type == "array"' bpf $map list
  shows "" '.[0]' bpf $map stats
done
shows "IDENTITY" ".[0] | length > 0" bpf endpoints list --limit 2
is "the limit of bpf list" "$(weft bpf endpoints list --limit 2 -o json | jq length)" 2

exits 1 "a node by itself has no cluster to push to" weft store push
like "it is told so" "$output" "by itself"

step "policy explain"
shows "web-from-client" '.[0] | length == 2 and all(.verdict == "allow" and .rule.policy == "default/web-from-client" and .rule.index == 0)' \
  policy explain --from default/client --to default/web --port 80/TCP
shows "web-from-client" '.[0][0] | .verdict == "deny" and .rule.kind == "default_deny" and .rule.isolating == ["default/web-from-client"] and (.change | length > 0)' \
  policy explain --from default/stranger --to default/web-0 --port 80/TCP
shows "." '.[0] | all(.verdict == "deny" and .service.name == "web")' policy explain --from default/stranger --to svc/default/web --port 80
shows "." '.[0][0].verdict == "deny"' policy explain --from world --to default/web-0 --port 80
shows "." '.[0][0].verdict == "allow"' policy explain --from host --to default/web-0 --port 80
exits 1 "explain of nobody" weft policy explain --from default/nobody --to default/web-0 --port 80
like "it names whom" "$output" "nobody"
exits 2 "explain without a port" weft policy explain --from default/client --to default/web-0
exits 1 "explain of no service" weft policy explain --from default/client --to svc/default/nosuch --port 80
like "it is not there" "$output" "no service default/nosuch"
exits 2 "explain from a service" weft policy explain --from svc/default/web --to default/web-0 --port 80
like "why not" "$output" "only receives"
exits 2 "explain with port 0" weft policy explain --from default/client --to default/web-0 --port 0
exits 2 "explain of two families" weft policy explain --from 192.0.2.1 --to 2001:db8:0:1::1 --port 80
shows "no pod has the address 10\.244\.0\.200" '.[0][0].verdict == "deny"' policy explain --from default/client --to 10.244.0.200 --port 80
shows "no service has the address 10\.96\.200\.1" '.[0][0].verdict == "deny"' policy explain --from default/client --to 10.96.200.1 --port 80
shows "service default/web serves 80/TCP" '.[0][0].verdict == "deny"' policy explain --from default/client --to 10.96.0.10 --port 81
client_v6=$(address_v6 default/client-0)
shows "." '.[0][0] | .from.address == "'"$client_v6"'" and (.to.address | contains(":"))' policy explain --from "$client_v6" --to default/web-0 --port 80
before=$(drops unknown-endpoint)
inside default/client-0 timeout 3 "$traffic" ask tcp 10.96.0.10 81 --timeout 200 >/dev/null 2>&1
inside default/client-0 timeout 3 "$traffic" ask tcp 10.244.0.200 80 --timeout 200 >/dev/null 2>&1
dropped_both() { [[ $(drops unknown-endpoint) -ge $((before + 2)) ]]; }
eventually 3 "the wire says what explain says" dropped_both
exits 2 "explain with a bad port" weft policy explain --from default/client --to default/web-0 --port 80/NOPE

step "observe and its filters"
"$weft" lab probe --name "$lab" >/dev/null
has_flows() { [[ $(weft observe --last 50 -o json | wc -l) -gt 3 ]]; }
eventually 3 "flows are seen" has_flows
shows "default/client-0.*default/web-[01]:80.*FORWARDED" 'length > 0 and all(.time and .verdict)' observe --last 20
shows "DROPPED" '' observe -o table
shows "default/stranger" 'length > 0 and all(.verdict == "DROPPED")' observe --verdict dropped
shows "stranger" 'length > 0 and all(.source.pod == "stranger")' observe --from-pod default/stranger
shows "web" 'length > 0 and all(.destination.workload == "web")' observe --to-label app=web
shows "." 'length > 0 and all(.destination.port == 80 or .source.port == 80)' observe --port 80/TCP
shows "." 'length > 0' observe --namespace default --since 5m --protocol TCP --type new
shows "." 'length > 0 and all(.drop_reason == "policy-denied")' observe --drop-reason policy-denied
shows "." 'length > 0' observe --ip 10.244.0.0/24 --last 3
is "observe --last" "$(weft observe --last 2 -o json | wc -l)" 2
"$weft" --lab "$lab" observe -f -o json --type denied >"$work/follow" 2>&1 &
follower=$!
pids+=("$follower")
denied_seen() { inside default/stranger timeout 0.3 "$traffic" ask tcp "$(address_v4 default/web-0)" 80 --timeout 100; [[ -s $work/follow ]]; }
eventually 5 "observe -f shows what happens" denied_seen
kill $follower
is "what it showed" "$(head -n 1 "$work/follow" | jq -r '"\(.source.pod) \(.verdict)"')" "stranger DROPPED"

step "get, in every format"
shows "web-0 " '.[0] | .kind == "List" and (.items | length == 4)' get pods
shows "web-0 " '.[0] | [.items[].metadata.uid] | all(length == 36) and (unique | length == 4)' get pods
shows "web-0 " '' get po -o wide
shows "web-from-client" '.[0].items[0].kind == "NetworkPolicy"' get netpol
shows "10\.96\.0\.10" '.[0].spec.clusterIP == "10.96.0.10"' get svc web -n default
shows "kind: Service" '' get service default/web -o yaml
shows "^pod/" '' get pods -n default -o name
shows "deployment" '.[0].items | map(.kind) | unique | contains(["Deployment", "NetworkPolicy", "Pod", "Service"])' get all
is "all of a namespace is what lives in it" "$(weft get all -n default -o name | grep -c -e ^namespace/ -e ^podaddresspool/)" 0
exits 1 "get of nothing" weft get pod nobody
exits 2 "get of no kind" weft get gizmo
is "what get -o yaml says can be applied" "$(weft get all -o yaml >"$work/all.yaml"; weft apply -f "$work/all.yaml" >"$work/out" 2>&1; echo $?)" 0

step "a bad document is refused with file and line, and nothing of its file is applied"
cat >"$work/bad.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: good-one, namespace: default}
spec: {containers: [{name: c, image: none}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: bad-one, namespace: default}
spec:
  podSelector: {}
  ingress:
    - from:
        - podSelectr: {}
YAML
exits 1 "apply of a bad document" weft apply -f "$work/bad.yaml"
like "file, line and path" "$output" "bad\.yaml:13:[0-9]+: .*ingress\[0\]\.from\[0\]"
exits 1 "and nothing was applied" weft get pod good-one
exits 1 "a dry run says so too" weft apply --dry-run -f "$work/bad.yaml"
exits 1 "the good ones alone" weft apply --no-all-or-nothing -f "$work/bad.yaml"
like "what was applied" "$output" "pod/default/good-one created"
shows "good-one" '' get pod good-one
exits 1 "the bad one is not there" weft get networkpolicy bad-one
for text in "{" "a: [" $'\t- x' "kind: Pod" '{apiVersion: v1, kind: Pod, metadata: {name: UPPER}}' \
  $'apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: []}' $'\xff\xfe'; do
  printf '%s\n' "$text" >"$work/broken.yaml"
  exits 1 "apply of $(head -c 40 <<<"$text" | tr -cd '[:print:]')" weft apply -f "$work/broken.yaml"
  like "where it is wrong" "$output" "broken\.yaml:[0-9]+"
done
exits 0 "a kind of somebody else" weft apply -f - <<<'{apiVersion: example.org/v1, kind: Gizmo, metadata: {name: a}}'
like "a warning" "$output" "warning.*Gizmo"
exits 1 "apply of no file" weft apply -f "$work/none.yaml"
exits 2 "apply of nothing" weft apply

is "a refused apply in JSON" "$(weft apply -f "$work/bad.yaml" -o json 2>/dev/null | jq -r '[(.applied | length), .problems[0].line, .error.code] | join(" ")')" "0 13 invalid"

step "a cluster IP that is taken is a problem of its document"
cat >"$work/clash.yaml" <<'YAML'
apiVersion: v1
kind: Namespace
metadata: {name: clash}
---
apiVersion: v1
kind: Service
metadata: {name: thief, namespace: clash}
spec:
  clusterIP: 10.96.0.10
  ports: [{port: 80}]
YAML
exits 1 "apply" weft apply -f "$work/clash.yaml"
like "its place" "$output" "clash\.yaml:9:14: spec\.clusterIP: .*10\.96\.0\.10 belongs to service default/web"
exits 1 "a dry run finds it" weft apply --dry-run -f "$work/clash.yaml"
like "and its place" "$output" "clash\.yaml:9:14: spec\.clusterIP"
exits 1 "nothing of the file is there" weft get namespace clash
exits 1 "the good ones, dry" weft apply --dry-run --no-all-or-nothing -f "$work/clash.yaml"
like "what would be" "$output" "namespace/clash created \(dry run\)"
exits 1 "the good ones" weft apply --no-all-or-nothing -f "$work/clash.yaml"
like "what was applied" "$output" "namespace/clash created"
like "and what not" "$output" "clash\.yaml:9:14: spec\.clusterIP"
exits 0 "the namespace is there" weft delete namespace clash

step "apply says what it did"
cat >"$work/shop.yaml" <<'YAML'
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress]}
YAML
is "a dry run" "$(weft apply --dry-run -f "$work/shop.yaml" >/dev/null 2>&1; weft get networkpolicy deny >/dev/null 2>&1; echo $?)" 1
like "created" "$(weft apply -f "$work/shop.yaml")" "networkpolicy/shop/deny created"
like "unchanged" "$(weft apply -f - <"$work/shop.yaml")" "networkpolicy/shop/deny unchanged"
like "configured" "$(sed 's/Ingress/Egress/' "$work/shop.yaml" | weft apply -f -)" "networkpolicy/shop/deny configured"
mkdir -p "$work/dir/below"
cp "$work/shop.yaml" "$work/dir/below/"
sed 's/name: deny/name: deny-too/' "$work/shop.yaml" >"$work/dir/top.yml"
like "a directory" "$(weft apply -f "$work/dir")" "deny-too created"
is "and those below" "$(weft apply -R -f "$work/dir" -o json | jq '.applied | length >= 3')" true

step "delete"
like "by name" "$(weft delete networkpolicy deny-too -n shop)" "networkpolicy/shop/deny-too deleted"
like "by kind/name" "$(weft delete networkpolicy/shop/deny 2>&1 || weft delete networkpolicy shop/deny)" "networkpolicy/shop/deny deleted"
exits 1 "what is not there" weft delete networkpolicy deny -n shop
exits 2 "nothing" weft delete
exits 2 "of no kind" weft delete gizmo deny -n shop
weft apply -f "$work/shop.yaml" >/dev/null
is "by file" "$(weft delete -f "$work/shop.yaml" -o json | jq '.deleted | length')" 2

step "a pod of the node's own namespace has the node's addresses"
apply <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: proxy, namespace: default, labels: {app: proxy}}
spec: {hostNetwork: true, containers: [{name: c, image: none, ports: [{containerPort: 8099}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: proxy, namespace: default}
spec: {clusterIP: 10.96.0.77, selector: {app: proxy}, ports: [{port: 80, targetPort: 8099}]}
YAML
shows "proxy +Running +192\.0\.2\.2" '.[0] | .status.podIP == "192.0.2.2" and (.status.podIPs | length == 2)' get pod proxy
is "its service has it" "$(weft service list -o json | jq -r '[.[] | select(.name == "proxy") | .backends[].address] | sort | first')" "192.0.2.2"
shows "ALLOWED" '' policy explain --from default/client --to default/proxy --port 8099
eventually 5 "a pod reaches it" eval '[[ $(inside default/client-0 "$traffic" ask tcp 192.0.2.2 8099 --timeout 300 2>&1) == *proxy* ]]'
eventually 5 "and through its service" eval '[[ $(inside default/client-0 "$traffic" ask tcp 10.96.0.77 80 --timeout 300 2>&1) == *proxy* ]]'
weft delete service proxy >/dev/null
weft delete pod proxy >/dev/null

step "wrong usage and an agent that is away"
exits 1 "apply of nothing" weft apply -f - </dev/null
exits 1 "apply of what never ends" weft apply -f /dev/zero
exits 1 "a full disk" bash -c "'$weft' --lab $lab get pods >/dev/full"
exits 1 "a full disk, of the lab's commands" bash -c "'$weft' lab list >/dev/full"
exits 0 "weft --version" "$weft" --version
exits 0 "weftd --version" "$bin/weftd" --version
exits 2 "weftd with a wrong option" "$bin/weftd" --nope
like "it says who refuses" "$output" "^weftd: "
exits 2 "an empty name of a lab" "$weft" --lab "" status
if setpriv --reuid 65534 --clear-groups true 2>/dev/null; then
  exits 1 "lab list without root" setpriv --reuid 65534 --clear-groups "$weft" lab list
  like "it says why" "$output" "needs root"
fi
exits 2 "no such command" weft gizmo
exits 2 "no command" "$weft"
exits 2 "no such option" weft status --gizmo
exits 2 "no such format" weft status -o gizmo
exits 2 "observe with a bad filter" weft observe --port 80/NOPE
exits 2 "observe since never" weft observe --since never
exits 2 "a bad name of a lab" "$weft" --lab Not_A_Name status
exits 0 "--lab is the lab of lab commands" "$weft" --lab "$lab" lab exec default/client -- true
exits 1 "probe of a port the service has not" "$weft" lab probe --lab "$lab" --to svc/default/web --port 81
like "which it has" "$output" "it has 80/TCP"
exits 2 "probe with a bad port" "$weft" lab probe --name "$lab" --port 80/NOPE
exits 3 "no such socket" "$weft" --socket "$work/none.sock" status
exits 3 "WEFT_SOCKET" env WEFT_SOCKET="$work/none.sock" "$weft" status
for command in version status apply get delete "endpoint list" "identity list" "service list" "policy list" "policy explain" \
  "ipam list" "bpf list" observe lab "lab up" "lab probe" completion; do
  # shellcheck disable=SC2086
  exits 0 "weft $command --help" "$weft" $command --help
  # shellcheck disable=SC2086
  exits 0 "weft help $command" "$weft" help $command
done

step "completion"
for shell in bash zsh fish; do exits 0 "completion $shell" "$weft" completion $shell; done
"$weft" completion bash >"$work/completion.bash"
succeeds "it parses" bash -n "$work/completion.bash"
succeeds "it completes a command" bash -c "
  source '$work/completion.bash'
  function_name=\$(complete -p weft | sed -n 's/.*-F \([^ ]*\).*/\1/p')
  COMP_WORDS=(weft obs) COMP_CWORD=1 COMP_LINE='weft obs' COMP_POINT=8
  PATH=$bin:\$PATH \$function_name weft obs weft
  [[ \"\${COMPREPLY[*]}\" == *observe* ]]"

step "the commands of README.md"
# Lines of its examples that begin with weft and only look; those that change things are above.
while read -r line; do
  [[ $line =~ ^weft\ (lab|apply|delete|observe\ -f|.*[|\<\>]) ]] && continue
  line=${line%%  #*}
  exits 0 "$line" bash -c "PATH=$bin:\$PATH; export WEFT_SOCKET=/run/weft/lab/$lab/node1/weft.sock; $(sed "s|shop/|default/|g;s|build/bin/weft|weft|;s|--lab [a-z]*||" <<<"$line") >/dev/null" || true
done < <(sed -n 's/^    \(\$ \)\{0,1\}\(build\/bin\/\)\{0,1\}\(weft [a-z].*\)/\3/p' "$root/README.md" | grep -E '^weft (status|version|get|endpoint|identity|service|ipam|bpf)' | sort -u)
finish
