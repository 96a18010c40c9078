#include <fmt/format.h>

#include <algorithm>

#include "model/annotations.h"
#include "model/decode.h"
#include "model/names.h"

namespace weft::model {
namespace {

constexpr std::size_t annotation_bytes = 256UL << 10;

std::string check_name(Kind kind, std::string_view name) {
  switch (kind) {
    case Kind::namespace_:
      return check_dns_label(name);
    case Kind::service:
      return check_dns_1035_label(name);
    default:
      return check_dns_subdomain(name);
  }
}

LabelMap decode_annotations(const Value& value) {
  LabelMap result;
  std::size_t bytes = 0;
  for (const auto& [key, entry] : value.entries()) {
    if (const auto wrong = check_label_key(key); !wrong.empty())
      entry.problem(fmt::format("annotation {}: {}", in_quotes(key), wrong));
    auto text = entry.is_null() ? std::string() : entry.string();
    if (!text) continue;
    bytes += key.size() + text->size();
    result[key] = std::move(*text);
  }
  if (bytes > annotation_bytes)
    value.problem(fmt::format("expected at most {} bytes of annotations, found {}", annotation_bytes, bytes));
  return result;
}

LabelRequirement decode_requirement(const Value& value) {
  LabelRequirement requirement;
  Fields fields(value);
  if (const auto key = fields.require("key", "a label's key"))
    if (auto text = key->string()) {
      if (const auto wrong = check_label_key(*text); !wrong.empty())
        key->problem(fmt::format("{}: {}", in_quotes(*text), wrong));
      requirement.key = std::move(*text);
    }
  std::optional<std::string> op;
  if (const auto given = fields.require("operator", "In, NotIn, Exists or DoesNotExist"))
    op = decode_word(*given, {"In", "NotIn", "Exists", "DoesNotExist"});
  const auto values = fields.take("values");
  if (values)
    for (const auto& item : values->list())
      if (auto text = item.string()) {
        if (const auto wrong = check_label_value(*text); !wrong.empty())
          item.problem(fmt::format("label value {}: {}", in_quotes(*text), wrong));
        requirement.values.push_back(std::move(*text));
      }
  fields.finish();
  if (!op) return requirement;
  using Operator = LabelRequirement::Operator;
  const bool takes_values = *op == "In" || *op == "NotIn";
  requirement.op = *op == "In"       ? Operator::in
                   : *op == "NotIn"  ? Operator::not_in
                   : *op == "Exists" ? Operator::exists
                                     : Operator::does_not_exist;
  const bool given = values && !values->node().items.empty();
  if (takes_values && !given && (!values || values->node().type == NodeType::list))
    (values ? *values : value).problem(fmt::format("operator {} needs at least one entry in values", *op));
  if (!takes_values && given) values->problem(fmt::format("operator {} takes no values; expected none", *op));
  std::ranges::sort(requirement.values);
  const auto repeated = std::ranges::unique(requirement.values);
  requirement.values.erase(repeated.begin(), repeated.end());
  return requirement;
}

}  // namespace

LabelMap decode_labels(const Value& value) {
  LabelMap result;
  for (const auto& [key, entry] : value.entries()) {
    if (const auto wrong = check_label_key(key); !wrong.empty())
      entry.problem(fmt::format("label {}: {}", in_quotes(key), wrong));
    if (entry.is_null()) {
      entry.problem("expected a label's value, found nothing; write \"\" for an empty one");
      continue;
    }
    auto text = entry.string();
    if (!text) continue;
    if (const auto wrong = check_label_value(*text); !wrong.empty())
      entry.problem(fmt::format("label value {}: {}", in_quotes(*text), wrong));
    result[key] = std::move(*text);
  }
  return result;
}

LabelSelector decode_selector(const Value& value) {
  LabelSelector selector;
  Fields fields(value);
  if (const auto labels = fields.take("matchLabels"))
    for (auto& [key, text] : decode_labels(*labels))
      selector.requirements.push_back({key, LabelRequirement::Operator::in, {text}});
  if (const auto expressions = fields.take("matchExpressions"))
    for (const auto& item : expressions->list()) selector.requirements.push_back(decode_requirement(item));
  fields.finish();
  return selector;
}

std::optional<std::string> decode_word(const Value& value, const std::vector<std::string_view>& words) {
  auto text = value.string();
  if (!text || std::ranges::find(words, *text) != words.end()) return text;
  std::string message = fmt::format("expected {}, found {}", fmt::join(words, " or "), in_quotes(*text));
  if (const auto near = nearest(*text, words); !near.empty()) message += fmt::format("; did you mean \"{}\"?", near);
  value.problem(std::move(message));
  return std::nullopt;
}

std::optional<Protocol> decode_protocol(const Value& value) {
  const auto word = decode_word(value, {"TCP", "UDP", "SCTP"});
  if (!word) return std::nullopt;
  return *word == "TCP" ? Protocol::tcp : *word == "UDP" ? Protocol::udp : Protocol::sctp;
}

std::optional<std::uint16_t> decode_port_number(const Value& value) {
  if (const auto number = value.integer(1, 65535)) return static_cast<std::uint16_t>(*number);
  return std::nullopt;
}

std::optional<PortReference> decode_port_reference(const Value& value) {
  const TreeNode& node = value.node();
  if (node.type != NodeType::string) {
    if (node.type == NodeType::integer && node.integer >= 1 && node.integer <= 65535)
      return static_cast<std::uint16_t>(node.integer);
    value.expected("a port number from 1 to 65535 or a port's name");
    return std::nullopt;
  }
  const std::string& text = node.text;
  if (!text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) {
    value.problem(
        fmt::format("expected a port number or a port's name, found the text {}; write the number without quotes",
                    in_quotes(text)));
    return std::nullopt;
  }
  if (const auto wrong = check_port_name(text); !wrong.empty()) {
    value.problem(fmt::format("{}, found {}", wrong, in_quotes(text)));
    return std::nullopt;
  }
  return text;
}

std::optional<IpAddress> decode_address(const Value& value) {
  const auto text = value.string();
  if (!text) return std::nullopt;
  const auto address = IpAddress::parse(*text);
  if (address) return *address;
  value.problem(fmt::format("expected an IP address, found {}", in_quotes(*text)));
  return std::nullopt;
}

bool is_link_local(const IpAddress& address) {
  if (address.is_v4()) return address.to_v4() >> 16 == 0xa9fe;
  return address.bytes()[0] == 0xfe && (address.bytes()[1] & 0xc0) == 0x80;
}

bool is_service_address(const IpAddress& address) {
  return !address.is_unspecified() && !address.is_loopback() && !address.is_multicast();
}

std::optional<IpAddress> decode_service_address(const Value& value) {
  const auto address = decode_address(value);
  if (!address || is_service_address(*address)) return address;
  value.problem(fmt::format("expected an address a Service can have, found {}", address->to_string()));
  return std::nullopt;
}

std::optional<Cidr> decode_cidr(const Value& value, bool padded) {
  auto text = value.string();
  if (!text) return std::nullopt;
  if (padded) {
    text->erase(text->find_last_not_of(' ') + 1);
    text->erase(0, text->find_first_not_of(' '));
  }
  auto cidr = Cidr::parse(*text);
  if (!cidr) {
    value.problem(fmt::format("expected a CIDR such as 10.0.0.0/8 or fd00::/8, found {}", in_quotes(*text)));
    return std::nullopt;
  }
  if (const auto address = IpAddress::parse(text->substr(0, text->find('/'))); address && *address != cidr->address())
    value.warning(fmt::format("{} has bits set beyond its prefix; it is read as {}", *text, cidr->to_string()));
  return *cidr;
}

std::string with_article(std::string_view kind) {
  return fmt::format("{} {}", kind.starts_with('E') || kind.starts_with("L2") ? "an" : "a", kind);
}

Metadata decode_metadata(Fields& object, Kind kind) {
  object.accept({"apiVersion", "kind"});
  Metadata meta;
  meta.location.file = object.value().report().file();
  meta.location.line = object.value().node().line;
  meta.namespace_ = has_namespace(kind) ? "default" : "";
  const auto value = object.require("metadata", "a mapping with the object's name");
  if (!value) return meta;
  Fields fields(*value);
  if (const auto name = fields.require("name", "the object's name"))
    if (auto text = name->string()) {
      if (const auto wrong = check_name(kind, *text); !wrong.empty())
        name->problem(fmt::format("{}, found {}", wrong, in_quotes(*text)));
      meta.name = std::move(*text);
    }
  if (const auto space = fields.take("namespace"))
    if (auto text = space->string(); text && !text->empty()) {
      if (!has_namespace(kind))
        space->problem(with_article(to_string(kind)) + " lies in no namespace; remove the field");
      else if (const auto wrong = check_dns_label(*text); !wrong.empty())
        space->problem(fmt::format("{}, found {}", wrong, in_quotes(*text)));
      else
        meta.namespace_ = std::move(*text);
    }
  if (const auto labels = fields.take("labels")) meta.labels = decode_labels(*labels);
  if (const auto annotations = fields.take("annotations")) meta.annotations = decode_annotations(*annotations);
  if (const auto uid = fields.take("uid")) meta.uid = uid->string().value_or("");
  fields.accept({"generateName", "ownerReferences", "finalizers", "creationTimestamp", "deletionTimestamp",
                 "deletionGracePeriodSeconds", "generation", "resourceVersion", "selfLink", "managedFields"});
  fields.finish();
  return meta;
}

void decode_template_metadata(const Value& value, LabelMap& labels, LabelMap& annotations) {
  Fields fields(value);
  if (const auto given = fields.take("labels")) labels = decode_labels(*given);
  if (const auto given = fields.take("annotations")) annotations = decode_annotations(*given);
  fields.accept({"name", "namespace", "generateName", "ownerReferences", "finalizers", "creationTimestamp", "uid"});
  fields.finish();
}

Namespace decode_namespace(const Value& root) {
  Namespace result;
  Fields fields(root);
  result.meta = decode_metadata(fields, Kind::namespace_);
  result.address_pool = decode_namespace_pool(root);
  fields.accept({"spec", "status"});
  fields.finish();
  constexpr auto name_label = "kubernetes.io/metadata.name";
  const auto given = result.meta.labels.find(name_label);
  if (given != result.meta.labels.end() && given->second != result.meta.name)
    root.warning(fmt::format("the label {} is always the namespace's own name; {} is replaced", name_label,
                             in_quotes(given->second)));
  result.meta.labels[name_label] = result.meta.name;
  return result;
}

}  // namespace weft::model
