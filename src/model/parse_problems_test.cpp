// Bad documents: every problem, with its exact place, path and a part of its message.
#include "model/problem_cases.h"

namespace weft::model::testing {
namespace {

// Each text begins with a newline, so its first line is line 2.
class Problems : public ::testing::TestWithParam<Case> {};
TEST_P(Problems, HavePlaceAndPath) { check(GetParam()); }

const Case document_cases[] = {
    {"no_mapping", "\n- a\n", {{2, 1, "", "expected an object with apiVersion, kind and metadata, found a list"}}},
    {"only_text", "\njust text\n", {{2, 1, "", "found \"just text\""}}},
    {"neither_version_nor_kind", "\nmetadata: {name: a}\n", {{2, 1, "", "apiVersion and kind are missing"}}},
    {"no_version", "\nkind: Pod\n", {{2, 1, "apiVersion", "apiVersion is missing"}}},
    {"no_kind", "\napiVersion: v1\n", {{2, 1, "kind", "kind is missing"}}},
    {"empty_kind", "\napiVersion: v1\nkind:\n", {{3, 1, "kind", "kind is empty"}}},
    {"kind_is_a_list", "\napiVersion: v1\nkind: [Pod]\n", {{3, 7, "kind", "expected text, found a list"}}},
    {"version_is_a_number", "\napiVersion: 1\nkind: Pod\n", {{2, 13, "apiVersion", "write it in quotes: \"1\""}}},
    {"old_policy_version",
     "\napiVersion: extensions/v1beta1\nkind: NetworkPolicy\n",
     {{2, 13, "apiVersion",
       "expected apiVersion networking.k8s.io/v1 for a NetworkPolicy, found \"extensions/v1beta1\""}}},
    {"core_policy_version",
     "\napiVersion: v1\nkind: NetworkPolicy\n",
     {{2, 13, "apiVersion", "expected apiVersion networking"}}},
    {"core_deployment_version",
     "\napiVersion: v1\nkind: Deployment\n",
     {{2, 13, "apiVersion", "expected apiVersion apps/v1"}}},
    {"old_slice_version",
     "\napiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\n",
     {{2, 13, "apiVersion", "expected apiVersion discovery.k8s.io/v1"}}},
    {"misspelt_kind",
     "\napiVersion: networking.k8s.io/v1\nkind: NetworkPolcy\n",
     {{3, 7, "kind", "did you mean \"NetworkPolicy\"?"}}},
    {"kind_in_lower_case", "\napiVersion: v1\nkind: service\n", {{3, 7, "kind", "did you mean \"Service\"?"}}},
    {"list_version", "\napiVersion: v2\nkind: List\n", {{2, 13, "apiVersion", "expected apiVersion v1 for a List"}}},
    {"list_items", "\napiVersion: v1\nkind: List\nitems: {}\n", {{4, 8, "items", "expected a list, found a mapping"}}},
    {"list_in_list",
     "\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: List}\n",
     {{5, 3, "items[0]", "a List inside a List"}}},
    {"tab_indentation",
     "\napiVersion: v1\nkind: Namespace\nmetadata:\n\tname: a\n",
     {{5, 1, "", "a tab is used for indentation"}}},
    {"tab_after_spaces",
     "\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  \tlabels: {}\n",
     {{6, 1, "", "a tab is used for indentation"}}},
    {"flow_not_closed", "\na: [1, 2\n", {{3, 1, "", "not valid YAML"}}},
    {"bad_indentation", "\na: b\n  c: d\n", {{3, 4, "", "not valid YAML"}}},
    {"duplicate_key",
     "\napiVersion: v1\nkind: Pod\nkind: Pod\n",
     {{4, 1, "", "the key \"kind\" is given twice, first on line 3"}}},
    {"duplicate_key_inside",
     "\napiVersion: v1\nkind: ConfigMap\ndata:\n  a: 1\n  \"a\": 2\n",
     {{6, 3, "", "the key \"a\" is given twice, first on line 5"}}},
    {"quote_not_closed", "\na:\n  b: \"x\n", {{4, 1, "", "has no closing quote"}}},
    {"single_quote_not_closed", "\na:\n  b: 'x\n\n", {{5, 1, "", "has no closing quote"}}},
    {"template", "\n{{ if .Values.x }}\napiVersion: v1\n", {{2, 2, "", "this looks like a template"}}},
    {"indentation_fits_nothing", "\na:\n  - b: 1\n - c: 1\n", {{4, 2, "", "indentation fits no"}}},
    {"unknown_alias", "\na: *nowhere\n", {{2, 4, "", "not valid YAML"}}},
    {"endless_alias", "\na: &a [*a]\n", {{2, 8, "", "an alias refers to the node it stands in"}}},
    {"mapping_as_key", "\n? {a: b}\n: c\n", {{2, 3, "", "a mapping's key must be text"}}},
    {"unknown_tag", "\na: !Ref b\n", {{2, 4, "", "the tag !Ref is not understood"}}},
    {"not_utf8", "\na: b\nc: \xff\n", {{3, 4, "", "expected UTF-8 text, found the byte 0xff"}}},
    {"control_character", "\na: \x04\nb: c\n", {{2, 4, "", "found the control character 0x04"}}},
    {"merge_of_text", "\na:\n  <<: b\n", {{3, 7, "", "\"<<\" takes a mapping"}}},
    {"unknown_top_field",
     "\napiVersion: v1\nkind: Namespace\nmetdata: {name: a}\n",
     {{2, 1, "metadata", "metadata is missing"}, {4, 1, "metdata", "did you mean \"metadata\"?"}}},
};
INSTANTIATE_TEST_SUITE_P(Document, Problems, ::testing::ValuesIn(document_cases), name_of);

const Case metadata_cases[] = {
    {"no_name",
     "\napiVersion: v1\nkind: Namespace\nmetadata: {labels: {}}\n",
     {{4, 11, "metadata.name", "name is missing"}}},
    {"generated_name",
     "\napiVersion: v1\nkind: Namespace\nmetadata: {generateName: a-}\n",
     {{4, 11, "metadata.name", "name is missing"}}},
    {"name_is_a_number",
     "\napiVersion: v1\nkind: Namespace\nmetadata: {name: 80}\n",
     {{4, 18, "metadata.name", "write it in quotes: \"80\""}}},
    {"name_with_capitals",
     "\napiVersion: v1\nkind: Namespace\nmetadata: {name: Shop}\n",
     {{4, 18, "metadata.name", "expected lower-case letters"}}},
    {"namespace_in_a_namespace",
     "\napiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n",
     {{4, 32, "metadata.namespace", "a Namespace lies in no namespace"}}},
    {"labels",
     R"(
apiVersion: v1
kind: Namespace
metadata:
  name: a
  labels:
    on: yes
    port: 80
    "a b": c
    good.io/x: -bad-
    list: [a]
    nothing:
)",
     {{7, 9, "metadata.labels.on", "found the boolean yes; write it in quotes: \"yes\""},
      {8, 11, "metadata.labels.port", "found the number 80"},
      {9, 12, "metadata.labels[\"a b\"]", "label \"a b\": expected a key"},
      {10, 16, "metadata.labels[\"good.io/x\"]", "label value \"-bad-\""},
      {11, 11, "metadata.labels.list", "expected text, found a list"},
      {12, 5, "metadata.labels.nothing", "expected a label's value, found nothing"}}},
    {"annotation_is_a_number",
     "\napiVersion: v1\nkind: Namespace\nmetadata: {name: a, annotations: {x: 1}}\n",
     {{4, 38, "metadata.annotations.x", "expected text, found the number 1"}}},
    {"unknown_field",
     "\napiVersion: v1\nkind: Namespace\nmetadata: {name: a, lables: {}}\n",
     {{4, 21, "metadata.lables", "did you mean \"labels\"?"}}},
    {"service_name",
     "\napiVersion: v1\nkind: Service\nmetadata: {name: 1web}\nspec: {ports: [{port: 1}]}\n",
     {{4, 18, "metadata.name", "beginning with a letter"}}},
};
INSTANTIATE_TEST_SUITE_P(Metadata, Problems, ::testing::ValuesIn(metadata_cases), name_of);

const Case pod_cases[] = {
    {"no_spec", "\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n", {{2, 1, "spec", "spec is missing"}}},
    {"no_containers",
     "\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}\n",
     {{5, 20, "spec.containers", "expected at least one container"}}},
    {"container",
     R"(
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  hostNetwork: "true"
  containers:
  - name: C
    command: sh
    args: [1]
    env:
    - {name: A, value: 8080}
    - {name: A=B, value: x}
    - {value: x}
    - {name: B, value: x, valueFrom: {}}
    ports:
    - containerPort: "80"
    - {containerPort: 0}
    - {containerPort: 80, name: Http}
    - {containerPort: 80, protocol: udp}
    - {containerPort: 80, prot: UDP}
    - {port: 80}
    - {containerPort: 1, name: x}
    - {containerPort: 2, name: x}
  - {name: d}
  - {name: d}
)",
     {{6, 16, "spec.hostNetwork", "expected true or false, found \"true\""},
      {8, 11, "spec.containers[0].name", "expected lower-case letters"},
      {9, 14, "spec.containers[0].command", "expected a list, found \"sh\""},
      {10, 12, "spec.containers[0].args[0]", "write it in quotes: \"1\""},
      {12, 24, "spec.containers[0].env[0].value", "found the number 8080; write it in quotes"},
      {13, 14, "spec.containers[0].env[1].name", "without \"=\""},
      {14, 7, "spec.containers[0].env[2].name", "name is missing"},
      {15, 7, "spec.containers[0].env[3]", "expected either value or valueFrom"},
      {17, 22, "spec.containers[0].ports[0].containerPort", "found the text \"80\"; write it without quotes"},
      {18, 23, "spec.containers[0].ports[1].containerPort", "expected a number from 1 to 65535, found the number 0"},
      {19, 33, "spec.containers[0].ports[2].name", "expected a port name"},
      {20, 37, "spec.containers[0].ports[3].protocol", "did you mean \"UDP\"?"},
      {21, 27, "spec.containers[0].ports[4].prot", "unknown field"},
      {22, 7, "spec.containers[0].ports[5].containerPort", "containerPort is missing"},
      {22, 8, "spec.containers[0].ports[5].port", "unknown field"},
      {24, 7, "spec.containers[0].ports[7]", "the port name \"x\" is given twice"},
      {26, 5, "spec.containers[2]", "the container name \"d\" is given twice"}}},
    {"misspelt_fields_that_count",
     R"(
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  hostnetwork: true
  containers:
  - {name: c, port: [], imagePulPolicy: Always}
)",
     {{6, 3, "spec.hostnetwork", "did you mean \"hostNetwork\"?"},
      {8, 15, "spec.containers[0].port", "did you mean \"ports\"?"}}},
    {"deployment",
     R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  replicas: "3"
  replica: 3
  selector: {matchLabels: {app: a}}
  template:
    metadata: {label: {app: a}}
)",
     {{6, 13, "spec.replicas", "found the text \"3\"; write it without quotes"},
      {7, 3, "spec.replica", "did you mean \"replicas\"?"},
      {10, 5, "spec.template.spec", "spec is missing"},
      {10, 16, "spec.template.metadata.label", "did you mean \"labels\"?"}}},
    {"replicas_range",
     R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec: {replicas: -1, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: b}
spec: {replicas: 10001, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c}]}}}
)",
     {{5, 18, "spec.replicas", "expected a number from 0 to 10000, found the number -1"},
      {10, 18, "spec.replicas", "found the number 10001"}}},
    {"selector_must_match",
     R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  selector: {matchLabels: {app: a}}
  template: {metadata: {labels: {app: b}}, spec: {containers: [{name: c}]}}
)",
     {{6, 13, "spec.selector", "the selector app=a does not match the labels of the template (app=b)"}}},
    {"selector_empty",
     R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  selector: {}
  template: {metadata: {labels: {app: b}}, spec: {containers: [{name: c}]}}
)",
     {{6, 13, "spec.selector", "found an empty one"}}},
    {"selector_without_match_labels",
     R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  selector: {app: b}
  template: {metadata: {labels: {app: b}}, spec: {containers: [{name: c}]}}
)",
     {{6, 14, "spec.selector.app", "expected one of matchExpressions, matchLabels"}}},
};
INSTANTIATE_TEST_SUITE_P(Workload, Problems, ::testing::ValuesIn(pod_cases), name_of);

}  // namespace
}  // namespace weft::model::testing
